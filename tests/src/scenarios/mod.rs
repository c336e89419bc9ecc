//! The scenarios, each written once for all backends.

mod admission;
mod borders;
mod budget;
mod channels;
mod closing;
mod handshakes;
mod live;
mod liveness;
mod modes;
mod pressure;
mod reasons;
mod reconnecting;
mod resuming;
mod returning;
mod rotation;
mod security;
mod servers;
mod single;
mod sizes;
mod status;
mod stream;
mod verdicts;

use countersign_core::{ChannelConfig, Config, Loss, Timeouts};
use countersign_driver::LinkEvent;

use crate::backend::Link;
use crate::{Direction, Ends, Pair, Proxy, Transport, suite};

/// A scenario of links.
pub type Scenario = suite::Scenario<Pair, Transport>;

/// Where scenarios run that do not care about security,
static SECURED_OR_PLAIN: &[Transport] = &[Transport::Tls, Transport::Plain];
/// and those that are about it.
static SECURED: &[Transport] = &[Transport::Tls];

static MODULES: &[&[Scenario]] = &[
    modes::SCENARIOS,
    verdicts::SCENARIOS,
    sizes::SCENARIOS,
    pressure::SCENARIOS,
    channels::SCENARIOS,
    closing::SCENARIOS,
    reasons::SCENARIOS,
    live::SCENARIOS,
    budget::SCENARIOS,
    liveness::SCENARIOS,
    handshakes::SCENARIOS,
    resuming::SCENARIOS,
    servers::SCENARIOS,
    returning::SCENARIOS,
    borders::SCENARIOS,
    single::SCENARIOS,
    reconnecting::SCENARIOS,
    status::SCENARIOS,
    stream::SCENARIOS,
    admission::SCENARIOS,
    security::SCENARIOS,
    rotation::SCENARIOS,
];

/// Returns every scenario.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    MODULES.iter().copied().flatten()
}

/// A declaration with one channel.
fn one(channel: impl Into<ChannelConfig>) -> Config {
    Config::new().channel(channel)
}

/// The default time-outs, but for a few.
fn timeouts(change: impl FnOnce(&mut Timeouts)) -> Timeouts {
    let mut timeouts = Timeouts::default();
    change(&mut timeouts);
    timeouts
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

/// The same for links that outlive their connections. The closure also gets the proxy between the
/// two, and the direction in which the messages go.
fn both_ways_lasting(
    pair: &Pair,
    sending: &Config,
    receiving: &Config,
    scenario: impl Fn(Box<dyn Link>, Box<dyn Link>, &Proxy, Direction),
) {
    let (ends, proxy, _listener) = pair.lasting_link(sending.clone(), receiving.clone());
    scenario(ends.client, ends.server, &proxy, Direction::Up);
    let (ends, proxy, _listener) = pair.lasting_link(receiving.clone(), sending.clone());
    scenario(ends.server, ends.client, &proxy, Direction::Down);
}

/// The next event is the loss of the connection: how, and why.
fn lost(link: &dyn Link) -> (Loss, String) {
    match link.event() {
        Some(LinkEvent::Lost { loss, why }) => (loss, why),
        other => panic!("{other:?}"),
    }
}

/// Cuts the connection, and keeps the opener from coming back until [`back`].
fn away(proxy: &Proxy, ends: [&dyn Link; 2]) {
    proxy.stall();
    proxy.cut();
    for link in ends {
        let _ = lost(link);
    }
}

/// Lets the opener come back.
fn back(proxy: &Proxy, ends: [&dyn Link; 2]) {
    proxy.resume();
    for link in ends {
        assert_eq!(link.event(), Some(LinkEvent::Resumed));
    }
}
