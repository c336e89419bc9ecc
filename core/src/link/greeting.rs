//! HELLO and WELCOME: what the two ends exchange before any message, and how their declarations are
//! compared (`docs/protocol.md`, Handshake).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::connection::{LastFrame, ToGreet};
use super::timers::Timer;
use super::{Half, Link};
use crate::Instant;
use crate::channel::{ChannelConfig, Mode, Policy};
use crate::config::Role;
use crate::error::{EndReason, Incompatible, Loss, PeerMisbehaved, SessionLoss};
use crate::event::Event;
use crate::refuse::{self, Refusal};
use crate::send::ResumePoint;
use crate::state::{Input, LinkState};
use crate::wire::{
    ChannelEntry, FrameType, Greeting, GreetingHead, MAX_FRAME_LIMIT, MIN_FRAME_LIMIT, NO_CHANNEL,
    SessionOutcome, VERSION, encode_greeting,
};

impl Link {
    /// Writes the HELLO or WELCOME that is due.
    pub(super) fn write_greeting(&mut self, out: &mut [u8]) -> Result<usize, usize> {
        let (kind, outcome, entry_outcome) = match self.connection.to_greet {
            ToGreet::Nothing => return Ok(0),
            ToGreet::Hello { resume: true } => (
                FrameType::Hello,
                SessionOutcome::New,
                SessionOutcome::Resumed,
            ),
            ToGreet::Hello { resume: false } => {
                (FrameType::Hello, SessionOutcome::New, SessionOutcome::New)
            }
            ToGreet::Welcome(outcome) => (FrameType::Welcome, outcome, outcome),
        };
        let session = match self.connection.to_greet {
            ToGreet::Hello { resume: false } => [0; 16],
            _ => self.session.id,
        };
        let heard_at = self.connection.peer_clock.heard_at();
        let head = GreetingHead {
            version_min: VERSION,
            version_max: VERSION,
            outcome,
            attempt: self.attempt(),
            frame_limit: u32::try_from(self.config.frame_limit).unwrap_or(u32::MAX),
            session,
            time: self.now.as_micros(),
            arrived: match kind {
                FrameType::Hello => 0,
                _ => heard_at.map_or(0, Instant::as_micros),
            },
        };
        // Channels are listed in the order of HELLO, which is the opener's order.
        let order: Vec<usize> = match kind {
            FrameType::Hello => (0..self.halves.len()).collect(),
            _ => self
                .wire
                .iter()
                .map(|channel| usize::from(*channel))
                .collect(),
        };
        let entries = order.iter().map(|at| self.entry(*at, entry_outcome));
        let written = encode_greeting(kind, &head, entries, out).map_err(|small| small.needed)?;
        self.connection.to_greet = ToGreet::Nothing;
        self.connection.peer_clock.ask(self.now);
        if entry_outcome == SessionOutcome::Resumed {
            for half in &mut self.halves {
                if let Half::Receive(half) = half {
                    half.greeting_written();
                }
            }
        }
        Ok(written)
    }

