//! Observing a link: everything that goes into it and everything that comes out.

use alloc::boxed::Box;
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::Disconnect;
use crate::redact::Redacted;
use crate::{
    ChannelConfig, ChannelId, CloseMode, CloseReason, Config, EndReason, Event, GoneSession,
    Instant, OutOfOrder, Output, PeerId, ReceiveError, Refusal, Role, SendError, Sequence,
    TakeOver,
};

/// An observer of a link: it is notified of every call that may change the link, before it is made,
/// and of its outcome. It is notified of a message that is sent or taken right after the call,
/// which costs unobserved links less.
///
/// The core is deterministic, so making the same calls again with the same times gives the same
/// outcomes: that is what a capture of a link is for (`docs/capture.md`). Getters are not reported,
/// and neither are calls that change nothing: [`Link::poll_event`](crate::Link::poll_event) without
/// an event, and [`Link::take`](crate::Link::take) where nothing waits.
///
/// An observer can't change anything. It is called while the link is in use, so it should be quick.
/// A clone of a link has no observer.
pub trait Observe: Send + Sync {
    /// Returns the id that tells the observers of [incoming](crate::Link::take_over) connections
    /// apart.
    fn id(&self) -> u64;

    /// Handles a call. `now` is the link's time during the call: the latest that it was given.
    fn call(&mut self, now: Instant, call: &Call<'_>);

    /// Handles the outcome of the last call, if it has one. Without an outcome, the call did not
    /// return.
    fn outcome(&mut self, outcome: &Outcome<'_>);
}

/// A call that may change a link: the method of the same name, and its arguments.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the arguments have the names of the method's")]
pub enum Call<'a> {
    /// [`Link::observed`](crate::Link::observed): the first call
    New {
        config: &'a Config,
        role: Role,
        seed: &'a [u8; 16],
    },
    /// [`Incoming::observed`](crate::Incoming::observed): the second call, after [`Call::New`]
    AskToAdmit,
    /// [`Link::handle_opened`](crate::Link::handle_opened); then [`Outcome::InOrder`]
    Opened,
    /// [`Link::handle_secured`](crate::Link::handle_secured); then [`Outcome::InOrder`]
    Secured { peer: Option<PeerId> },
    /// [`Link::handle_input`](crate::Link::handle_input)
    Input(&'a [u8]),
    /// [`Link::handle_eof`](crate::Link::handle_eof)
    Eof,
    /// [`Link::handle_lost`](crate::Link::handle_lost)
    Lost(Disconnect),
    /// [`Link::handle_timeout`](crate::Link::handle_timeout)
    Timeout,
    /// [`Link::send`](crate::Link::send); then [`Outcome::Sent`]
    Send {
        channel: ChannelId,
        message: &'a [u8],
        expires: Option<Instant>,
    },
    /// [`Link::take`](crate::Link::take); then [`Outcome::Taken`], or [`Outcome::Settled`]: with the
    /// border between two sessions, or with success where late messages were dropped and none was
    /// taken
    Take { channel: ChannelId },
    /// [`Link::handle`](crate::Link::handle), or [`Link::handle_with`](crate::Link::handle_with) with
    /// a reply; then [`Outcome::Settled`]
    Handle {
        channel: ChannelId,
        sequence: Sequence,
        reply: Option<&'a [u8]>,
    },
    /// [`Link::reject`](crate::Link::reject); then [`Outcome::Settled`]
    Reject {
        channel: ChannelId,
        sequence: Sequence,
        code: u32,
        reason: &'a str,
    },
    /// [`Link::abandon`](crate::Link::abandon); then [`Outcome::Settled`]
    Abandon { channel: ChannelId },
    /// [`Link::close_with`](crate::Link::close_with), or [`Link::close`](crate::Link::close)
    Close {
        mode: CloseMode,
        reason: &'a CloseReason,
    },
    /// [`Link::connect_now`](crate::Link::connect_now)
    ConnectNow,
    /// [`Link::take_over`](crate::Link::take_over); then [`Outcome::TakenOver`]. The incoming
    /// connection is identified by its observer's [`id`](Observe::id), if it has one. That observer
    /// is not notified of this call.
    TakeOver { incoming: Option<u64> },
    /// [`Incoming::declare`](crate::Incoming::declare), where it changes the declaration
    Declare { channels: &'a [ChannelConfig] },
    /// [`Incoming::accept`](crate::Incoming::accept)
    Admit { gone: Option<&'a GoneSession> },
    /// [`Incoming::refuse`](crate::Incoming::refuse)
    Refuse { refusal: &'a Refusal },
    /// [`Link::evict`](crate::Link::evict)
    Evict,
    /// [`Link::revoke`](crate::Link::revoke)
    Revoke,
    /// [`Link::poll_output`](crate::Link::poll_output), with room for `space` bytes; then
    /// [`Outcome::Output`]
    PollOutput { space: usize },
    /// [`Link::poll_event`](crate::Link::poll_event); then [`Outcome::Event`]
    PollEvent,
}

impl Call<'_> {
    /// Returns the method's name.
    const fn name(&self) -> &'static str {
        match self {
            Self::New { .. } => "new",
            Self::AskToAdmit => "ask_to_admit",
            Self::Opened => "handle_opened",
            Self::Secured { .. } => "handle_secured",
            Self::Input(_) => "handle_input",
            Self::Eof => "handle_eof",
            Self::Lost(_) => "handle_lost",
            Self::Timeout => "handle_timeout",
            Self::Send { .. } => "send",
            Self::Take { .. } => "take",
            Self::Handle { .. } => "handle",
            Self::Reject { .. } => "reject",
            Self::Abandon { .. } => "abandon",
            Self::Close { .. } => "close",
            Self::ConnectNow => "connect_now",
            Self::TakeOver { .. } => "take_over",
            Self::Declare { .. } => "declare",
            Self::Admit { .. } => "admit",
            Self::Refuse { .. } => "refuse",
            Self::Evict => "evict",
            Self::Revoke => "revoke",
            Self::PollOutput { .. } => "poll_output",
            Self::PollEvent => "poll_event",
        }
    }
}

impl fmt::Debug for Call<'_> {
    /// Writes the method without what a log must not have: payloads and the seed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple(self.name());
        match self {
            Self::Input(bytes) => shown.field(&Redacted(bytes.len())),
            Self::Send {
                channel, message, ..
            } => shown.field(channel).field(&Redacted(message.len())),
            Self::Handle {
                channel, sequence, ..
            } => shown.field(channel).field(sequence),
            Self::Lost(how) => shown.field(how),
            _ => return shown.finish_non_exhaustive(),
        };
        shown.finish()
    }
}

/// The outcome of a [`Call`].
#[derive(Clone, Copy)]
pub enum Outcome<'a> {
    /// Whether the call made sense in the link's state.
    InOrder(Result<(), OutOfOrder>),
    /// The message's number, or why it was not accepted.
    Sent(Result<Sequence, SendError>),
    /// The message that was taken.
    Taken {
        /// The message's number.
        sequence: Sequence,
        /// The message's length in bytes.
        length: usize,
    },
    /// Whether it could be done; for [`Link::take`](crate::Link::take), the border that it returned,
    /// or that nothing was left to take.
    Settled(Result<(), ReceiveError>),
    /// What became of the connection.
    TakenOver(TakeOver),
    /// The result, and the bytes if any were written.
    Output(Output, &'a [u8]),
    /// The event, and with [`Event::Ended`] the reason.
    Event(Option<&'a Event>, Option<&'a EndReason>),
}

impl fmt::Debug for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InOrder(result) => f.debug_tuple("InOrder").field(result).finish(),
            Self::Sent(result) => f.debug_tuple("Sent").field(result).finish(),
            Self::Taken { sequence, length } => f
                .debug_tuple("Taken")
                .field(sequence)
                .field(&Redacted(*length))
                .finish(),
            Self::Settled(result) => f.debug_tuple("Settled").field(result).finish(),
            Self::TakenOver(result) => f.debug_tuple("TakenOver").field(result).finish(),
            Self::Output(output, bytes) => f
                .debug_tuple("Output")
                .field(output)
                .field(&Redacted(bytes.len()))
                .finish(),
            Self::Event(event, why) => f.debug_tuple("Event").field(event).field(why).finish(),
        }
    }
}

