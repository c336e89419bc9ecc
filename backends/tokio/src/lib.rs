//! countersign for the tokio runtime.