    /// Returns the entry of one of this end's channels for HELLO or WELCOME, with its numbers where
    /// a session is resumed or can't be.
    fn entry(&self, at: usize, outcome: SessionOutcome) -> ChannelEntry<'_> {
        let config = &self.config.channels[at];
        let mut entry = ChannelEntry {
            mode: config.mode(),
            policy: config.policy(),
            name: config.name(),
            wants_times: config.wants_times(),
            max_reply: config.max_reply(),
            max_message: config.max_message() as u64,
            window_messages: 0,
            window_bytes: 0,
            handled: 0,
            received: 0,
            partial: 0,
        };
        if let (Half::Receive(half), ChannelConfig::Receive(config)) = (&self.halves[at], config) {
            entry.window_messages = config.window_messages;
            entry.window_bytes = config.window_bytes as u64;
            match outcome {
                SessionOutcome::New => {}
                SessionOutcome::Resumed => {
                    entry.handled = half.settled();
                    entry.received = half.received();
                    entry.partial = half.partial();
                }
                SessionOutcome::NotKnown | SessionOutcome::TooOld => {
                    entry.handled = self.old_settled(at);
                }
            }
        }
        entry
    }

    /// Handles HELLO at the acceptor: checks it and prepares the answer.
    pub(super) fn on_hello(&mut self, hello: &Greeting<'_>) -> Result<(), PeerMisbehaved> {
        if self.role != Role::Acceptor || self.state != LinkState::Greeting {
            return Err(PeerMisbehaved::Unexpected);
        }
        let head = &hello.head;
        if head.version_max < VERSION || head.version_min > VERSION {
            let (peer_min, peer_max) = (head.version_min, head.version_max);
            self.refuse_declaration(Incompatible::Version { peer_min, peer_max }, NO_CHANNEL);
            return Ok(());
        }
        check_head(head)?;
        if head.outcome != SessionOutcome::New {
            return Err(PeerMisbehaved::Greeting);
        }
        let named = head.session != [0; 16];
        let entry_outcome = if named {
            SessionOutcome::Resumed
        } else {
            SessionOutcome::New
        };
        for theirs in hello.channels() {
            check_entry(&theirs, entry_outcome)?;
        }
        if named {
            return self.on_named_session(hello);
        }
        self.on_new_session(hello)
    }

    /// Begins a new session at the acceptor, if the declarations fit.
    pub(super) fn begin_session(
        &mut self,
        hello: &Greeting<'_>,
        outcome: SessionOutcome,
    ) -> Result<(), PeerMisbehaved> {
        if self.ends_on_new_session() {
            self.end_on_new_session();
            return Ok(());
        }
        let Some(wire) = self.match_or_refuse(hello)? else {
            return Ok(());
        };
        if self.has_session() {
            self.lose_session(SessionLoss::StartedAnew, &[])?;
        }
        self.wire = wire;
        let mut id = [0; 16];
        let (high, low) = (self.rng.next_u64(), self.rng.next_u64());
        id[..8].copy_from_slice(&high.to_be_bytes());
        id[8..].copy_from_slice(&low.to_be_bytes());
        self.connection.to_greet = ToGreet::Welcome(outcome);
        self.adopt_session(id, hello);
        self.apply_greeting(hello, false)
    }

    /// Matches HELLO's channels with this end's, and refuses the peer if they don't fit.
    pub(super) fn match_or_refuse(
        &mut self,
        hello: &Greeting<'_>,
    ) -> Result<Option<Vec<u16>>, PeerMisbehaved> {
        match self.match_channels(hello) {
            Ok(wire) => Ok(Some(wire)),
            Err(Mismatch::Violation(violation)) => Err(violation),
            Err(Mismatch::Incompatible(channel, why)) => {
                self.refuse_declaration(why, channel);
                Ok(None)
            }
        }
    }

    /// Finds this end's channel for each of HELLO's, and checks that none is left over.
    fn match_channels(&self, hello: &Greeting<'_>) -> Result<Vec<u16>, Mismatch> {
        let mut wire: Vec<u16> = Vec::new();
        for (number, theirs) in (0..).zip(hello.channels()) {
            let Some(channel) = self.channel_id(theirs.name) else {
                let channel = theirs.name.to_string();
                let why = Incompatible::ChannelMissing {
                    channel,
                    here: true,
                };
                return Err(Mismatch::Incompatible(number, why));
            };
            if wire.contains(&channel.0) {
                return Err(Mismatch::Violation(PeerMisbehaved::Greeting));
            }
            let ours = &self.config.channels[channel.index()];
            compare(ours, &theirs).map_err(|why| Mismatch::Incompatible(number, why))?;
            wire.push(channel.0);
        }
        for (at, ours) in self.config.channels.iter().enumerate() {
            if !wire.iter().any(|channel| usize::from(*channel) == at) {
                let channel = ours.name().to_string();
                let why = Incompatible::ChannelMissing {
                    channel,
                    here: false,
                };
                return Err(Mismatch::Incompatible(NO_CHANNEL, why));
            }
        }
        Ok(wire)
    }

    /// Handles WELCOME at the opener.
    pub(super) fn on_welcome(&mut self, welcome: &Greeting<'_>) -> Result<(), PeerMisbehaved> {
        let answered = self.connection.to_greet == ToGreet::Nothing;
        if self.role != Role::Opener || self.state != LinkState::Greeting || !answered {
            return Err(PeerMisbehaved::Unexpected);
        }
        let head = &welcome.head;
        check_head(head)?;
        let ours = &self.config.channels;
        // HELLO offered one version.
        if (head.version_min, head.version_max) != (VERSION, VERSION)
            || head.session == [0; 16]
            || welcome.channels().count() != ours.len()
        {
            return Err(PeerMisbehaved::Greeting);
        }
        self.connection
            .peer_clock
            .answered_by_welcome(self.now, head);
        self.connection.owes_time = true;
        for (ours, theirs) in ours.iter().zip(welcome.channels()) {
            check_entry(&theirs, head.outcome)?;
            // The acceptor has compared the declarations and agreed, so a difference is a
            // violation.
            if ours.name() != theirs.name || compare(ours, &theirs).is_err() {
                return Err(PeerMisbehaved::Greeting);
            }
        }
        self.wire = (0..).take(ours.len()).collect();
        let resumed = self.on_outcome(welcome)?;
        self.adopt_session(head.session, welcome);
        self.apply_greeting(welcome, resumed)
    }

    /// Applies the peer's limits and numbers; messages flow from here on.
    pub(super) fn apply_greeting(
        &mut self,
        greeting: &Greeting<'_>,
        resumed: bool,
    ) -> Result<(), PeerMisbehaved> {
        let theirs = usize::try_from(greeting.head.frame_limit).unwrap_or(usize::MAX);
        self.frame_limit = self.config.frame_limit.min(theirs);
        for (number, entry) in (0..).zip(greeting.channels()) {
            let channel = usize::from(self.wire[usize::from(number)]);
            match &mut self.halves[channel] {
                Half::Send(half) => {
                    if resumed {
                        let point = ResumePoint {
                            handled: entry.handled,
                            received: entry.received,
                            partial: entry.partial,
                        };
                        half.resume(point, &mut self.spent)?;
                    }
                    let (messages, bytes) = (entry.window_messages, entry.window_bytes);
                    half.set_peer_limits(
                        number,
                        entry.max_message,
                        messages,
                        bytes,
                        &mut self.spent,
                    );
                    half.set_answers(entry.wants_times, entry.max_reply);
                    self.sends_times |= entry.wants_times;
                    // Messages that are unbegun again and have expired are dropped before anything
                    // that follows this greeting is processed: a close would withdraw them.
                    half.expire(self.now, &mut self.spent);
                    self.has_events |= half.has_events();
                }
                Half::Receive(half) => {
                    half.wire = number;
                    half.set_max_reply(entry.max_reply);
                    if resumed {
                        half.resume();
                    }
                }
            }
        }
        #[cfg(planted)]
        if resumed {
            self.err_at_resuming();
        }
        self.on_greeted(resumed);
        Ok(())
    }

    /// Handles the end of the handshake.
    pub(super) fn on_greeted(&mut self, resumed: bool) {
        if !matches!(self.step(Input::Greeted), Ok(true)) {
            return;
        }
        self.timers.stop(Timer::Handshake);
        self.timers.stop(Timer::Retain);
        self.wants_output = true;
        if resumed {
            self.session.resumes += 1;
            self.push_event(Event::Resumed);
        } else if self.session.over.is_none() {
            self.push_event(Event::Connected);
        }
        if self.closing.asked {
            self.resume_closing();
        }
    }

    /// Ends the link because the declarations don't fit, and notifies the peer.
    fn refuse_declaration(&mut self, why: Incompatible, channel: u16) {
        let code = why.refuse_code();
        // The peer reads the text, so 'this end' and 'the peer' change places.
        let text = for_the_peer(&why);
        let refusal = Refusal::new(code, text);
        let last_frame = LastFrame::Refuse { channel, refusal };
        self.fail(
            Input::Failed,
            EndReason::Incompatible(why),
            Some(last_frame),
        );
    }

    /// Handles a REFUSE from the peer.
    pub(super) fn on_refusal(&mut self, channel: u16, refusal: Refusal) {
        if refusal.again && self.await_connection(Loss::Refused) {
            self.refusal = Some(refusal);
            self.disconnect(Loss::Refused);
            return;
        }
        let name = |config: &ChannelConfig| String::from(config.name());
        let ours = self.config.channels.get(usize::from(channel));
        let reason = match (refusal.code, ours) {
            (refuse::MODE_CONFLICT, Some(ours)) => {
                EndReason::Incompatible(Incompatible::ModeConflict {
                    channel: name(ours),
                    both: ours.mode(),
                })
            }
            (refuse::CHANNEL_MISSING, Some(ours)) => {
                EndReason::Incompatible(Incompatible::ChannelMissing {
                    channel: name(ours),
                    here: false,
                })
            }
            (refuse::POLICY_CONFLICT, Some(ours)) => {
                let required = match (ours.mode(), ours.policy()) {
                    (Mode::Send, Some(Policy::Reliable)) => Policy::Latest,
                    (Mode::Send, _) => Policy::Reliable,
                    (Mode::Receive, required) => required.unwrap_or(Policy::Reliable),
                };
                let channel = name(ours);
                EndReason::Incompatible(Incompatible::PolicyConflict { channel, required })
            }
            _ => EndReason::Refused(refusal),
        };
        self.fail(Input::Failed, reason, None);
    }
}

