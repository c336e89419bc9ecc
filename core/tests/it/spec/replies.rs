//! Replies: verdicts with content.

use countersign_core::{
    Bytes, Config, Event, MAX_REPLY, PeerMisbehaved, ReceiveChannel, ReceiveError, Role,
    SendChannel, Verdict,
};

use crate::common::bytes::{Entry, ack, message, noted, reject, reply};
use crate::common::pair::{ACCEPTOR, OPENER, lasting, paired};
use crate::common::peer::{MAIN, Peer, against, against_receiver, against_sender};

const LIMIT: u8 = 3;
const SEQUENCE: u8 = 4;

fn manual() -> Config {
    Config::new().channel(ReceiveChannel::new("main").manual())
}

fn verdict(sequence: u64, reply: &[u8]) -> Event {
    Event::Verdict {
        channel: MAIN,
        sequence,
        verdict: Verdict::Handled(Some(Bytes::copy_from_slice(reply))),
    }
}

fn handled(first: u64, last: u64, count: u64) -> Event {
    Event::Handled {
        channel: MAIN,
        first,
        last,
        count,
    }
}

#[test]
fn a_reply_comes_with_the_verdict() {
    // [REPLY-1] [REPLY-3] [VERDICT-3] [REJECT-2] [REJECT-3]
    against_sender(&Config::default(), |end| {
        for _ in 0..3 {
            end.send(b"?");
        }
        end.say();
        end.takes(&[reply(0, 2, b"yes"), reply(0, 1, b"")].concat());
        assert_eq!(end.events(), [verdict(2, b"yes"), verdict(1, b"")]);
        assert_eq!(end.say(), [noted(0, 2), noted(0, 1)].concat());
        end.takes(&ack(0, 3));
        assert_eq!(end.events(), [handled(1, 3, 1)]);
        assert_eq!(end.link.report()[0].verdicts.to_string(), "3 handled");
    });
}

#[test]
fn a_reply_holds_the_ack_back_until_it_is_noted() {
    // [REJECT-3] [ACK-1]
    against_receiver(&manual(), |end| {
        end.takes(&[message(0, 1, b"a"), message(0, 2, b"b")].concat());
        end.take();
        end.take();
        end.link.handle(end.now, MAIN, 2).expect("taken");
        end.link
            .handle_with(end.now, MAIN, 1, b"done")
            .expect("taken");
        assert_eq!(end.say(), reply(0, 1, b"done"));
        end.takes(&noted(0, 1));
        assert_eq!(end.say(), ack(0, 2));
    });
}

#[test]
fn replies_are_as_long_as_both_ends_allow() {
    // [HELLO-21] [REPLY-2]
    let receiver =
        |most| Config::new().channel(ReceiveChannel::new("main").manual().max_reply(most));
    for (ours, theirs, limit) in [
        (16, 20, 16),
        (20, 16, 16),
        (0, 16, 0),
        (MAX_REPLY, 4096, 4096),
    ] {
        against(Role::Acceptor, &receiver(ours), |end| {
            let mut entry = Entry::send("main");
            entry.max_reply = theirs;
            end.hello(&[entry]);
            end.takes(&message(0, 1, b"a"));
            end.take();
            let too_long = vec![7; limit + 1];
            let refused = end.link.handle_with(end.now, MAIN, 1, &too_long);
            assert_eq!(refused, Err(ReceiveError::ReplyTooLong { limit }));
            // It still waits.
            end.link
                .handle_with(end.now, MAIN, 1, &too_long[1..])
                .expect("fits");
            assert_eq!(end.say(), reply(0, 1, &too_long[1..]));
            let again = end.link.handle_with(end.now, MAIN, 1, b"");
            assert_eq!(again, Err(ReceiveError::NotWaiting));
        });
    }
    let sender = Config::new().channel(SendChannel::new("main").max_reply(16));
    for (theirs, limit) in [(20, 16), (9, 9)] {
        let begun = |end: &mut Peer| {
            let mut entry = Entry::receive("main");
            entry.max_reply = theirs;
            end.welcome(&[entry]);
            end.send(b"?");
            end.say();
        };
        against(Role::Opener, &sender, |end| {
            begun(end);
            end.takes(&reply(0, 1, &vec![7; limit]));
        });
        against(Role::Opener, &sender, |end| {
            begun(end);
            let length = limit + 1;
            let accused = PeerMisbehaved::ReplyTooLong { length, limit };
            end.refuses(&reply(0, 1, &vec![7; length]), accused, LIMIT);
        });
    }
    assert!(receiver(MAX_REPLY).check().is_ok());
    assert!(receiver(MAX_REPLY + 1).check().is_err());
}

