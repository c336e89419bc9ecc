//! The application's handle of a link.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use countersign_core::{
    ChannelConfig, ChannelId, ChannelReport, CloseMode, CloseReason, Mode, PeerId, VerdictCounts,
};
use countersign_endpoint::{Fingerprint, Peer};

use crate::error::{ChannelError, LinkError};
use crate::events::Events;
use crate::lease::Lease;
use crate::link_event::LinkEvent;
use crate::receiver::{ManualReceiver, Receiver};
use crate::sender::Sender;
use crate::shared::{Handle, Shared, State};
use crate::status::Status;
use crate::wakers::{Awaited, Waiting};

/// One end of a link that is up.
///
/// It stays valid when its connection is lost: messages without a verdict are kept and more can be
/// sent, and [`Link::event`] reports the loss and the return. An end that connected reconnects
/// according to its [`Reconnect`](countersign_core::Reconnect); an end that listened waits for its
/// peer for [`Timeouts::retain`](countersign_core::Timeouts::retain).
///
/// Its channels are used through a [`Sender`] or a [`Receiver`] for each. When the `Link` and all
/// of its senders and receivers are dropped, the link is closed in the background. An end with send
/// channels closes with [`close::DROPPED`](countersign_core::close::DROPPED) then, since the
/// application has not confirmed that all was sent: a program that fails and returns early must not
/// look like one that has finished. Receive channels without a receiver reject their messages.
///
/// A clone is another handle of the same link.
#[derive(Clone, Debug)]
pub struct Link {
    handle: Arc<Claims>,
}

/// Shared by all clones of a [`Link`]: once they are dropped, no receiver can be requested any
/// more.
#[derive(Debug)]
struct Claims(Arc<Handle>);

impl Shared {
    /// Ends the pause before the next attempt to connect; returns whether there was one.
    pub(crate) fn connect_now(&self) -> bool {
        self.with(|state| state.link.connect_now(state.now))
    }
}

