//! A connection before it belongs to a link.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::sessions::{GoneSession, Sessions};
use crate::link::Request;
use crate::{
    ChannelConfig, Config, ConfigError, DeclareError, EndReason, Instant, Link, Observe, PeerId,
    Refusal, Role,
};

/// A connection that has arrived and does not belong to a link yet. It reads HELLO, within the
/// declaration's limits, and gives up after [`Timeouts::handshake`](crate::Timeouts::handshake).
///
/// Its bytes are moved by [`Protocol`](crate::Protocol), like those of a link.
/// [`Acceptor::route`](crate::Acceptor::route) decides where it goes:
/// - it becomes a link ([`accept`](Self::accept)),
/// - its connection is handed to the link that its peer returns to
///   ([`Link::take_over`](crate::Link::take_over)), or
/// - its peer is refused ([`refuse`](Self::refuse)): then its connection is driven until the
///   refusal is sent.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Incoming {
    /// The link that it may become, which nothing else can reach until then.
    link: Box<Link>,
    /// Which candidates the acceptor has tried.
    tried: Tried,
    /// What is remembered of the session that the peer names.
    gone: Option<GoneSession>,
}

/// The candidate that was tried last, of the links to which a connection may belong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Tried {
    None,
    /// The link whose session the peer names.
    BySession,
    /// A link that waits for the same peer.
    ByPeer,
}

impl Incoming {
    /// Creates an incoming connection for a link with this declaration. `seed` is all the
    /// randomness that it ever uses, see [`Link::new`].
    ///
    /// # Errors
    ///
    /// The errors of [`Config::check`].
    pub fn new(config: &Config, seed: [u8; 16]) -> Result<Self, ConfigError> {
        Link::new(config, Role::Acceptor, seed).map(Self::from_link)
    }

    /// Creates an incoming connection as [`Incoming::new`] does, with an observer: see
    /// [`Link::observed`].
    ///
    /// # Errors
    ///
    /// As for [`Incoming::new`].
    pub fn observed(
        config: &Config,
        seed: [u8; 16],
        observer: Box<dyn Observe>,
    ) -> Result<Self, ConfigError> {
        Link::observed(config, Role::Acceptor, seed, observer).map(Self::from_link)
    }

    fn from_link(mut link: Link) -> Self {
        link.ask_to_admit();
        let (tried, gone) = (Tried::None, None);
        let link = Box::new(link);
        Self { link, tried, gone }
    }

    /// Returns what the peer requests, once its HELLO has arrived or, in the tlsstream dialect, it
    /// has proved who it is. `None` again once it has its answer.
    ///
    /// In the tlsstream dialect the peer may send a message meanwhile, which is kept.
    #[must_use]
    pub fn request(&self) -> Option<Request> {
        self.link.request()
    }

    /// Returns the identity that the peer has proved; `None` before that, and on a plain
    /// connection.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        self.link.peer()
    }

    /// Returns the declaration.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.link.config()
    }

    /// Returns why the connection will not become a link, once that is so.
    #[must_use]
    pub fn end_reason(&self) -> Option<&EndReason> {
        self.link.end_reason()
    }

    /// Sets the channels for this peer, instead of those of the declaration.
    ///
    /// # Errors
    ///
    /// The errors of [`Config::check`] for a declaration with these channels, or that no request is
    /// pending: the peer has not sent it or has its answer. Nothing changes then.
    ///
    /// ```
    /// use countersign_core::{
    ///     Config, Incoming, Instant, Link, Output, Protocol, ReceiveChannel, Role, SendChannel,
    /// };
    ///
    /// let now = Instant::ZERO;
    /// let everybody = Config::new().channel(ReceiveChannel::new("reports"));
    /// let mut incoming = Incoming::new(&everybody, [1; 16])?;
    /// incoming.handle_opened(now)?;
    /// incoming.handle_secured(now, None)?;
    /// let robot = Config::new().channel(SendChannel::new("video"));
    /// let mut robot = Link::new(&robot, Role::Opener, [2; 16])?;
    /// robot.handle_opened(now)?;
    /// robot.handle_secured(now, None)?;
    /// let mut hello = [0; 1024];
    /// let Output::Written(length) = robot.poll_output(now, &mut hello) else { unreachable!() };
    /// incoming.handle_input(now, &hello[..length]);
    ///
    /// // The peer is known now to be a robot that sends pictures.
    /// incoming.declare(vec![ReceiveChannel::new("video").into()])?;
    /// let link = incoming.accept(now).expect("they fit");
    /// assert!(link.state().is_up());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn declare(&mut self, channels: Vec<ChannelConfig>) -> Result<(), DeclareError> {
        self.link.declare(channels)
    }

    /// Sets what is remembered of the session that the peer names, which is sent to the peer when
    /// it is accepted. [`Acceptor::route`](crate::Acceptor::route) does this; a caller does it only
    /// if it keeps the memory of sessions elsewhere. It has no effect if the peer names no session.
    pub fn remember(&mut self, gone: Option<GoneSession>) {
        self.gone = gone;
    }

    /// Turns the connection into a link with a new session. The peer gets what is remembered of the
    /// session that it names, if anything.
    ///
    /// # Errors
    ///
    /// The connection itself, whose peer has been refused: its declaration does not fit, or it
    /// broke the protocol. [`end_reason`](Self::end_reason) says which. Drive it until its output
    /// is written.
    ///
    /// While no request is pending, the connection is returned unchanged.
    pub fn accept(mut self, now: Instant) -> Result<Link, Self> {
        if self.link.admit(now, self.gone.as_ref()) {
            Ok(*self.link)
        } else {
            Err(self)
        }
    }

    /// Refuses the peer, for want of room ([`Refusal::busy`]) or for a reason of the application,
    /// which is reported at both ends. The connection ends as [`EndReason::TurnedAway`] and is to
    /// be driven until the peer has the refusal. Does nothing while no request is pending.
    ///
    /// A peer whose declaration does not fit gets that as the reason instead of [`Refusal::busy`],
    /// since waiting for room would not help it.
    ///
    /// The tlsstream dialect can't express a refusal, so there the connection just ends.
    pub fn refuse(&mut self, now: Instant, refusal: &Refusal) {
        self.link.refuse(now, refusal);
    }

    /// See [`Link::plant`].
    #[cfg(planted)]
    #[doc(hidden)]
    pub fn plant(&mut self, mistake: crate::Planted) {
        self.link.plant(mistake);
    }

    /// Returns the next link to which the connection may belong.
    pub(super) fn next_candidate<'s, L>(&mut self, sessions: &'s Sessions<L>) -> Option<&'s L> {
        let peer = self.peer();
        if self.tried == Tried::None {
            self.tried = Tried::BySession;
            if let Some(Request::Resume(id)) = self.request()
                && let Some(link) = sessions.find(id, peer)
            {
                return Some(link);
            }
        }
        if self.tried == Tried::BySession {
            self.tried = Tried::ByPeer;
            let (id, link) = sessions.longest_away(peer)?;
            // A link that has declined by session declines again.
            return (self.request() != Some(Request::Resume(id))).then_some(link);
        }
        None
    }

    /// Returns the link behind it, for [`Link::take_over`] and for moving its bytes.
    pub(crate) fn inner(&self) -> &Link {
        &self.link
    }

    pub(crate) fn inner_mut(&mut self) -> &mut Link {
        &mut self.link
    }
}
