//! Attackers that take their time.

use std::time::Duration;

use countersign_core::wire::MAX_GREETING;
use countersign_core::{EndReason, Loss, Role};
use countersign_driver::LinkError;
use countersign_endpoint::Reason;

use super::{assert_says, security, shake};
use crate::adversary::{CAST, Disguise, Hostile, Seen, Stage, Victim, Words, records};

/// How long the victim waits. Between two bytes of an attacker passes much less.
const LIMIT: Duration = Duration::from_millis(250);
/// Between two bytes of an attacker.
const DRIP: Duration = Duration::from_millis(5);

/// A victim that gives handshakes little time.
fn impatient(victim: &Victim) -> Stage {
    let terms = victim.terms();
    victim.stage_with(&terms.patience(|patience| patience.handshake = LIMIT))
}

fn assert_too_slow(error: &LinkError) {
    let expected = EndReason::Lost(Loss::HandshakeTooSlow);
    assert_eq!(*error.reason(), expected, "{error}");
    assert_says(
        error,
        "the connection was lost: the handshake took too long",
    );
    assert!(error.can_retry());
}

/// The attacker's part of TLS as far as it goes by itself: what it would say next, record by
/// record.
fn next_records(hostile: &mut Hostile) -> Vec<Vec<u8>> {
    if hostile.victim() == Role::Opener {
        while hostile.tls().is_handshaking() && !hostile.tls().wants_write() {
            hostile.hear_more();
        }
    }
    let flight = hostile.flight();
    records(&flight).into_iter().map(<[u8]>::to_vec).collect()
}

/// Says nothing.
fn nothing(_: &mut Hostile) {}

/// Begins a record.
fn first_byte(hostile: &mut Hostile) {
    hostile.throw(&[22]);
}

/// The first flight but for its last record: of a client, that is nothing of its one record.
fn most_of_the_first_flight(hostile: &mut Hostile) {
    hostile.disguise(Disguise::of(&CAST.peer));
    let mut records = next_records(hostile);
    let last = records.pop().unwrap();
    hostile.throw(&records.concat());
    hostile.throw(&last[..last.len() - 1]);
}

/// The first flight, and then not a word.
fn first_flight(hostile: &mut Hostile) {
    hostile.disguise(Disguise::of(&CAST.peer));
    let records = next_records(hostile);
    hostile.throw(&records.concat());
}

/// The client's second flight but for its last record.
fn most_of_the_second_flight(hostile: &mut Hostile) {
    first_flight(hostile);
    if hostile.victim() == Role::Opener {
        return;
    }
    while hostile.tls().is_handshaking() {
        hostile.hear_more();
    }
    let mut records = next_records(hostile);
    records.pop();
    hostile.throw(&records.concat());
}

/// All of TLS, and no greeting.
fn no_greeting(hostile: &mut Hostile) {
    hostile.shake(Disguise::of(&CAST.peer)).unwrap();
}

/// All but the last byte of a greeting.
fn most_of_a_greeting(hostile: &mut Hostile) {
    no_greeting(hostile);
    let greeting = Words::default().to(hostile.victim());
    hostile.say(&greeting[..greeting.len() - 1]);
}

/// The victim says no more than that the attacker has left. So that is what ended it, and all that
/// others did until then they did while the attacker was there.
fn assert_left(error: &LinkError, secured: bool) {
    let expected = match secured {
        true => Reason::Truncated,
        false => Reason::ClosedDuringHandshake,
    };
    assert_eq!(security(error), &expected);
}

/// A stall after each flight. A victim that waits for ever lets the bystander go on meanwhile. Of one
/// that does not, the time for all of it together runs out, the victim says so, and ends the
/// connection. Where TLS is done by then it does so in order. [PING-6]
pub fn stalls_after_each_flight(victim: &Victim) {
    let (patient, impatient) = (victim.stage(), impatient(victim));
    // A client is done when it has heard all of the server's flight.
    let secured_by_then = match victim.role {
        Role::Acceptor => Seen::Ended,
        Role::Opener => Seen::Closed,
    };
    for (stalls, expected) in [
        (nothing as fn(&mut Hostile), Seen::Ended),
        (first_byte, Seen::Ended),
        (most_of_the_first_flight, Seen::Ended),
        (first_flight, secured_by_then),
        (most_of_the_second_flight, secured_by_then),
        (no_greeting, Seen::Closed),
        (most_of_a_greeting, Seen::Closed),
    ] {
        let (error, seen) = patient.repels(|mut hostile| {
            stalls(&mut hostile);
            patient.bystander.keeps_pace();
            hostile.end();
            hostile.hear_end()
        });
        assert_left(&error, expected == Seen::Closed);
        assert_eq!(seen, Seen::Ended);
        let (error, seen) = impatient.repels(|mut hostile| {
            stalls(&mut hostile);
            hostile.hear_end()
        });
        assert_too_slow(&error);
        assert_eq!(seen, expected);
    }
}