#[test]
fn a_reply_to_nothing_is_a_violation() {
    // [REJECT-4]
    against_sender(&Config::default(), |end| {
        end.send(b"?");
        end.refuses(
            &reply(0, 1, b"too soon"),
            PeerMisbehaved::NothingToSettle,
            SEQUENCE,
        );
    });
}

#[test]
fn the_first_answer_counts() {
    // [REJECT-5] [VERDICT-1]
    against_sender(&Config::default(), |end| {
        end.send(b"?");
        end.say();
        end.takes(&reply(0, 1, b"yes"));
        end.takes(&reply(0, 1, b"no"));
        end.takes(&reject(0, 1, 5, "never"));
        assert_eq!(end.events(), [verdict(1, b"yes")]);
        assert_eq!(end.say(), noted(0, 1), "one note for all");
    });
}

#[test]
fn replies_rejections_and_plain_verdicts_in_one_window_survive_cuts_in_every_order() {
    // [REJECT-5] [RESUME-8] [RESUME-13] [VERDICT-1] [VERDICT-6]
    let ways = [0, 1, 2];
    let orders = [
        [1, 2, 3],
        [1, 3, 2],
        [2, 1, 3],
        [2, 3, 1],
        [3, 1, 2],
        [3, 2, 1],
    ];
    for kinds in ways
        .iter()
        .flat_map(|a| ways.map(|b| ways.map(|c| [*a, b, c])))
        .flatten()
    {
        for order in orders {
            for cut_after in 0..3 {
                lasting(&Config::default(), &manual(), |pair| {
                    pair.run();
                    for _ in 0..3 {
                        pair.send(OPENER, MAIN, b"?");
                    }
                    pair.run();
                    while let Ok(Some(_)) = pair.ends[ACCEPTOR].take(pair.now, MAIN) {}
                    for (at, number) in order.into_iter().enumerate() {
                        let kind = kinds[usize::try_from(number - 1).expect("few")];
                        let (link, now) = (&mut pair.ends[ACCEPTOR], pair.now);
                        let done = match kind {
                            0 => link.handle(now, MAIN, number),
                            1 => link.handle_with(now, MAIN, number, b"reply"),
                            _ => link.reject(now, MAIN, number, 7, "no"),
                        };
                        done.expect("taken");
                        if at == cut_after {
                            pair.lose_output(ACCEPTOR);
                            pair.cut();
                            pair.reconnect();
                        }
                    }
                    pair.run();
                    // NOTED is lost too.
                    pair.lose_output(OPENER);
                    pair.cut();
                    pair.reconnect();
                    pair.run();
                    let of = |kind| kinds.iter().filter(|at| **at == kind).count() as u64;
                    let report = pair.ends[OPENER].report();
                    assert_eq!(report[0].verdicts.total(), 3);
                    let handled = report[0].verdicts[countersign_core::VerdictKind::Handled];
                    assert_eq!(handled, of(0) + of(1));
                    let mut replies = 0;
                    for event in &pair.events[OPENER] {
                        if let Event::Verdict { verdict, .. } = event {
                            replies += u64::from(verdict.reply().is_some());
                        }
                    }
                    assert_eq!(replies, of(1));
                });
            }
        }
    }
}

#[test]
fn a_close_waits_for_replies() {
    // [CLOSE-7]
    paired(&Config::default(), &manual(), |pair| {
        pair.run();
        pair.send(OPENER, MAIN, b"?");
        pair.run();
        let taken = pair.ends[ACCEPTOR].take(pair.now, MAIN);
        assert!(taken.expect("receive mode").is_some());
        pair.ends[OPENER].close(pair.now, countersign_core::CloseMode::Drain);
        pair.run();
        let (link, now) = (&mut pair.ends[ACCEPTOR], pair.now);
        link.handle_with(now, MAIN, 1, b"at last").expect("taken");
        pair.run();
        assert!(pair.events[OPENER].contains(&verdict(1, b"at last")));
        assert!(
            pair.ends[OPENER]
                .end_reason()
                .is_some_and(countersign_core::EndReason::is_closed)
        );
    });
}
