//! The scenarios, each written once for all backends.

pub mod channels;
pub mod closing;
pub mod handshakes;
pub mod liveness;
pub mod modes;
pub mod pressure;
pub mod resuming;
pub mod security;
pub mod sizes;
pub mod stream;
pub mod verdicts;

use countersign_core::{ChannelConfig, Config, Patience};

use crate::backend::Link;
use crate::{Ends, Pair};

/// A declaration with one channel.
fn one(channel: ChannelConfig) -> Config {
    Config::new().channel(channel)
}

/// A patience with these few figures.
fn patience(change: impl FnOnce(&mut Patience)) -> Patience {
    let mut patience = Patience::default();
    change(&mut patience);
    patience
}

/// Runs a scenario twice: the opener sends, then the acceptor sends. The closure gets the sending
/// end first.
fn both_ways(
    pair: &Pair,
    sending: &Config,
    receiving: &Config,
    scenario: impl Fn(&dyn Link, &dyn Link),
) {
    let Ends { client, server } = pair.link(sending.clone(), receiving.clone());
    scenario(&*client, &*server);
    let Ends { client, server } = pair.link(receiving.clone(), sending.clone());
    scenario(&*server, &*client);
}
