//! What all countersign backends share: link handles and the driver, for any runtime.
