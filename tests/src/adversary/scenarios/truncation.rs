//! Connections that end between two records of TLS, whichever.

use std::collections::VecDeque;
use std::io::ErrorKind;

use countersign_core::{EndReason, Loss, Mode, Role, Verdict};
use countersign_driver::LinkError;
use countersign_endpoint::Reason;

use super::{assert_says, security};
use crate::adversary::{Bystander, CAST, Disguise, Hostile, Seen, Victim, ack, message, records};
use crate::backend::{Link, Receipt};

scenarios! {
    EITHER_END {
        ends_at_every_record,
        closes_at_every_record,
        resets_at_every_record,
    }
}

/// How many messages there are.
const MESSAGES: usize = 3;

/// How the attacker ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Its direction of the transport, without a word.
    End,
    /// Its direction of TLS, and then of the transport.
    CloseNotify,
    /// By a reset.
    Reset,
}

/// All that the attacker has to say, record by record.
struct Script {
    hostile: Hostile,
    /// How many frames it reads before it answers, once it has greeted.
    hears: usize,
    /// Records of TLS itself that are encrypted and not sent.
    ready: VecDeque<Vec<u8>>,
    /// What follows, each frame in a separate record.
    frames: VecDeque<Vec<u8>>,
    /// All records that the victim needs to have TLS secured are sent.
    secured: bool,
    /// How many frames are sent.
    said: usize,
}

impl Script {
    fn new(mut hostile: Hostile, victim: &Victim, frames: &[Vec<u8>]) -> Self {
        hostile.disguise(Disguise::of(&CAST.peer));
        let greetings = match victim.role {
            Role::Acceptor => 1,
            Role::Opener => 0,
        };
        let messages = match victim.mode {
            Mode::Send => MESSAGES,
            Mode::Receive => 0,
        };
        Self {
            hostile,
            hears: greetings + messages,
            ready: VecDeque::new(),
            frames: frames.iter().cloned().collect(),
            secured: false,
            said: 0,
        }
    }

    /// Has the next records of TLS ready, if there are more.
    fn refill(&mut self) {
        while self.ready.is_empty() {
            let flight = self.hostile.flight();
            let records = records(&flight).into_iter().map(<[u8]>::to_vec);
            self.ready.extend(records);
            if !self.hostile.is_handshaking() {
                return;
            }
            if flight.is_empty() {
                assert!(self.hostile.receive_more(), "{:?}", self.hostile);
            }
        }
    }

    /// Sends one record; false when there is none left.
    fn send(&mut self) -> bool {
        self.refill();
        let record = match self.ready.pop_front() {
            Some(record) => {
                // A client has heard all when the server's only flight is sent.
                let is_done = || match self.hostile.victim() {
                    Role::Acceptor => !self.hostile.is_handshaking(),
                    Role::Opener => true,
                };
                self.secured |= self.ready.is_empty() && is_done();
                record
            }
            None => match self.frames.pop_front() {
                Some(frame) => self.encrypt_in_turn(&frame),
                None => return false,
            },
        };
        assert!(self.hostile.throw(&record));
        if self.said == 1 && self.frames.len() == MESSAGES {
            // What comes later is an answer.
            for _ in 0..self.hears {
                self.hostile.receive_frame().unwrap();
            }
        }
        true
    }

    fn encrypt_in_turn(&mut self, frame: &[u8]) -> Vec<u8> {
        if self.said == 0 && self.hostile.victim() == Role::Opener {
            self.hostile.receive_frame().unwrap();
        }
        self.said += 1;
        self.hostile.encrypt(frame)
    }

    /// Sends `count` records, or all, holds still until the bystander has kept pace, and ends the
    /// connection. Returns how far it got, and what the attacker sees.
    fn cut_after(mut self, count: usize, cut: Cut, bystander: &Bystander) -> Sent {
        let all = (0..count).any(|_| !self.send());
        bystander.keeps_pace();
        let mut sent = Sent {
            secured: self.secured,
            said: self.said,
            all,
            seen: None,
        };
        if cut == Cut::Reset {
            self.hostile.reset();
            return sent;
        }
        if cut == Cut::CloseNotify && self.secured {
            // What is encrypted has its number, and none may be left out.
            self.refill();
            let ready = self.ready.make_contiguous().concat();
            self.hostile.throw(&ready);
            self.hostile.close_notify();
        }
        self.hostile.end();
        sent.seen = Some(self.hostile.receive_end());
        sent
    }
}

/// How far an attacker came.
#[derive(Debug)]
struct Sent {
    /// TLS was secured at the victim, if it has read all.
    secured: bool,
    /// How many frames were sent, the greeting among them.
    said: usize,
    /// There was nothing more to send.
    all: bool,
    /// How the connection ended for it; nothing after a reset.
    seen: Option<Seen>,
}

/// What the victim reports: its error, and the messages that came or the verdicts of what it sent.
struct Report {
    error: LinkError,
    messages: Vec<Vec<u8>>,
    verdicts: Vec<Verdict>,
}

/// The attacker's words: its greeting, and three messages, or the confirmation of three.
fn frames(victim: &Victim) -> Vec<Vec<u8>> {
    let mut frames = vec![victim.words().to(victim.role)];
    for number in 1..=MESSAGES as u64 {
        frames.push(match victim.mode {
            Mode::Receive => message(number, &text(number)),
            Mode::Send => ack(number),
        });
    }
    frames
}

