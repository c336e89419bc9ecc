//! Each runtime by name, for programs that use a runtime other than tokio, or several.
//!
//! Each of these has all names of the root, and the functions of its runtime: `connect`, `listen`,
//! `link_over`, `pair`, `secure_connect` and their variants. The handles are the same types in all
//! of them, so a link may be opened on one runtime and used on another.

/// Links on tokio.
#[cfg(feature = "tokio")]
pub mod tokio {
    pub use countersign_tokio::*;
}

/// Links on smol's global executor.
#[cfg(feature = "smol")]
pub mod smol {
    pub use countersign_smol::*;
}

/// Links on async-std, for programs that still run on it.
#[cfg(feature = "async-std")]
pub mod async_std {
    pub use countersign_async_std::*;
}

/// Links on any other executor, over streams of futures-io, with a
/// [`Runtime`](futures_io::Runtime) that provides tasks and timers.
#[cfg(feature = "futures-io")]
pub mod futures_io {
    pub use countersign_futures_io::*;
}
