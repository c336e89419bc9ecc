//! Attackers that take their time.

use std::time::Duration;

use countersign_core::wire::MAX_GREETING;
use countersign_core::{EndReason, Loss, Role};
use countersign_driver::LinkError;
use countersign_endpoint::Reason;

use super::{assert_says, security};
use crate::adversary::{CAST, Disguise, Hostile, Seen, Stage, Victim, Words, records};

scenarios! {
    EITHER_END {
        stalls_after_each_flight,
        drips_a_record,
        drips_a_greeting,
        talks_on_when_refused,
    }
}

/// How long the victim waits. Between two bytes of an attacker passes much less.
const LIMIT: Duration = Duration::from_millis(500);
/// Between two bytes of an attacker.
const DRIP: Duration = Duration::from_millis(5);

/// A victim that gives handshakes little time.
fn impatient(victim: &Victim) -> Stage {
    let terms = victim.terms();
    victim.stage_with(&terms.timeouts(|timeouts| timeouts.handshake = LIMIT))
}

fn assert_too_slow(error: &LinkError) {
    let expected = EndReason::Lost(Loss::HandshakeTooSlow);
    assert_eq!(*error.reason(), expected, "{error}");
    assert_says(
        error,
        "the connection was lost: the handshake took too long; one end must open the connection \
         and the other accept it, and both must agree on TLS or plain text and on the dialect",
    );
    assert!(error.can_retry());
}

/// Goes as far as it means to; false when the victim has ended it before.
type Begin = fn(&mut Hostile) -> bool;

/// Returns what an attacker sees of a victim that gives handshakes little time, once the attacker
/// has begun. On a busy machine that time may be over before; then the attacker tries again.
fn outlasted<A: Send>(stage: &Stage, begin: Begin, attack: impl Fn(&mut Hostile) -> A + Sync) -> A {
    loop {
        let (error, seen) = stage.repels(|mut hostile| {
            let begun = begin(&mut hostile);
            begun.then(|| attack(&mut hostile))
        });
        if let Some(seen) = seen {
            assert_too_slow(&error);
            return seen;
        }
        assert!(error.can_retry(), "{error}");
    }
}

/// The attacker's part of TLS as far as it goes by itself: what it would say next, record by
/// record. Nothing when the victim has ended it before.
fn next_records(hostile: &mut Hostile) -> Vec<Vec<u8>> {
    if hostile.victim() == Role::Opener {
        while hostile.is_handshaking() && !hostile.tls().wants_write() {
            if !hostile.receive_more() {
                return Vec::new();
            }
        }
    }
    let flight = hostile.flight();
    records(&flight).into_iter().map(<[u8]>::to_vec).collect()
}

/// Says nothing.
fn nothing(hostile: &mut Hostile) -> bool {
    receives_hello(hostile)
}

/// Begins a record.
fn first_byte(hostile: &mut Hostile) -> bool {
    receives_hello(hostile) && hostile.throw(&[22])
}

/// The first flight without its last record: a client's has only one, so nothing is sent.
fn most_of_the_first_flight(hostile: &mut Hostile) -> bool {
    hostile.disguise(Disguise::of(&CAST.peer));
    let mut records = next_records(hostile);
    let Some(last) = records.pop() else {
        return false;
    };
    records.push(last[..last.len() - 1].to_vec());
    hostile.throw(&records.concat())
}

/// The first flight, and then not a word.
fn first_flight(hostile: &mut Hostile) -> bool {
    hostile.disguise(Disguise::of(&CAST.peer));
    let records = next_records(hostile);
    !records.is_empty() && hostile.throw(&records.concat())
}

/// The client's second flight but for its last record.
fn most_of_the_second_flight(hostile: &mut Hostile) -> bool {
    if !first_flight(hostile) {
        return false;
    }
    if hostile.victim() == Role::Opener {
        return true;
    }
    while hostile.is_handshaking() {
        if !hostile.receive_more() {
            return false;
        }
    }
    let mut records = next_records(hostile);
    records.pop();
    hostile.throw(&records.concat())
}

/// All of TLS, and no greeting.
fn no_greeting(hostile: &mut Hostile) -> bool {
    hostile.shake(Disguise::of(&CAST.peer)).is_ok()
}

/// All but the last byte of a greeting.
fn most_of_a_greeting(hostile: &mut Hostile) -> bool {
    let greeting = Words::default().to(hostile.victim());
    no_greeting(hostile) && hostile.say(&greeting[..greeting.len() - 1])
}

/// Has received a client's first bytes: the client knows that it is connected, and takes nothing
/// that follows for an answer to anything else.
fn receives_hello(hostile: &mut Hostile) -> bool {
    if hostile.victim() == Role::Acceptor {
        return true;
    }
    let heard = hostile.receive(5).is_some();
    while heard && !hostile.receives_nothing() {
        if !hostile.receive_more() {
            return false;
        }
    }
    heard
}

