//! The status of a link.

use std::time::Instant as StdInstant;

use countersign_core::{LinkStatus, PeerId};
use countersign_endpoint::Peer;

use crate::addresses::TransportAddress;
use crate::failure::FailedAttempt;
use crate::shared::Shared;

/// A snapshot of a link, returned by [`Link::status`](crate::Link::status).
///
/// ```
/// # use countersign_driver::Link;
/// # fn example(link: &Link) {
/// let status = link.status();
/// match (&status.remote, &status.failure) {
///     (Some(peer), None) => println!("connected to {peer}"),
///     (_, Some(failure)) => println!("not connected: {failure}"),
///     _ => println!("not connected yet"),
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The core's status: role and state, counts, queues and windows. Its times are the core's.
    pub link: LinkStatus,
    /// When the link was connected, or, if it is not, when it was last; `None` before its first
    /// connection.
    pub since: Option<StdInstant>,
    /// This end's address on the latest transport connection, if that has one.
    pub local: Option<TransportAddress>,
    /// The peer's address on the latest transport connection, if that has one.
    pub remote: Option<TransportAddress>,
    /// The identity that the peer has proved on the latest connection, with its name if it has one;
    /// `None` on a plain one.
    pub peer: Option<Peer>,
    /// The identity of the peer, whichever of its pinned keys it uses; `None` on a plain
    /// connection.
    pub peer_id: Option<PeerId>,
    /// Why there is no connection, while there is none.
    pub failure: Option<FailedAttempt>,
}

impl Status {
    /// Whether the link is connected, so that messages flow.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.link.state.is_up()
    }

    pub(crate) fn of(shared: &Shared) -> Self {
        let clock = &shared.clock;
        shared.with(|state| {
            let link = state.link.status(clock.now());
            Self {
                since: link.since.and_then(|since| clock.to_timers(since)),
                local: state.addresses.local.clone(),
                remote: state.addresses.remote.clone(),
                peer: state.current_peer(),
                peer_id: state.link.peer(),
                failure: state
                    .failure
                    .as_ref()
                    .map(|failure| failure.to_attempt(clock)),
                link,
            }
        })
    }
}