impl Link {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        let handle = Arc::new(Claims(handle));
        Self { handle }
    }

    /// Returns a sender for a channel that was declared in send mode.
    ///
    /// # Errors
    ///
    /// There is no such channel, or it is in receive mode.
    pub fn sender(&self, name: &str) -> Result<Sender, ChannelError> {
        let channel = self.with(|state| find(state, name, Mode::Send))?;
        Ok(Sender::new(self.handle.0.clone(), channel))
    }

    /// Returns the receiver of a channel that was declared in receive mode. There is only one.
    ///
    /// # Errors
    ///
    /// There is no such channel, it is in send mode or `Manual`, or its receiver was handed out
    /// before.
    pub fn receiver(&self, name: &str) -> Result<Receiver, ChannelError> {
        let channel = self.take_receiver(name, false)?;
        Ok(Receiver::new(self.handle.0.clone(), channel))
    }

    /// Returns the receiver of a channel that was declared in receive mode with
    /// [`manual`](countersign_core::ReceiveChannel::manual). There is only one.
    ///
    /// # Errors
    ///
    /// There is no such channel, it is in send mode or `Auto`, or its receiver was handed out
    /// before.
    pub fn manual_receiver(&self, name: &str) -> Result<ManualReceiver, ChannelError> {
        let channel = self.take_receiver(name, true)?;
        Ok(ManualReceiver::new(self.handle.0.clone(), channel))
    }

    /// Returns the lease of a channel that was declared in receive mode with
    /// [`lease`](countersign_core::ReceiveChannel::lease), at any time and as often as wanted.
    ///
    /// # Errors
    ///
    /// There is no such channel, it is in send mode, or it has no lease.
    pub fn lease(&self, name: &str) -> Result<Lease, ChannelError> {
        let channel = self.with(|state| {
            let channel = find(state, name, Mode::Receive)?;
            match &state.link.config().channels()[usize::from(channel.0)] {
                ChannelConfig::Receive(config) if config.get_lease().is_some() => Ok(channel),
                _ => Err(ChannelError::NoLease {
                    name: name.to_owned(),
                }),
            }
        })?;
        Ok(Lease::new(self.shared().clone(), channel))
    }

    fn take_receiver(&self, name: &str, manual: bool) -> Result<ChannelId, ChannelError> {
        self.with(|state| {
            let channel = find(state, name, Mode::Receive)?;
            let at = usize::from(channel.0);
            if state.link.config().channels()[at].is_manual() != manual {
                return Err(ChannelError::WrongReceiver {
                    name: name.to_owned(),
                });
            }
            if std::mem::replace(&mut state.channels[at].taken, true) {
                return Err(ChannelError::Taken {
                    name: name.to_owned(),
                });
            }
            Ok(channel)
        })
    }

    /// Returns the fingerprint of the key that the peer has proved to hold on its latest
    /// connection; `None` on a plain one. A peer that changes its key while both are pinned comes
    /// back with the new one.
    #[must_use]
    pub fn peer(&self) -> Option<Fingerprint> {
        self.with(|state| state.current_peer())
            .as_ref()
            .map(Peer::fingerprint)
    }

    /// Returns the peer's name: that of its line in a [list of
    /// peers](countersign_endpoint::Pins::from_list_file), or that of
    /// [`Pins::named`](countersign_endpoint::Pins::named). `None` if the pins have no names, with
    /// an authority, and on a plain connection.
    ///
    /// The name changes when the list is read again with another name; a peer that was removed
    /// keeps its last name.
    #[must_use]
    pub fn peer_name(&self) -> Option<Arc<str>> {
        self.with(|state| state.current_peer())?.shared_name()
    }

    /// Returns the identity of the peer, whichever of its pinned keys it uses
    /// ([`Pins::of_one_peer`](countersign_endpoint::Pins::of_one_peer)); `None` on a plain
    /// connection. Only meaningful for comparing links of this process.
    #[must_use]
    pub fn peer_id(&self) -> Option<PeerId> {
        self.with(|state| state.link.peer())
    }

    /// Whether both are handles of the same link: a peer that was restarted has a new one, with the
    /// same [`peer_id`](Link::peer_id).
    ///
    /// ```
    /// # use countersign_driver::Link;
    /// # fn example(links: &mut Vec<Link>, gone: &Link) {
    /// links.retain(|link| !link.same_link(gone));
    /// # }
    /// ```
    #[must_use]
    pub fn same_link(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.shared(), other.shared())
    }

    /// Returns what became of the messages so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.with(|state| report(state))
    }

    /// Returns a snapshot of the link: addresses, peer, since when it is connected or not, queues
    /// and counts, for display and monitoring.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(self.shared())
    }

    /// Reconnects at once, if this end waits before its next attempt
    /// ([`Reconnect`](countersign_core::Reconnect)): for programs that know that the network is
    /// back. Returns true if there was such a wait. The back-off is not reset, so the waits grow as
    /// before.
    pub fn connect_now(&self) -> bool {
        self.shared().connect_now()
    }

    /// Returns why the link has ended, if it has.
    #[must_use]
    pub fn end_reason(&self) -> Option<LinkError> {
        self.with(|state| state.error())
    }

    /// Waits for the next event of the link; returns `None` once it has ended, each time that it is
    /// called. Before a program exits, it should wait for [`Link::ended`] as well.
    ///
    /// Cancel-safe: an event is taken only when the future is ready.
    pub async fn event(&self) -> Option<LinkEvent> {
        let mut waiting = Waiting::new(&**self.shared(), Awaited::Link);
        poll_fn(|context| {
            waiting.poll(context, |state| match state.events.pop_front() {
                None if !state.ended => Poll::Pending,
                event => Poll::Ready(event),
            })
        })
        .await
    }

    /// Returns the events of [`Link::event`] as a stream, which ends with the link. It does not
    /// keep the link open. Each event goes to only one of several streams and pending calls.
    ///
    /// ```no_run
    /// # use countersign_driver::{Link, LinkEvent};
    /// use futures_util::StreamExt;
    ///
    /// # async fn example(link: &Link) {
    /// let mut events = link.events();
    /// while let Some(event) = events.next().await {
    ///     if let LinkEvent::Lost { why, .. } = event {
    ///         eprintln!("waiting for the network: {why}");
    ///     }
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> Events {
        Events::of(self.shared().clone())
    }

    /// Waits until the link has ended and its connection is closed, and returns the reason and what
    /// became of all messages.
    ///
    /// Cancel-safe: waiting changes nothing.
    ///
    /// By then this end's last frames, such as an abort, have been sent, and the peer has ended its
    /// direction or has had [`Timeouts::linger`](countersign_core::Timeouts::linger) for it: a
    /// program can exit without losing them. [`Link::event`] and the receivers report the end
    /// before that. Dropping a runtime ends all of its links' drivers, whatever their state.
    pub async fn ended(&self) -> Report {
        let mut waiting = Waiting::new(&**self.shared(), Awaited::Link);
        poll_fn(|context| {
            waiting.poll(context, |state| {
                if state.ended && state.driver_gone {
                    Poll::Ready(report(state))
                } else {
                    Poll::Pending
                }
            })
        })
        .await
    }

    /// Closes the link in order, with the close reason 'all is well' unless that withdraws
    /// messages: see [`CloseMode`] for what becomes of messages in flight, and
    /// [`Timeouts::close`](countersign_core::Timeouts::close) for how long it may go without
    /// progress. A message that was taken from a [`ManualReceiver`] and is not settled yet is
    /// waited for.
    ///
    /// Cancel-safe: closing goes on when the future is dropped, [`Link::ended`] waits for it again,
    /// and messages that were sent still get their verdicts. A future that is never polled closes
    /// nothing.
    pub async fn close(&self, mode: CloseMode) -> Report {
        self.start_close(mode);
        self.ended().await
    }

    /// As [`Link::close`], for an end that has failed: the peer's receivers end with an error that
    /// contains the reason, and not as if they had received everything.
    ///
    /// ```
    /// # use countersign_driver::Link;
    /// use countersign_core::{CloseMode, CloseReason};
    ///
    /// # async fn example(link: &Link) {
    /// let reason = CloseReason::new(2, "the camera was unplugged");
    /// let report = link.close_with(CloseMode::Drain, reason).await;
    /// assert!(!report.is_orderly());
    /// # }
    /// ```
    pub async fn close_with(&self, mode: CloseMode, reason: CloseReason) -> Report {
        self.start_close_with(mode, reason);
        self.ended().await
    }

    /// Begins to close the link, as [`Link::close`] does, without waiting for the end.
    pub fn start_close(&self, mode: CloseMode) {
        self.start_close_with(mode, CloseReason::ALL_WELL);
    }

    /// Begins to close the link, as [`Link::close_with`] does, without waiting for the end. Closing
    /// again can only make the close stricter, and replace 'all is well' by another reason.
    pub fn start_close_with(&self, mode: CloseMode, reason: CloseReason) {
        self.with(|state| state.start_close(mode, reason));
    }

    /// Returns the peer's close reason, once it has begun to close.
    #[must_use]
    pub fn peer_closes(&self) -> Option<CloseReason> {
        self.with(|state| state.link.peer_closes().cloned())
    }

    /// Ends the link at once: messages on the wire get the verdict `Unknown`, the rest `Withdrawn`.
    /// The peer loses its connection, and its session when it comes back. Prefer [`Link::close`]
    /// while both ends can still agree.
    pub fn abandon(&self) {
        self.shared().abandon();
    }

    /// Reports that the application has accepted the link from its listener.
    pub(crate) fn accepted(&self) {
        self.with(State::accepted);
    }

    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        self.shared().with(work)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.0.0
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.0.0.with(State::abandon_unclaimed);
    }
}