/// A link's observer, if it has one. Two links that differ by this alone are equal.
#[derive(Default)]
pub(crate) struct Observer(Option<Box<dyn Observe>>);

impl Observer {
    pub(crate) fn new(observer: Box<dyn Observe>) -> Self {
        Self(Some(observer))
    }

    #[inline(always)]
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn id(&self) -> Option<u64> {
        self.0.as_ref().map(|observer| observer.id())
    }

    #[inline(always)]
    pub(crate) fn call(&mut self, now: Instant, call: Call<'_>) {
        if let Some(observer) = &mut self.0 {
            notify(observer, now, &call);
        }
    }

    #[inline(always)]
    pub(crate) fn outcome(&mut self, outcome: Outcome<'_>) {
        if let Some(observer) = &mut self.0 {
            observer.outcome(&outcome);
        }
    }
}

/// Notifies the observer, out of line to keep the cost from links without one.
#[cold]
#[inline(never)]
#[allow(clippy::borrowed_box, reason = "one pointer to pass on instead of two")]
fn notify(observer: &mut Box<dyn Observe>, now: Instant, call: &Call<'_>) {
    observer.call(now, call);
}

impl Clone for Observer {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl PartialEq for Observer {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Observer {}

impl Hash for Observer {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "set" } else { "none" })
    }
}