/// How many bytes the bystander keeps pace with.
const DRIPS: usize = 16;

/// Drips no more than a few bytes at a victim that waits for ever, goes on with the next when the
/// bystander has kept pace, and leaves. What the victim says.
fn drips_beside(victim: &Victim, begin: fn(&mut Hostile), bytes: &[u8]) -> LinkError {
    let stage = victim.stage();
    let (error, ()) = stage.repels(|mut hostile| {
        begin(&mut hostile);
        for byte in &bytes[..DRIPS] {
            assert!(hostile.say(&[*byte]));
            stage.bystander.keeps_pace();
        }
        hostile.end();
        hostile.hear_end();
    });
    error
}

/// Says one byte after the other as long as the victim takes them.
fn drips(hostile: &mut Hostile, bytes: &[u8]) -> usize {
    for (at, byte) in bytes.iter().enumerate() {
        if !hostile.say(&[*byte]) || !hostile.hears_nothing() {
            return at;
        }
        std::thread::sleep(DRIP);
    }
    bytes.len()
}

/// One byte after the other, each of them in good time: of a record that is as long as a record may
/// be. All of it would take a minute and a half, and the victim would say something else. [PING-6]
pub fn drips_a_record(victim: &Victim) {
    let mut record = vec![0; 5 + 16_384];
    record[..5].copy_from_slice(&[22, 3, 3, 0x40, 0]);
    // ClientHello or ServerHello, of the length that is left.
    let kind = match victim.role {
        Role::Acceptor => 1,
        Role::Opener => 2,
    };
    record[5..9].copy_from_slice(&[kind, 0, 0x3F, 0xFC]);
    let hears_hello = |hostile: &mut Hostile| {
        if hostile.victim() == Role::Opener {
            // What it says is not to be taken for an answer.
            hostile.hear(5);
            while !hostile.hears_nothing() {
                hostile.hear_more();
            }
        }
    };
    assert_left(&drips_beside(victim, hears_hello, &record), false);
    let (error, taken) = impatient(victim).repels(|mut hostile| {
        hears_hello(&mut hostile);
        drips(&mut hostile, &record)
    });
    assert_too_slow(&error);
    assert!(taken < record.len());
}

/// The same within TLS, by the pinned peer, of a greeting as long as a greeting may be: each byte in
/// a record of its own.
pub fn drips_a_greeting(victim: &Victim) {
    let mut greeting = victim.words().to(victim.role);
    greeting[4..8].copy_from_slice(&(MAX_GREETING as u32).to_be_bytes());
    greeting.resize(8 + MAX_GREETING, 0);
    assert_left(&drips_beside(victim, shake, &greeting), true);
    let (error, taken) = impatient(victim).repels(|mut hostile| {
        shake(&mut hostile);
        drips(&mut hostile, &greeting)
    });
    assert_too_slow(&error);
    assert!(taken < greeting.len());
}

/// Is refused, and talks on for ever. A victim that listens on for ever lets the bystander go on
/// meanwhile; one that does not lets go after a time.
pub fn talks_on_when_refused(victim: &Victim) {
    let said = b"GET / HTTP/1.1\r\n\r\n";
    let text = "the peer does not speak TLS, but HTTP; check the address and the port";
    let stage = victim.stage();
    let (error, ()) = stage.repels(|mut hostile| {
        for _ in 0..DRIPS {
            assert!(hostile.throw(said));
            stage.bystander.keeps_pace();
        }
    });
    assert_says(&error, text);
    let terms = victim.terms();
    let stage = victim.stage_with(&terms.patience(|patience| patience.linger = LIMIT));
    let (error, ()) = stage.repels(|mut hostile| {
        // In small pieces, each of which comes in good time.
        while hostile.throw(said) {
            std::thread::sleep(DRIP);
        }
    });
    assert_says(&error, text);
}