fn find(state: &State, name: &str, mode: Mode) -> Result<ChannelId, ChannelError> {
    let Some(channel) = state.link.channel_id(name) else {
        return Err(ChannelError::NoSuchChannel {
            name: name.to_owned(),
        });
    };
    let actual = state.link.config().channels()[usize::from(channel.0)].mode();
    if actual == mode {
        Ok(channel)
    } else {
        Err(ChannelError::OtherMode {
            name: name.to_owned(),
            mode: actual,
        })
    }
}

fn report(state: &State) -> Report {
    Report {
        end: state.error(),
        resumes: state.link.resumes(),
        channels: state.link.report(),
    }
}

/// What became of a link's messages.
///
/// ```
/// # use countersign_driver::{Link, LinkError};
/// # use countersign_core::CloseMode;
/// # async fn example(link: &Link) -> Result<(), LinkError> {
/// let report = link.close(CloseMode::Drain).await;
/// println!("{report}");
/// report.into_result()?; // an error unless all is well at both ends
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    /// Why the link ended; `None` while it is up.
    pub end: Option<LinkError>,
    /// How many times a new connection has gone on with the link's session.
    pub resumes: u64,
    /// The link's channels, in the order of their declaration.
    pub channels: Vec<ChannelReport>,
}

impl Report {
    /// Returns the verdicts of all channels together.
    #[must_use]
    pub fn verdicts(&self) -> VerdictCounts {
        let mut counts = VerdictCounts::default();
        for channel in &self.channels {
            counts += channel.verdicts;
        }
        counts
    }

    /// Whether the link was closed with the reason 'all is well' by both ends.
    #[must_use]
    pub fn is_orderly(&self) -> bool {
        self.end.as_ref().is_some_and(LinkError::is_orderly)
    }

    /// Returns the report, or why the link ended if that was not orderly: for `?`.
    ///
    /// # Errors
    ///
    /// The link has ended, and not [in order](Self::is_orderly).
    pub fn into_result(self) -> Result<Self, LinkError> {
        match self.end {
            Some(error) if !error.is_orderly() => Err(error),
            _ => Ok(self),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            Some(end) => write!(f, "{end}")?,
            None => f.write_str("up")?,
        }
        for channel in &self.channels {
            match channel.mode {
                Mode::Send => write!(f, "; {}: {}", channel.name, channel.verdicts)?,
                Mode::Receive => {
                    write!(f, "; {}: {} received", channel.name, channel.delivered)?;
                    if channel.expired > 0 {
                        write!(f, ", {} late", channel.expired)?;
                    }
                }
            }
        }
        Ok(())
    }
}
