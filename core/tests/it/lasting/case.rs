//! What a case consists of: that of a pair, and what happens to its connections.

use core::time::Duration;

use countersign_core::{Config, Timeouts};

use crate::lasting::usual::{Case, Op};

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Happens {
    /// What happens to a pair with one connection, too.
    Usual(Op),
    /// Moves bytes both ways, this many times.
    Flow(usize),
    /// This end learns that its connection is lost. What it has written may still arrive.
    Lose(usize),
    /// Everything in flight is lost, and neither end learns of it.
    Drop,
    /// The opener connects, or its attempt gets one step further.
    Connect,
    /// Both ends are told, and the opener connects at once.
    Reconnect,
    /// Only the opener learns of it, and it reconnects at once. What it has written may still
    /// arrive.
    Return { arrives: bool },
    /// This much of what an end has to say arrives, then both ends are told.
    CutInside { from: usize, bytes: usize },
    /// The opener's attempt comes to nothing.
    FailToConnect,
    /// An end loses all of its state.
    Restart(usize),
    /// The acceptor has no room for a link whose peer is away.
    Evict,
}

/// A whole case.
#[derive(Clone, Debug)]
pub(crate) struct LastingCase {
    pub(crate) pair: Case,
    /// The acceptor makes a link for each connection and looks up whose it is; else it has one
    /// link and uses it again.
    pub(crate) listens: bool,
    /// Seconds.
    pub(crate) retain: u64,
    /// There is another connection before the end in any case.
    pub(crate) last_cut: bool,
    /// Which ends' links are declared to end with their session.
    pub(crate) single: [bool; 2],
    /// Each end has proved its identity to the other.
    pub(crate) proven: bool,
    pub(crate) happens: Vec<Happens>,
}

impl LastingCase {
    pub(crate) fn timeouts(&self) -> Timeouts {
        Timeouts {
            retain: Duration::from_secs(self.retain),
            ..self.pair.timeouts()
        }
    }

    /// Whether this end's link ends with its session. Once its peer is lost, an acceptor's single
    /// link would turn away every peer without a proven identity until its time runs out.
    pub(crate) fn single(&self, end: usize) -> bool {
        self.single[end] && (end == 0 || self.listens || self.proven)
    }

    pub(crate) fn config(&self, end: usize) -> Config {
        let config = self.pair.config(end).timeouts(self.timeouts());
        if self.single(end) {
            config.single_session()
        } else {
            config
        }
    }
}
