//! The conformance suite of countersign and everything that runs several of its parts together.
