//! countersign for blocking code: threads and sockets, no runtime.
