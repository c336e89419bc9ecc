//! The protocol of countersign as a state machine without I/O.