/// Why two declarations could not be matched.
enum Mismatch {
    Violation(PeerMisbehaved),
    /// The channel's number in HELLO, and what is wrong.
    Incompatible(u16, Incompatible),
}

/// Compares the two declarations of one channel.
fn compare(ours: &ChannelConfig, theirs: &ChannelEntry<'_>) -> Result<(), Incompatible> {
    let channel = || String::from(theirs.name);
    if ours.mode() == theirs.mode {
        return Err(Incompatible::ModeConflict {
            channel: channel(),
            both: ours.mode(),
        });
    }
    let (sends, requires) = match ours.mode() {
        Mode::Send => (ours.policy(), theirs.policy),
        Mode::Receive => (theirs.policy, ours.policy()),
    };
    match requires {
        Some(required) if sends != Some(required) => Err(Incompatible::PolicyConflict {
            channel: channel(),
            required,
        }),
        _ => Ok(()),
    }
}

fn check_head(head: &GreetingHead) -> Result<(), PeerMisbehaved> {
    let frame_limit = usize::try_from(head.frame_limit).unwrap_or(usize::MAX);
    if (MIN_FRAME_LIMIT..=MAX_FRAME_LIMIT).contains(&frame_limit) {
        Ok(())
    } else {
        Err(PeerMisbehaved::Greeting)
    }
}