fn text(number: u64) -> Vec<u8> {
    format!("message {number}").into_bytes()
}

/// Sends three messages, or takes all that come, until the link ends.
fn report(victim: &Victim, link: Result<Box<dyn Link>, LinkError>) -> Report {
    let mut report = Report {
        error: LinkError::new(EndReason::ClosedBeforeConnected),
        messages: Vec::new(),
        verdicts: Vec::new(),
    };
    let link = match link {
        Ok(link) => link,
        Err(error) => return Report { error, ..report },
    };
    match victim.mode {
        Mode::Receive => {
            let mut receiver = link.receiver("data").unwrap();
            report.error = loop {
                match receiver.recv() {
                    Ok(message) => report.messages.push(message.expect("no end").to_vec()),
                    Err(error) => break error.link().expect("the end").clone(),
                }
            };
            let end = link.ended().end.unwrap();
            assert_eq!(end.to_string(), report.error.to_string());
        }
        Mode::Send => {
            let sender = link.sender("data").unwrap();
            let receipts =
                (1..=MESSAGES as u64).map_while(|number| sender.send(text(number).into()).ok());
            let receipts: Vec<_> = receipts.collect();
            report.verdicts = receipts.into_iter().map(<dyn Receipt>::wait).collect();
            report.error = link.ended().end.unwrap();
        }
    }
    report
}

fn assert_lost(error: &LinkError, loss: Loss) {
    assert_eq!(*error.reason(), EndReason::Lost(loss), "{error}");
    assert!(error.can_retry(), "{error}");
}

/// What a victim says whose connection has ended like this.
fn assert_error(error: &LinkError, sent: &Sent, cut: Cut) {
    match (cut, sent.secured, sent.said) {
        (Cut::Reset, ..) => match error.io() {
            Some(said) => {
                assert_lost(error, Loss::Transport);
                let expected = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(expected.contains(&said.kind()), "{error}");
            }
            // The system had reported that to a write at the same moment.
            None => {
                let reason = security(error);
                let expected = [Reason::ClosedDuringHandshake, Reason::Truncated];
                assert!(expected.contains(reason), "{error}");
            }
        },
        (_, false, _) => {
            assert_eq!(security(error), &Reason::ClosedDuringHandshake);
            let text = "the peer closed the connection during the handshake without saying why; \
                        see its log, and check that it expects TLS here";
            assert_says(error, text);
        }
        (Cut::End, true, _) => {
            assert_eq!(security(error), &Reason::Truncated);
            let text = "the connection broke off without the peer having closed it; check the \
                        network and whether the peer still runs";
            assert_says(error, text);
        }
        (Cut::CloseNotify, true, 0) => assert_lost(error, Loss::PeerLeftEarly),
        (Cut::CloseNotify, true, _) => {
            assert_lost(error, Loss::PeerLeft);
            let text = "the connection was lost: the peer ended the connection without closing the \
                        link";
            assert_says(error, text);
        }
    }
}

/// What was taken, or is known to be: all that came before the end. A reset overtakes what is not
/// read yet.
fn assert_known(report: &Report, sent: &Sent, cut: Cut, victim: &Victim) {
    let whole = sent.said.saturating_sub(1);
    let texts: Vec<_> = (1..=report.messages.len() as u64).map(text).collect();
    assert_eq!(report.messages, texts, "in their order, and none twice");
    let handled = report
        .verdicts
        .iter()
        .filter(|verdict| verdict.is_handled());
    let known = match victim.mode {
        Mode::Receive => report.messages.len(),
        Mode::Send => handled.count(),
    };
    match cut {
        Cut::Reset => assert!(known <= whole, "{known} of {whole}"),
        Cut::End | Cut::CloseNotify => assert_eq!(known, whole),
    }
    // All of them had begun.
    let others = &report.verdicts[known.min(report.verdicts.len())..];
    assert!(others.iter().all(|verdict| *verdict == Verdict::Unknown));
}

fn every_record(victim: &Victim, cut: Cut) {
    for victim in [victim.receiving(), victim.sending()] {
        every_record_of(&victim, cut);
    }
}

fn every_record_of(victim: &Victim, cut: Cut) {
    let stage = victim.stage();
    let frames = frames(victim);
    for count in 0.. {
        let (sent, report) = stage.meet(
            |hostile| Script::new(hostile, victim, &frames).cut_after(count, cut, &stage.bystander),
            |link| report(victim, link),
        );
        assert_error(&report.error, &sent, cut);
        assert_known(&report, &sent, cut, victim);
        let in_order = cut == Cut::CloseNotify && sent.secured;
        let expected = if in_order { Seen::Closed } else { Seen::Ended };
        assert!(sent.seen.is_none_or(|seen| seen == expected), "{sent:?}");
        if sent.all {
            assert_eq!(sent.said, frames.len());
            break;
        }
    }
    stage.bystander.keeps_pace();
}

/// The transport ends behind each record, without a close_notify: that is never taken for an end of
/// the link.
fn ends_at_every_record(victim: &Victim) {
    every_record(victim, Cut::End);
}

/// TLS ends behind each record, with a close_notify: nor is that.
fn closes_at_every_record(victim: &Victim) {
    every_record(victim, Cut::CloseNotify);
}

/// The connection is reset behind each record.
fn resets_at_every_record(victim: &Victim) {
    every_record(victim, Cut::Reset);
}
