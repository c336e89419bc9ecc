//! What the suites of scenarios leave out: features of some backends only, other peers, and links
//! polled by hand. Tests that need a separate process are beside this folder.

mod accepting;
mod addresses;
mod blocking;
mod buffering;
mod cancel;
mod cancel_forms;
mod cancel_sockets;
mod connecting;
mod crowd;
mod ecosystem;
mod endings;
mod few_files;
mod foreign;
mod idle;
mod interop;
mod last_words;
mod lists;
#[cfg(unix)]
mod live;
mod offline;
mod secrets_debug;
mod secrets_memory;
mod secure_completion;
mod secure_interop;
mod secure_on_std;
mod secure_on_tokio;
mod secure_rotation;
mod sockets;
mod transports;
mod types;
mod waiting;
mod wakes;
