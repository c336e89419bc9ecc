//! Pinned attackers that keep to the letter of the protocol to take more than their share.

use std::time::Duration;

use countersign_core::wire::FrameType;
use countersign_core::{
    Bytes, ChannelConfig, EndReason, Loss, PeerMisbehaved, ReceiveChannel, Verdict,
};

use super::figures::close;
use super::{assert_says, frame, greet, greet_with, number};
use crate::adversary::{Hostile, Seen, Terms, Victim};

scenarios! {
    EITHER_END {
        empty_messages,
        empty_messages_without_end,
        fragments_without_an_end,
        pings_without_reading,
        nothing_is_read,
        windows_without_a_bound,
    }
}

/// What a victim with little room for messages takes: few, and short ones.
const FEW: usize = 16;
const SHORT: usize = 64 * 1024;
/// More than any buffer on the way holds.
const MANY: usize = 100_000;

/// A victim that declares little room for messages.
pub fn terms(victim: &Victim) -> Terms {
    let terms = victim.terms();
    match victim.channel() {
        ChannelConfig::Send(channel) => {
            terms.channel(channel.max_message(SHORT).queue(FEW, FEW * SHORT))
        }
        ChannelConfig::Receive(channel) => {
            terms.channel(channel.max_message(SHORT).window(FEW as u32, SHORT))
        }
    }
}

fn message(number: u32, payload: &[u8]) -> Vec<u8> {
    let body = [&number.to_be_bytes()[..], payload].concat();
    frame(FrameType::Message as u8, 3, 0, &body)
}

/// Empty messages cost the attacker next to nothing: if they are not taken, the window's number of
/// messages bounds them, whatever they weigh.
fn empty_messages(victim: &Victim) {
    let victim = &victim.receiving();
    let stage = victim.stage_with(&terms(victim));
    let of = PeerMisbehaved::WindowExceeded;
    let attack = |mut hostile: Hostile| {
        greet(&mut hostile, victim);
        let mut said = Vec::new();
        for number in 1..=FEW as u32 + 1 {
            said.extend(message(number, b""));
        }
        hostile.say(&said);
        let abort = hostile.receive_frame().expect("a last word");
        assert_eq!(abort[0], FrameType::Abort as u8);
        assert_eq!(abort[8..10], of.abort_code().to_be_bytes());
        assert_eq!(hostile.receive_end(), Seen::Closed);
    };
    let ((), ()) = stage.meet(attack, |link| {
        let link = link.expect("the link was up");
        let error = link.ended().end.expect("why it ended");
        assert_eq!(*error.reason(), EndReason::Peer(of));
        let text = format!("the peer broke the protocol: {of}");
        assert_says(&error, &text);
        // What came within the window can still be had.
        let mut receiver = link.receiver("data").unwrap();
        let taken = std::iter::from_fn(|| receiver.try_recv().ok().flatten());
        assert_eq!(taken.count(), FEW);
    });
    stage.bystander.keeps_pace();
}

/// Empty messages, as many as the window allows and again when they are acknowledged, many times
/// over: the application gets each, and no other link is held up.
fn empty_messages_without_end(victim: &Victim) {
    const WINDOW: usize = 1000;
    let victim = &victim.receiving();
    let channel = ReceiveChannel::new("data").max_message(SHORT);
    let channel = channel.window(WINDOW as u32, SHORT);
    let stage = victim.stage_with(&victim.terms().channel(channel));
    let attack = |mut hostile: Hostile| {
        greet(&mut hostile, victim);
        for batch in 0..MANY / WINDOW {
            let last = (batch + 1) * WINDOW;
            let said = (batch * WINDOW + 1..=last).map(|number| message(number as u32, b""));
            assert!(hostile.say(&said.collect::<Vec<_>>().concat()));
            if batch % 10 == 5 {
                stage.bystander.keeps_pace();
            }
            let all = number(FrameType::Ack, 0, last as u64);
            while hostile.receive_frame().expect("an answer") != all {}
        }
        close(&mut hostile, &[MANY as u64]);
    };
    let ((), taken) = stage.meet(attack, |link| {
        let link = link.expect("the link was up");
        let mut receiver = link.receiver("data").unwrap();
        let (mut taken, mut messages) = (0, Vec::new());
        while receiver.recv_batch(&mut messages, WINDOW).unwrap() > 0 {
            assert!(messages.iter().all(Bytes::is_empty));
            taken += messages.len();
            messages.clear();
        }
        let report = link.ended();
        assert!(report.is_orderly(), "{report}");
        taken
    });
    assert_eq!(taken, MANY);
    stage.bystander.keeps_pace();
}

