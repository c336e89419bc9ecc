//! What an application and a network do.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use countersign_core::{
    ChannelId, CloseMode, CloseReason, Disconnect, GoneSession, Instant, LinkState, MAX_REPLY,
    Mode, PeerId, Protocol, Refusal, Request, Role, refuse,
};

use super::Peer;
use crate::subject::{Answer, Subject};

/// A time far away, behind which there is still room.
const FAR: Instant = Instant::from_micros(1 << 62);
/// For how long messages are good, in microseconds.
const LIVES: [u64; 8] = [
    20_000,
    0,
    1,
    500_000,
    5_000_000,
    400_000_000,
    1 << 62,
    20_000,
];

/// Does one thing; `kind` is from 80 to 127.
pub(crate) fn act(
    kind: u8,
    input: &mut Unstructured<'_>,
    subject: &mut Subject,
    peer: &mut Peer,
) -> Result<()> {
    let how: u8 = input.arbitrary()?;
    let (now, channel) = (subject.now, ChannelId(u16::from(how % 5)));
    match kind {
        80..=89 => {
            let length = usize::from(u16::arbitrary(input)? % 3100);
            let life = LIVES[usize::from(how >> 4) % 8];
            let expires = (how & 0x80 != 0).then(|| subject.now + Duration::from_micros(life));
            subject.send(channel, length, expires);
        }
        90..=97 => subject.take(channel),
        98..=101 => settle_one(how, input, subject)?,
        102 => subject.abandon(channel),
        103 => close(subject, CloseMode::Drain, how),
        104 if how < 128 => close(subject, CloseMode::Withdraw, how),
        104 => close(subject, CloseMode::DrainBoth, how),
        105..=109 => pass(how, subject),
        110..=112 => answer(how, subject),
        113 => subject.protocol().handle_eof(now),
        114 => lose(how, subject),
        115 => {
            if subject.protocol().handle_opened(now).is_ok() {
                peer.begin();
            }
        }
        116 => _ = subject.protocol().handle_secured(now, someone(how)),
        117 => _ = subject.link.as_mut().map(|link| link.evict(now)),
        _ => {
            if how & 1 != 0 {
                lose(how, subject);
            }
            peer.connect(subject, input)?;
        }
    }
    Ok(())
}

fn close(subject: &mut Subject, mode: CloseMode, how: u8) {
    if let Some(link) = &mut subject.link {
        link.close_with(subject.now, mode, reason(how));
    }
}

/// What the link says when it closes: mostly that all is well.
fn reason(how: u8) -> CloseReason {
    match how % 8 {
        6 => CloseReason::new(how.into(), "no input"),
        7 => CloseReason::new(u32::MAX, "ü".repeat(how.into())).again(),
        _ => CloseReason::ALL_WELL,
    }
}

/// Handles or rejects one of the messages that were taken; seldom one that was not.
fn settle_one(how: u8, input: &mut Unstructured<'_>, subject: &mut Subject) -> Result<()> {
    if subject.unsettled.is_empty() && how < 240 {
        (0..4).for_each(|channel| subject.take(ChannelId(channel)));
    }
    let (channel, number) = match subject.unsettled.len() {
        0 => (ChannelId(u16::from(how % 4)), u64::from(how)),
        count => subject.unsettled.swap_remove(usize::from(how >> 1) % count),
    };
    let answer = match how {
        _ if how & 1 != 0 => {
            let reason = "ü".repeat(usize::from(u8::arbitrary(input)?));
            Answer::Rejected(how.into(), reason)
        }
        0..128 => Answer::Handled,
        // At the limits that are declared, and one above.
        _ => {
            let lengths = [0, 5, 6, 256, 257, MAX_REPLY, MAX_REPLY + 1, 100];
            Answer::Reply(vec![b'r'; lengths[usize::from(how >> 4) % 8]])
        }
    };
    subject.answer(channel, number, &answer);
    Ok(())
}

/// Lets time pass: to the next deadline, or for a while.
fn pass(how: u8, subject: &mut Subject) {
    let millis = [1, 20, 500, 5_000, 11_000, 16_000, 400_000][usize::from(how >> 1) % 7];
    let later = match how {
        // Its clock jumps.
        255 => subject.now.max(FAR),
        _ => subject.now + Duration::from_millis(millis),
    };
    let now = match subject.protocol().poll_deadline() {
        Some(at) if how & 1 == 0 => at.max(subject.now),
        _ => later,
    };
    subject.now = now;
    subject.protocol().handle_timeout(now);
}

/// The listener's decision about a peer that waits for it.
pub(super) fn answer(how: u8, subject: &mut Subject) {
    match (subject.request(), how % 4) {
        (None, _) => {}
        (Some(_), 3) if how < 128 => subject.refuse(&Refusal::busy("no room")),
        (Some(_), 3) => {
            let code = refuse::APPLICATION + u16::from(how);
            subject.refuse(&Refusal::new(code, "not today"));
        }
        (Some(_), 1) if how >= 192 => {
            subject.declare();
            subject.accept(None);
        }
        (Some(Request::Resume(id)), 2) => {
            let gone = remembered(id, how, subject.protocol());
            subject.accept(Some(gone));
        }
        (Some(_), _) => subject.accept(None),
    }
}

/// What a listener may remember of a session with these channels.
fn remembered(id: [u8; 16], how: u8, incoming: &dyn Protocol) -> GoneSession {
    let channels = incoming.config().channels().iter();
    let received = channels.filter(|channel| channel.mode() == Mode::Receive);
    let settled = received.map(|channel| (channel.name().to_owned(), u64::from(how >> 3)));
    GoneSession::new(id, None, settled.collect())
}

fn lose(how: u8, subject: &mut Subject) {
    let ways = [
        Disconnect::Transport,
        Disconnect::Security,
        Disconnect::Unproven,
        Disconnect::OutOfDate,
        Disconnect::NotTrusted,
    ];
    let at = usize::from(how >> 1);
    // Actions that end a link finally are rare.
    let how = ways[at.checked_sub(100).map_or(0, |at| at % ways.len())];
    let now = subject.now;
    subject.protocol().handle_lost(now, how);
}

/// The identity at the other end.
pub(super) fn someone(how: u8) -> Option<PeerId> {
    match how {
        0..200 => Some(PeerId([1; 32])),
        200..230 => Some(PeerId([2; 32])),
        _ => None,
    }
}

/// Waits until the link has no connection and may have one; false if it never will.
pub(super) fn wait_offline(subject: &mut Subject) -> bool {
    for _ in 0..4 {
        let link = subject.protocol();
        match link.state() {
            LinkState::Offline if link.poll_deadline().is_none() => return true,
            LinkState::Offline if link.role() == Role::Acceptor => return true,
            LinkState::Connecting => return true,
            LinkState::Offline => pass(0, subject),
            _ => return false,
        }
    }
    false
}
