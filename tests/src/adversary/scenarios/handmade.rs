//! Pinned attackers with TLS records that no library would send.

use countersign_core::wire::FrameType;
use countersign_core::{EndReason, Loss};
use countersign_endpoint::Reason;
use rustls::ContentType;

use super::{assert_says, greet, number, security};
use crate::adversary::{Hostile, Victim, message};

scenarios! {
    EITHER_END {
        empty_records,
        goes_on_after_close_notify,
    }
}

/// Empty records. rustls accepts this many in a row.
const IN_A_ROW: usize = 32;
/// How many there are together.
const MANY: usize = 100_000;
const CLOSE_NOTIFY: [u8; 2] = [1, 0];

/// Empty records, as many in a row as allowed, followed by a record with a ping, many times over:
/// the link still works, and no other is held up. With one more in a row it ends.
fn empty_records(victim: &Victim) {
    let victim = &victim.receiving();
    let stage = victim.stage();
    let attack = |mut hostile: Hostile| {
        greet(&mut hostile, victim);
        let mut hostile = hostile.by_hand();
        let ping = number(FrameType::Ping, 0, 1);
        for round in 0..MANY / IN_A_ROW {
            let mut said = Vec::new();
            for _ in 0..IN_A_ROW {
                said.extend(hostile.data(b""));
            }
            said.extend(hostile.data(&ping));
            assert!(hostile.throw(&said));
            if round % 500 == 250 {
                stage.bystander.keeps_pace();
            }
        }
        let said = hostile.data(&message(1, b"still good"));
        assert!(hostile.throw(&said));
        let ack = number(FrameType::Ack, 0, 1);
        loop {
            let (kind, data) = hostile.receive().expect("an answer");
            assert_eq!(kind, ContentType::ApplicationData);
            // Beside answers to pings.
            if data.windows(ack.len()).any(|frame| frame == ack) {
                break;
            }
        }
        stage.bystander.keeps_pace();
        for _ in 0..=IN_A_ROW {
            let said = hostile.data(b"");
            hostile.throw(&said);
        }
        // At most the last answer, and no alert.
        while let Some((kind, _)) = hostile.receive() {
            assert_eq!(kind, ContentType::ApplicationData);
        }
    };
    let ((), error) = stage.meet(attack, |link| {
        let link = link.expect("the link was up");
        let mut receiver = link.receiver("data").unwrap();
        assert_eq!(receiver.take(), "still good");
        link.ended().end.expect("why it ended")
    });
    assert_eq!(security(&error), &Reason::PeerMisbehaved);
    let text = "the peer broke the rules of TLS; check the address, and update its TLS library";
    assert_says(&error, text);
    stage.bystander.keeps_pace();
}

/// Sends close_notify, then messages in valid records, and then invalid bytes for as long as they
/// are taken: the end counts, the rest is ignored, and the victim does not wait for more (RFC 8446,
/// section 6.1). [CLOSE-13]
fn goes_on_after_close_notify(victim: &Victim) {
    let victim = &victim.receiving();
    let stage = victim.stage();
    let attack = |mut hostile: Hostile| {
        greet(&mut hostile, victim);
        let mut hostile = hostile.by_hand();
        let mut said = hostile.data(&message(1, b"before"));
        said.extend(hostile.record(ContentType::Alert, &CLOSE_NOTIFY));
        for number in 2..=100 {
            said.extend(hostile.data(&message(number, b"after")));
        }
        assert!(hostile.throw(&said));
        while hostile.throw(&[0x55; 16 * 1024]) {}
        let mut last = None;
        while let Some(heard) = hostile.receive() {
            last = Some(heard);
        }
        last.expect("a last word")
    };
    let (last, error) = stage.meet(attack, |link| {
        let link = link.expect("the link was up");
        let mut receiver = link.receiver("data").unwrap();
        assert_eq!(receiver.take(), "before");
        let error = receiver.recv().expect_err("nothing after it");
        error.link().expect("the end").clone()
    });
    assert_eq!(last, (ContentType::Alert, CLOSE_NOTIFY.to_vec()));
    assert_eq!(*error.reason(), EndReason::Lost(Loss::PeerLeft), "{error}");
    stage.bystander.keeps_pace();
}
