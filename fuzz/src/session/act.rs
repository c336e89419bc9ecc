//! What an application and a network do.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use countersign_core::{
    ChannelId, CloseMode, CloseReason, Disconnect, Life, PeerId, Refusal, Visit, refuse,
};

use super::Peer;
use crate::subject::Subject;

/// Does one thing; `kind` is from 80 to 127.
pub(crate) fn act(
    kind: u8,
    input: &mut Unstructured<'_>,
    subject: &mut Subject,
    peer: &mut Peer,
) -> Result<()> {
    let how: u8 = input.arbitrary()?;
    let channel = ChannelId(u16::from(how % 5));
    match kind {
        80..=89 => {
            let length = usize::from(u16::arbitrary(input)? % 3100);
            let expires = (how & 0x80 != 0).then(|| subject.now + Duration::from_millis(20));
            subject.send(channel, length, expires);
        }
        90..=97 => subject.take(channel),
        98..=101 => settle_one(how, input, subject)?,
        102 => drop(subject.link.abandon(subject.now, channel)),
        103 => subject
            .link
            .close_with(subject.now, CloseMode::Drain, reason(how)),
        104 if how < 128 => subject
            .link
            .close_with(subject.now, CloseMode::Withdraw, reason(how)),
        104 => subject
            .link
            .close_with(subject.now, CloseMode::DrainBoth, reason(how)),
        105..=109 => pass(how, subject),
        110..=112 => answer(how, subject),
        113 => subject.link.handle_eof(subject.now),
        114 => lose(how, subject),
        115 => {
            if subject.link.handle_opened(subject.now).is_ok() {
                peer.begin();
            }
        }
        116 => drop(subject.link.handle_secured(subject.now, someone(how))),
        117 => subject.link.evict(subject.now),
        _ => {
            if how & 1 != 0 {
                lose(how, subject);
            }
            peer.connect(subject, input)?;
        }
    }
    Ok(())
}

/// What the link says when it closes: mostly that all is well.
fn reason(how: u8) -> CloseReason {
    match how % 8 {
        6 => CloseReason::new(how.into(), "no input"),
        7 => CloseReason::new(u32::MAX, "ü".repeat(how.into())).again(),
        _ => CloseReason::ALL_WELL,
    }
}

/// Handles or rejects one of the messages that were taken.
fn settle_one(how: u8, input: &mut Unstructured<'_>, subject: &mut Subject) -> Result<()> {
    let (channel, number) = match subject.unsettled.len() {
        0 => (ChannelId(u16::from(how % 4)), u64::from(how)),
        count => subject.unsettled.swap_remove(usize::from(how >> 1) % count),
    };
    let result = if how & 1 == 0 {
        subject.link.handle(subject.now, channel, number)
    } else {
        let reason = "ü".repeat(usize::from(u8::arbitrary(input)?));
        subject
            .link
            .reject(subject.now, channel, number, how.into(), &reason)
    };
    subject
        .seen
        .note(&result.map_err(|error| error.to_string()));
    Ok(())
}

/// Lets time pass: to the next deadline, or for a while.
fn pass(how: u8, subject: &mut Subject) {
    let millis = [1, 20, 500, 5_000, 11_000, 16_000, 400_000][usize::from(how >> 1) % 7];
    let later = subject.now + Duration::from_millis(millis);
    subject.now = match subject.link.poll_deadline() {
        Some(at) if how & 1 == 0 => at.max(subject.now),
        _ => later,
    };
    subject.link.handle_timeout(subject.now);
}

/// The listener's word to a peer that waits for it.
pub(super) fn answer(how: u8, subject: &mut Subject) {
    let gone = subject.link.gone_session();
    match (subject.link.visit(), how % 4) {
        (None, _) => {}
        (Some(_), 3) if how < 128 => {
            subject.link.refuse(subject.now, &Refusal::busy("no room"));
        }
        (Some(_), 3) => {
            let refusal = Refusal::new(refuse::APPLICATION + u16::from(how), "not today");
            subject.link.refuse(subject.now, &refusal);
        }
        (Some(_), 1) if how >= 192 => {
            subject.declare();
            subject.link.admit(subject.now, None);
        }
        (Some(Visit::Returns(_)), 2) => subject.link.admit(subject.now, Some(&gone)),
        (Some(_), _) => subject.link.admit(subject.now, None),
    }
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
    // What ends a link for good comes seldom.
    let how = ways[at.checked_sub(100).map_or(0, |at| at % ways.len())];
    subject.link.handle_lost(subject.now, how);
}

/// Who is at the other end.
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
        match subject.link.life() {
            Life::Offline if subject.link.poll_deadline().is_none() => return true,
            Life::Offline if subject.link.role() == countersign_core::Role::Acceptor => {
                return true;
            }
            Life::Connecting => return true,
            Life::Offline => pass(0, subject),
            _ => return false,
        }
    }
    false
}
