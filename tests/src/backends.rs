//! The list of backends, from which all pairs come.

use crate::backend::Backend;
use crate::on_async_std::AsyncStd;
use crate::on_compio::Compio;
use crate::on_futures_io::FuturesIo;
use crate::on_own_loop::OwnLoop;
use crate::on_smol::Smol;
use crate::on_std::Std;
use crate::on_tokio::Tokio;
use crate::size::{Size, leaves_out};
use crate::{Pair, Transport, secure};

/// A backend that takes part.
pub struct Entry {
    /// Its name in tests.
    pub name: &'static str,
    /// The backend itself.
    pub backend: &'static dyn Backend,
    /// Its secure streams, or why it has none.
    pub streams: Result<&'static dyn secure::Backend, &'static str>,
    /// The scenarios, as `module::scenario` or `module::*`, that it can't do at either end, each
    /// with the reason.
    pub cannot: &'static [(&'static str, &'static str)],
}

/// Every backend.
pub static BACKENDS: &[Entry] = &[
    Entry {
        name: "tokio",
        backend: &Tokio,
        streams: Ok(&Tokio),
        cannot: &[],
    },
    Entry {
        name: "std",
        backend: &Std,
        streams: Ok(&Std),
        cannot: &[],
    },
    Entry {
        name: "smol",
        backend: &Smol,
        streams: Ok(&Smol),
        cannot: &[],
    },
    Entry {
        name: "async_std",
        backend: &AsyncStd,
        streams: Ok(&AsyncStd),
        cannot: &[],
    },
    Entry {
        name: "futures_io",
        backend: &FuturesIo,
        streams: Ok(&FuturesIo),
        cannot: &[],
    },
    Entry {
        name: "own_loop",
        backend: &OwnLoop,
        streams: Err("an example of how to drive links"),
        cannot: &[],
    },
    Entry {
        name: "compio",
        backend: &Compio,
        streams: Ok(&Compio),
        cannot: &[],
    },
];

/// The backends of an opener and of an acceptor.
#[derive(Clone, Copy, Debug)]
pub struct Couple {
    /// The opener's.
    pub client: &'static Entry,
    /// The acceptor's.
    pub server: &'static Entry,
}

/// Returns the pairs to test: each backend with itself and as the opener of links to tokio; or, if
/// all is tested, each with each.
#[must_use]
pub fn couples() -> Vec<Couple> {
    let size = Size::get();
    let couples = all_couples();
    couples
        .filter(|couple| size >= Size::All || couple.is_central())
        .collect()
}

/// Returns the backends for a test that takes long for each: one of the shared driver's, and the
/// one that does without it; or, if all is tested, every one.
pub fn tried_backends(what: &str) -> impl Iterator<Item = &'static Entry> {
    const PART: [&str; 2] = ["tokio", "own_loop"];
    let part = leaves_out(&format!(
        "{what}, on other backends than {}",
        PART.join(" and ")
    ));
    let tried = move |entry: &&Entry| !part || PART.contains(&entry.name);
    BACKENDS.iter().filter(tried)
}

/// Returns all pairs: each backend with each, itself included, both ways.
pub fn all_couples() -> impl Iterator<Item = Couple> {
    let with_each = |client| BACKENDS.iter().map(move |server| Couple { client, server });
    BACKENDS.iter().flat_map(with_each)
}

impl Entry {
    /// Returns why this backend can't run a scenario, if so.
    #[must_use]
    pub fn cannot(&self, path: &str) -> Option<&'static str> {
        let covers = |pattern: &str| match pattern.strip_suffix('*') {
            Some(module) => path.starts_with(module),
            None => path == pattern,
        };
        let found = self.cannot.iter().find(|(pattern, _)| covers(pattern));
        found.map(|(_, why)| *why)
    }
}

impl Couple {
    /// Returns whether both ends have the same backend.
    #[must_use]
    pub fn is_of_one_backend(&self) -> bool {
        self.client.name == self.server.name
    }

    fn is_central(&self) -> bool {
        self.is_of_one_backend() || self.server.name == "tokio"
    }

    /// Returns `opener_to_acceptor`, as in the names of tests.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}_to_{}", self.client.name, self.server.name)
    }

    /// Returns how its connections are secured: both ways if all is tested, and on tokio. If a part
    /// is tested, each other backend has TLS with itself and plain text with tokio.
    #[must_use]
    pub fn transports(&self) -> &'static [Transport] {
        let with_itself = self.is_of_one_backend();
        if Size::get() >= Size::All || (with_itself && self.server.name == "tokio") {
            &[Transport::Tls, Transport::Plain]
        } else if with_itself {
            &[Transport::Tls]
        } else {
            &[Transport::Plain]
        }
    }

    /// Returns why one of the two can't run a scenario, if so.
    #[must_use]
    pub fn cannot(&self, path: &str) -> Option<&'static str> {
        self.client.cannot(path).or(self.server.cannot(path))
    }

    /// Returns what a scenario runs on.
    #[must_use]
    pub fn pair(&self, transport: Transport) -> Pair {
        Pair {
            client: self.client.backend,
            server: self.server.backend,
            transport,
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
