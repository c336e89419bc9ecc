//! Jobs on a backend's sockets.