/// All of TLS, and the client's greeting.
fn receives_greeting(hostile: &mut Hostile) -> bool {
    no_greeting(hostile)
        && (hostile.victim() == Role::Acceptor || hostile.receive_frame().is_some())
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

/// A stall after each flight. A victim that waits for ever lets the bystander go on meanwhile. One
/// that does not runs out of time for all flights together, reports it, and ends the connection: in
/// order, if TLS is done by then. [PING-6]
fn stalls_after_each_flight(victim: &Victim) {
    // A client is done when it has heard all of the server's flight.
    let secured_by_then = match victim.role {
        Role::Acceptor => Seen::Ended,
        Role::Opener => Seen::Closed,
    };
    let all = [
        (nothing as Begin, Seen::Ended),
        (first_byte, Seen::Ended),
        (most_of_the_first_flight, Seen::Ended),
        (first_flight, secured_by_then),
        (most_of_the_second_flight, secured_by_then),
        (no_greeting, Seen::Closed),
        (most_of_a_greeting, Seen::Closed),
    ];
    let patient = victim.stage();
    for (stalls, expected) in all {
        let (error, seen) = patient.repels(|mut hostile| {
            assert!(stalls(&mut hostile));
            patient.bystander.keeps_pace();
            hostile.end();
            hostile.receive_end()
        });
        assert_left(&error, expected == Seen::Closed);
        assert_eq!(seen, Seen::Ended);
    }
    // Its bystander takes time that others lack.
    drop(patient);
    let impatient = impatient(victim);
    for (stalls, expected) in all {
        let seen = outlasted(&impatient, stalls, Hostile::receive_end);
        assert_eq!(seen, expected);
    }
}

/// How many bytes the bystander keeps pace with.
const DRIPS: usize = 16;

/// Drips no more than a few bytes at a victim that waits for ever, goes on with the next when the
/// bystander has kept pace, and leaves. What the victim says.
fn drips_beside(victim: &Victim, begin: Begin, bytes: &[u8]) -> LinkError {
    let stage = victim.stage();
    let (error, ()) = stage.repels(|mut hostile| {
        assert!(begin(&mut hostile));
        for byte in &bytes[..DRIPS] {
            assert!(hostile.say(&[*byte]));
            stage.bystander.keeps_pace();
        }
        hostile.end();
        hostile.receive_end();
    });
    error
}

/// Says one byte after the other as long as the victim takes them.
fn drips(hostile: &mut Hostile, bytes: &[u8]) -> usize {
    for (at, byte) in bytes.iter().enumerate() {
        if !hostile.say(&[*byte]) || !hostile.receives_nothing() {
            return at;
        }
        std::thread::sleep(DRIP);
    }
    bytes.len()
}

/// One byte at a time, each of them in good time, of a record that is as long as a record may be.
/// All of it would take a minute and a half, and the victim would report something else. [PING-6]
fn drips_a_record(victim: &Victim) {
    let mut record = vec![0; 5 + 16_384];
    record[..5].copy_from_slice(&[22, 3, 3, 0x40, 0]);
    // ClientHello or ServerHello, with the length that remains.
    let kind = match victim.role {
        Role::Acceptor => 1,
        Role::Opener => 2,
    };
    record[5..9].copy_from_slice(&[kind, 0, 0x3F, 0xFC]);
    assert_left(&drips_beside(victim, receives_hello, &record), false);
    let stage = impatient(victim);
    let taken = outlasted(&stage, receives_hello, |hostile| drips(hostile, &record));
    assert!(taken < record.len());
}

/// The same within TLS, by the pinned peer, with a greeting as long as a greeting may be: each byte
/// in a separate record.
fn drips_a_greeting(victim: &Victim) {
    let mut greeting = victim.words().to(victim.role);
    greeting[4..8].copy_from_slice(&(MAX_GREETING as u32).to_be_bytes());
    greeting.resize(8 + MAX_GREETING, 0);
    assert_left(&drips_beside(victim, receives_greeting, &greeting), true);
    let stage = impatient(victim);
    let taken = outlasted(&stage, receives_greeting, |hostile| {
        drips(hostile, &greeting)
    });
    assert!(taken < greeting.len());
}

/// Is refused, and keeps sending for ever. A victim that listens for ever lets the bystander go on
/// meanwhile; one that does not drops the connection after a time.
fn talks_on_when_refused(victim: &Victim) {
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
    drop(stage);
    let terms = victim.terms();
    let stage = victim.stage_with(&terms.timeouts(|timeouts| timeouts.linger = LIMIT));
    let (error, ()) = stage.repels(|mut hostile| {
        // In small pieces, each of which comes in good time.
        while hostile.throw(said) {
            std::thread::sleep(DRIP);
        }
    });
    assert_says(&error, text);
}
