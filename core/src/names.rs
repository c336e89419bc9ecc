//! Short names of what a link reports, the same in every version, for captures, metrics and the
//! like. `Display` has the texts for people.

use crate::{EndReason, Event, Loss, ReceiveError, SendError, SessionLoss};

impl Loss {
    /// All variants, in the order of their declaration.
    pub const ALL: [Self; 15] = [
        Self::Transport,
        Self::PeerLeft,
        Self::PeerLeftEarly,
        Self::Security,
        Self::NotTrusted,
        Self::Unproven,
        Self::OutOfDate,
        Self::Silence,
        Self::HandshakeTooSlow,
        Self::CloseTooSlow,
        Self::Abandoned,
        Self::Replaced,
        Self::Refused,
        Self::StayedAway,
        Self::Evicted,
    ];

    /// Returns the name, in lower case with dashes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::PeerLeft => "peer-left",
            Self::PeerLeftEarly => "peer-left-early",
            Self::Security => "security",
            Self::NotTrusted => "not-trusted",
            Self::Unproven => "unproven",
            Self::OutOfDate => "out-of-date",
            Self::Silence => "silence",
            Self::HandshakeTooSlow => "handshake-too-slow",
            Self::CloseTooSlow => "close-too-slow",
            Self::Abandoned => "abandoned",
            Self::Replaced => "replaced",
            Self::Refused => "refused-for-now",
            Self::StayedAway => "stayed-away",
            Self::Evicted => "evicted",
        }
    }
}

impl SessionLoss {
    /// All variants, in the order of their declaration.
    pub const ALL: [Self; 5] = [
        Self::NotKnown,
        Self::TooOld,
        Self::OtherPeer,
        Self::StartedAnew,
        Self::Dialect,
    ];

    /// Returns the name, in lower case with dashes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotKnown => "not-known",
            Self::TooOld => "too-old",
            Self::OtherPeer => "other-peer",
            Self::StartedAnew => "started-anew",
            Self::Dialect => "dialect",
        }
    }
}

impl EndReason {
    /// Returns the name, in lower case with dashes, without the details.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Closed { by_us: true, .. } => "closed-by-us",
            Self::Closed { by_us: false, .. } => "closed-by-peer",
            Self::ClosedBeforeConnected => "closed-before-connected",
            Self::Peer(_) => "peer-misbehaved",
            Self::AccusedByPeer { .. } => "accused",
            Self::Revoked { by_us: true } => "revoked-by-us",
            Self::Revoked { by_us: false } => "revoked-by-peer",
            Self::Incompatible(_) => "incompatible",
            Self::Refused(_) => "refused",
            Self::TurnedAway(_) => "turned-away",
            Self::Lost(loss) => loss.name(),
            Self::SessionLost(_) => "session-lost",
            Self::TakenOver => "taken-over",
            Self::Stale => "stale",
        }
    }
}

impl SendError {
    /// Returns the name, in lower case with dashes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::NoSuchChannel => "no-such-channel",
            Self::ReceiveMode => "receive-mode",
            Self::TooLarge { .. } => "too-large",
            Self::Empty => "empty",
            Self::Closing => "closing",
            Self::Ended => "ended",
        }
    }
}

impl ReceiveError {
    /// Returns the name, in lower case with dashes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SessionBorder(_) => "session-border",
            Self::NoSuchChannel => "no-such-channel",
            Self::SendMode => "send-mode",
            Self::NotWaiting => "not-waiting",
            Self::ReplyTooLong { .. } => "reply-too-long",
            Self::SessionLost => "session-lost",
            Self::Manual => "manual",
        }
    }
}

impl Event {
    /// Returns the name, in lower case with dashes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Lost(_) => "lost",
            Self::Resumed => "resumed",
            Self::SessionLost(_) => "session-lost",
            Self::Readable(_) => "readable",
            Self::Room(_) => "room",
            Self::Handled { .. } => "handled",
            Self::Verdict { .. } => "verdict",
            Self::LeaseHeld(_) => "lease-held",
            Self::LeaseLapsed(_) => "lease-lapsed",
            Self::PeerClosing => "peer-closing",
            Self::Ended => "ended",
        }
    }
}
