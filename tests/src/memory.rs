//! Transports in memory.
