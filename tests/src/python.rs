//! Runs the Python peer.
