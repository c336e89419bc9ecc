//! A connection before it belongs to a link.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::sessions::{GoneSession, Sessions};
use crate::link::Request;
use crate::{
    ChannelConfig, Config, ConfigError, DeclareError, EndReason, Instant, Link, Observe, PeerId,
    Refusal, Role,
};

/// A connection that has arrived, and whose peer has not been led to a link yet. It reads HELLO, within
/// the declaration's limits, and gives up after [`Timeouts::handshake`](crate::Timeouts::handshake).
///
/// Its bytes are moved by [`Protocol`](crate::Protocol), as those of a link. What becomes of it,
/// [`Acceptor::route`](crate::Acceptor::route) decides:
/// - it becomes a link ([`accept`](Self::accept)),
/// - its connection goes over to the link that its peer returns to
///   ([`Link::take_over`](crate::Link::take_over)), or
/// - its peer is refused ([`refuse`](Self::refuse)): then its connection is driven until what there
///   is to say is said.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Incoming {
    /// What it becomes. Until then nobody but this has it.
    link: Box<Link>,
    /// Which link the acceptor has named last.
    tried: Tried,
    /// What is remembered of the session that the peer names.
    gone: Option<GoneSession>,
}

/// Of the links to which a connection may belong, the one that was named last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Tried {
    None,
    /// The one whose session the peer names.
    BySession,
    /// One that waits for the same peer.
    ByPeer,
}

impl Incoming {
    /// Takes a connection that was accepted, for a link with this declaration. `seed` is all the
    /// randomness that it ever uses, see [`Link::new`].
    ///
    /// # Errors
    ///
    /// What [`Config::check`] finds.
    pub fn new(config: &Config, seed: [u8; 16]) -> Result<Self, ConfigError> {
        Link::new(config, Role::Acceptor, seed).map(Self::from_link)
    }

    /// As [`Incoming::new`], with an observer: see [`Link::observed`].
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

    /// Returns what the peer wants, once it has said so: its HELLO has come, or, in the tlsstream
    /// dialect, it has proved who it is. `None` again once it has its answer.
    ///
    /// In the tlsstream dialect the peer may send a message meanwhile, which is kept.
    #[must_use]
    pub fn request(&self) -> Option<Request> {
        self.link.request()
    }

    /// Returns who the peer has proved to be; `None` before that, and on a plain connection.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        self.link.peer()
    }

    /// Returns the declaration.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.link.config()
    }

    /// Returns why it will not become a link, once that is so.
    #[must_use]
    pub fn end_reason(&self) -> Option<&EndReason> {
        self.link.end_reason()
    }

    /// Gives the peer channels of its own, instead of those of the declaration.
    ///
    /// # Errors
    ///
    /// What [`Config::check`] finds in a declaration with these channels, or that the peer has not
    /// said what it wants, or has its answer. Nothing changes then.
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
    /// // It knows now who has come, and that this one sends pictures.
    /// incoming.declare(vec![ReceiveChannel::new("video").into()])?;
    /// let link = incoming.accept(now).expect("they fit");
    /// assert!(link.state().is_up());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn declare(&mut self, channels: Vec<ChannelConfig>) -> Result<(), DeclareError> {
        self.link.declare(channels)
    }

    /// Takes what is remembered of the session that the peer names, for the peer to be told when it is
    /// accepted. [`Acceptor::route`](crate::Acceptor::route) does this by itself; a caller does it that
    /// has its memory of sessions elsewhere. Of a peer that names no session, nothing is told.
    pub fn remember(&mut self, gone: Option<GoneSession>) {
        self.gone = gone;
    }

    /// Makes a link of it, with a new session. What the acceptor remembers of the session that the
    /// peer names, if anything, the peer is told.
    ///
    /// # Errors
    ///
    /// The connection itself, whose peer has been refused: its declaration does not fit, or what it
    /// has said is not allowed. [`end_reason`](Self::end_reason) tells. It is to be driven until all
    /// is said.
    ///
    /// Before the peer has said what it wants, and after it had its answer, nothing changes.
    pub fn accept(mut self, now: Instant) -> Result<Link, Self> {
        if self.link.admit(now, self.gone.as_ref()) {
            Ok(*self.link)
        } else {
            Err(self)
        }
    }

    /// Refuses the peer, for want of room ([`Refusal::busy`]) or for a reason of the application's
    /// own, which is told at both ends. It ends as [`EndReason::TurnedAway`], and is to be driven
    /// until the peer has heard so. Does nothing before the peer has said what it wants.
    ///
    /// A peer whose declaration does not fit is told so instead of being told that this end is busy: to
    /// wait for room does not heal it.
    ///
    /// The tlsstream dialect has no words for it, so there the connection just ends.
    pub fn refuse(&mut self, now: Instant, refusal: &Refusal) {
        self.link.refuse(now, refusal);
    }

    /// As [`Link::plant`].
    #[cfg(planted)]
    #[doc(hidden)]
    pub fn plant(&mut self, mistake: crate::Planted) {
        self.link.plant(mistake);
    }

    /// The next link to which it may belong.
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
            // Who has declined already does so again.
            return (self.request() != Some(Request::Resume(id))).then_some(link);
        }
        None
    }

    /// What becomes of it, for [`Link::take_over`] and for moving its bytes.
    pub(crate) fn inner(&self) -> &Link {
        &self.link
    }

    pub(crate) fn inner_mut(&mut self) -> &mut Link {
        &mut self.link
    }
}
