//! Identities, pins and TLS around the countersign core, still without I/O.