/// A message in fragments of one byte each, whose last fragment never arrives. The link goes on for
/// as long as the attacker does, and no other is held up.
fn fragments_without_an_end(victim: &Victim) {
    let victim = &victim.receiving();
    let stage = victim.stage_with(&terms(victim));
    let attack = |mut hostile: Hostile| {
        greet(&mut hostile, victim);
        let total = SHORT as u64;
        let kind = FrameType::Message as u8;
        let body = [&[0, 0, 0, 1][..], &total.to_be_bytes(), b"a"].concat();
        hostile.say(&frame(kind, 1, 0, &body));
        let one = frame(kind, 0, 0, &[0, 0, 0, 1, b'a']);
        let many = one.repeat((SHORT - 2) / 8);
        for _ in 0..8 {
            assert!(hostile.say(&many));
            stage.bystander.keeps_pace();
        }
        hostile.close_notify();
        hostile.end();
        hostile.receive_end()
    };
    let (_, error) = stage.meet(attack, |link| {
        let link = link.expect("the link was up");
        let mut receiver = link.receiver("data").unwrap();
        assert!(receiver.recv().is_err(), "nothing came whole");
        link.ended().end.expect("why it ended")
    });
    assert_eq!(*error.reason(), EndReason::Lost(Loss::PeerLeft), "{error}");
    stage.bystander.keeps_pace();
}

/// Nothing but pings, in great numbers, whose answers the attacker does not read until the end.
/// Only the last that waits is answered, so they are not piled up, and the link is as good as
/// before. [PING-4]
fn pings_without_reading(victim: &Victim) {
    let stage = victim.stage_with(&terms(victim));
    let attack = |mut hostile: Hostile| {
        greet(&mut hostile, victim);
        let pings = number(FrameType::Ping, 0, 1).repeat(MANY / 100);
        for round in 0..100 {
            assert!(hostile.say(&pings));
            if round % 20 == 0 {
                stage.bystander.keeps_pace();
            }
        }
        hostile.say(&number(FrameType::Ping, 0, 2));
        // Answers to those before, much fewer than there were, and to the last.
        let mut answers = 0;
        loop {
            let pong = hostile.receive_frame().expect("an answer");
            assert_eq!(pong[0], FrameType::Pong as u8);
            answers += 1;
            if pong[8..16] == 2_u64.to_be_bytes() {
                break;
            }
        }
        hostile.close_notify();
        hostile.end();
        hostile.receive_end();
        answers
    };
    let (answers, error) = stage.meet(attack, |link| {
        let link = link.expect("the link was up");
        link.ended().end.expect("why it ended")
    });
    assert!(answers <= MANY / 10, "{answers} answers");
    assert_eq!(*error.reason(), EndReason::Lost(Loss::PeerLeft), "{error}");
    stage.bystander.keeps_pace();
}

/// The attacker reads nothing: the victim's application learns that there is no room when its queue
/// is full, and the attacker is given up when its time is over. [PING-3]
fn nothing_is_read(victim: &Victim) {
    let victim = &victim.sending();
    let terms = terms(victim).timeouts(|timeouts| {
        timeouts.ping = Duration::from_millis(100);
        timeouts.give_up = Duration::from_secs(1);
        timeouts.linger = Duration::from_millis(100);
    });
    let stage = victim.stage_with(&terms);
    let (gone, wait) = std::sync::mpsc::channel::<()>();
    let attack = move |mut hostile: Hostile| {
        greet(&mut hostile, victim);
        // It stays, and does nothing.
        let _ = wait.recv();
    };
    let ((), ()) = stage.meet(attack, |link| {
        let link = link.expect("the link was up");
        let sender = link.sender("data").unwrap();
        let mut receipts = Vec::new();
        let blocked = loop {
            match sender.try_send(vec![7; SHORT].into()) {
                Ok(receipt) => receipts.push(receipt),
                Err(error) => break error,
            }
        };
        assert!(blocked.is_blocked(), "{blocked}");
        assert_eq!(receipts.len(), FEW, "none has a verdict");
        stage.bystander.keeps_pace();
        let error = link.ended().end.expect("why it ended");
        assert_eq!(*error.reason(), EndReason::Lost(Loss::Silence), "{error}");
        for receipt in receipts {
            let verdict = receipt.wait();
            assert!(matches!(verdict, Verdict::Unknown | Verdict::Withdrawn));
        }
        drop(gone);
    });
    stage.bystander.keeps_pace();
}

/// A peer may declare windows without a bound: the sender has to bound what waits for it.
fn windows_without_a_bound(victim: &Victim) {
    let victim = &victim.sending();
    let stage = victim.stage_with(&terms(victim));
    let attack = |mut hostile: Hostile| {
        let mut greeting = victim.words().to(victim.role);
        // Largest message, window in messages and in bytes: docs/protocol.md, Handshake.
        greeting[8 + 50 + 4..8 + 50 + 24].fill(0xFF);
        greet_with(&mut hostile, &greeting);
        for sequence in 1..=2_u64 {
            let heard = hostile.receive_message(SHORT);
            assert_eq!(heard, SHORT);
            hostile.say(&number(FrameType::Ack, 0, sequence));
        }
        stage.bystander.keeps_pace();
        hostile.close_notify();
        hostile.end();
        hostile.receive_end();
    };
    let ((), ()) = stage.meet(attack, |link| {
        let link = link.expect("the link was up");
        let sender = link.sender("data").unwrap();
        for _ in 0..2 {
            let receipt = sender.try_send(vec![7; SHORT].into());
            assert!(receipt.unwrap().wait().is_handled());
        }
        let largest = sender.max_message();
        assert_eq!(largest, SHORT, "the smaller figure of both");
        link.ended();
    });
    stage.bystander.keeps_pace();
}