/// Checks the fields of one channel in isolation. Only receivers have numbers of a session, and
/// only where it is resumed or can't be.
pub(super) fn check_entry(
    entry: &ChannelEntry<'_>,
    outcome: SessionOutcome,
) -> Result<(), PeerMisbehaved> {
    let receives = entry.mode == Mode::Receive;
    let windows_fit = if receives {
        entry.window_messages > 0 && entry.window_bytes > 0
    } else {
        entry.window_messages == 0 && entry.window_bytes == 0
    };
    let (settled, arrived) = (entry.handled, entry.received | entry.partial);
    let numbers_fit = match outcome {
        SessionOutcome::Resumed if receives => true,
        SessionOutcome::NotKnown | SessionOutcome::TooOld if receives => arrived == 0,
        _ => settled | arrived == 0,
    };
    if windows_fit && entry.max_message > 0 && numbers_fit {
        Ok(())
    } else {
        Err(PeerMisbehaved::Greeting)
    }
}

/// Returns the text of a REFUSE frame: the same fact as seen from the other end.
fn for_the_peer(why: &Incompatible) -> String {
    match why {
        Incompatible::ChannelMissing { channel, here } => {
            let seen = Incompatible::ChannelMissing {
                channel: channel.clone(),
                here: !here,
            };
            seen.to_string()
        }
        Incompatible::Version { peer_min, peer_max } => alloc::format!(
            "the acceptor speaks protocol version {VERSION}, the opener versions {peer_min} to \
             {peer_max}"
        ),
        other => other.to_string(),
    }
}
