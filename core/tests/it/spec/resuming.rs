//! Resuming a session (`docs/protocol.md`, Sessions).

use core::time::Duration;

use countersign_core::{
    ChannelId, CloseMode, Config, Event, LinkState, Loss, ReceiveChannel, SendChannel, VerdictKind,
};

use crate::common::pair::{ACCEPTOR, OPENER, Pair, lasting};
use crate::common::peer::MAIN;

fn sender() -> Config {
    Config::new().channel(SendChannel::new("main"))
}

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

#[test]
fn what_was_lost_goes_out_again_and_nothing_else() {
    // [RESUME-1] [RESUME-2] [RESUME-8] [RESUME-9] [RESUME-12] [RESUME-15]
    lasting(&sender(), &receiver(), |pair| {
        pair.send(OPENER, MAIN, b"handled");
        pair.run();
        assert_eq!(pair.take_all(ACCEPTOR, MAIN), [b"handled"]);
        pair.run();
        pair.send(OPENER, MAIN, b"arrived");
        pair.run();
        pair.send(OPENER, MAIN, b"lost");
        pair.lose_output(OPENER);
        pair.cut();
        assert_eq!(pair.lives(), [LinkState::Offline; 2]);
        pair.send(OPENER, MAIN, b"new");
        pair.reconnect();
        pair.run();
        let taken = pair.take_all(ACCEPTOR, MAIN);
        assert_eq!(taken, [&b"arrived"[..], b"lost", b"new"]);
        pair.run();
        let report = &pair.ends[OPENER].report()[0];
        assert_eq!(report.verdicts[VerdictKind::Handled], 4);
        assert_eq!(report.replayed, 1);
        assert_eq!(
            pair.ends.each_ref().map(countersign_core::Link::resumes),
            [1, 1]
        );
        let link =
            |event: &&Event| matches!(event, Event::Connected | Event::Lost(_) | Event::Resumed);
        for events in &pair.events {
            let told: Vec<_> = events.iter().filter(link).cloned().collect();
            let lost = Event::Lost(Loss::Transport);
            assert_eq!(told, [Event::Connected, lost, Event::Resumed]);
        }
    });
}

const BACK: ChannelId = ChannelId(1);

/// One channel each way at each end.
fn both() -> [Config; 2] {
    let opener = sender().channel(ReceiveChannel::new("back"));
    [opener, receiver().channel(SendChannel::new("back"))]
}

/// How many messages of a channel got a verdict.
fn count(pair: &Pair, end: usize, kind: VerdictKind) -> u64 {
    let channels = pair.ends[end].report();
    channels.iter().map(|channel| channel.verdicts[kind]).sum()
}

#[test]
fn any_number_of_resumes_with_nothing_to_say() {
    // [RESUME-16] [RESUME-17]
    lasting(&sender(), &receiver(), |pair| {
        pair.run();
        let session = pair.ends[OPENER].session();
        for times in 1..=50 {
            pair.cut();
            pair.reconnect();
            pair.run();
            assert_eq!(pair.lives(), [LinkState::Open; 2]);
            for end in &pair.ends {
                assert_eq!((end.resumes(), end.session()), (times, session));
            }
        }
        assert_eq!(pair.send(OPENER, MAIN, b"at last"), 1);
        pair.run();
        assert_eq!(pair.take_all(ACCEPTOR, MAIN), [b"at last"]);
    });
    // Also with greetings that get lost, on either side.
    for lost in [OPENER, ACCEPTOR] {
        lasting(&sender(), &receiver(), |pair| {
            pair.run();
            for number in 1..=50_u8 {
                pair.send(OPENER, MAIN, &[number]);
                pair.cut();
                pair.reconnect();
                if lost == ACCEPTOR {
                    pair.one_way(OPENER);
                }
                pair.lose_output(lost);
            }
            pair.cut();
            pair.reconnect();
            pair.run();
            let expected: Vec<Vec<u8>> = (1..=50).map(|number| vec![number]).collect();
            assert_eq!(pair.take_all(ACCEPTOR, MAIN), expected);
        });
    }
}

#[test]
fn numbers_go_on_in_a_session() {
    // [RESUME-15] [RESUME-12] Both ways, with every kind of loss.
    let [opener, acceptor] = both();
    lasting(&opener, &acceptor, |pair| {
        pair.run();
        let mut sent: Vec<Vec<u8>> = Vec::new();
        let mut taken = [Vec::new(), Vec::new()];
        for number in 1..=40_u8 {
            if number % 7 != 0 {
                // Else the greetings are under way when messages are accepted.
                pair.one_way(OPENER);
                pair.one_way(ACCEPTOR);
            }
            sent.push(vec![number]);
            assert_eq!(pair.send(OPENER, MAIN, &[number]), number.into());
            assert_eq!(pair.send(ACCEPTOR, BACK, &[number]), number.into());
            match number % 4 {
                0 => pair.run(),
                1 => pair.one_way(OPENER),
                2 => pair.one_way(ACCEPTOR),
                _ => pair.lose_output(OPENER),
            }
            taken[0].extend(pair.take_all(ACCEPTOR, MAIN));
            taken[1].extend(pair.take_all(OPENER, BACK));
            // The answers to what was taken are lost.
            pair.lose_output(usize::from(number % 3 == 0));
            if number % 5 == 0 {
                pair.come_back();
            } else {
                pair.cut();
                pair.reconnect();
            }
        }
        for _ in 0..2 {
            pair.run();
            taken[0].extend(pair.take_all(ACCEPTOR, MAIN));
            taken[1].extend(pair.take_all(OPENER, BACK));
        }
        pair.run();
        assert_eq!(taken, [sent.clone(), sent]);
        for end in [OPENER, ACCEPTOR] {
            assert_eq!(count(pair, end, VerdictKind::Handled), 40);
            assert!(pair.ends[end].resumes() > 30);
        }
    });
}

#[test]
fn a_long_message_goes_on_at_every_byte() {
    // [RESUME-10] [RESUME-9]
    let payload: Vec<u8> = (0..=255).cycle().take(1300).collect();
    let opener = sender().frame_limit(512);
    for most in (1..1500).step_by(7) {
        lasting(&opener, &receiver(), |pair| {
            pair.run();
            pair.send(OPENER, MAIN, &payload);
            pair.at_most(OPENER, most);
            pair.cut();
            pair.reconnect();
            pair.run();
            assert_eq!(pair.take_all(ACCEPTOR, MAIN), [&payload[..]]);
            pair.run();
            assert_eq!(count(pair, OPENER, VerdictKind::Handled), 1);
        });
    }
    // Cut again and again, it arrives, and nothing of it travels twice.
    lasting(&opener, &receiver(), |pair| {
        pair.run();
        pair.send(OPENER, MAIN, &payload);
        let mut moved = 0;
        for _ in 0..100 {
            if pair.ends[ACCEPTOR].waiting(MAIN) > 0 {
                break;
            }
            pair.one_way(OPENER);
            pair.one_way(ACCEPTOR);
            moved += pair.at_most(OPENER, 150);
            pair.cut();
            pair.reconnect();
        }
        assert_eq!(pair.take_all(ACCEPTOR, MAIN), [&payload[..]]);
        // A head of 12 or 20 bytes for each of them.
        assert!(moved <= 1300 + 20 * 10, "{moved}");
    });
}

#[test]
fn lost_answers_are_made_up_for() {
    // [RESUME-8] [RESUME-13] An ACK, a REJECT and a NOTED.
    let manual = Config::new().channel(ReceiveChannel::new("main").manual());
    lasting(&sender(), &manual, |pair| {
        for payload in [b"1", b"2", b"3"] {
            pair.send(OPENER, MAIN, payload);
        }
        pair.run();
        assert_eq!(pair.take_all(ACCEPTOR, MAIN).len(), 3);
        pair.ends[ACCEPTOR]
            .handle(pair.now, MAIN, 1)
            .expect("it waits");
        pair.lose_output(ACCEPTOR);
        pair.cut();
        pair.reconnect();
        pair.run();
        assert_eq!(count(pair, OPENER, VerdictKind::Handled), 1);
        let reject = |pair: &mut Pair| pair.ends[ACCEPTOR].reject(pair.now, MAIN, 2, 9, "no");
        reject(pair).expect("it waits");
        pair.lose_output(ACCEPTOR);
        pair.cut();
        pair.reconnect();
        pair.one_way(OPENER);
        pair.one_way(ACCEPTOR);
        assert_eq!(count(pair, OPENER, VerdictKind::Rejected), 1);
        // The NOTED is lost, and everything behind it stays where it is.
        pair.lose_output(OPENER);
        pair.ends[ACCEPTOR]
            .handle(pair.now, MAIN, 3)
            .expect("it waits");
        pair.cut();
        pair.reconnect();
        pair.run();
        assert!(reject(pair).is_err());
        let verdicts = pair.ends[OPENER].report()[0].verdicts;
        assert_eq!(verdicts[VerdictKind::Handled], 2);
        assert_eq!(verdicts[VerdictKind::Rejected], 1);
        let told = pair.events[OPENER].iter();
        let told = told.filter(|event| matches!(event, Event::Verdict { .. }));
        assert_eq!(told.count(), 1);
    });
}

#[test]
fn a_window_that_is_full_stays_full() {
    // [RESUME-14] In messages and in bytes, to the last one.
    for (messages, bytes) in [(4, 99), (99, 40)] {
        let channel = ReceiveChannel::new("main").max_message(10);
        let receiver = Config::new().channel(channel.window(messages, bytes));
        lasting(&sender(), &receiver, |pair| {
            pair.run();
            for number in 1..=6 {
                pair.send(OPENER, MAIN, &[number; 10]);
            }
            pair.run();
            for _ in 0..5 {
                assert_eq!(pair.ends[ACCEPTOR].waiting(MAIN), 4);
                pair.cut();
                pair.reconnect();
                pair.run();
            }
            // What is taken without a connection makes room on the next.
            pair.cut();
            assert!(
                pair.ends[ACCEPTOR]
                    .take(pair.now, MAIN)
                    .expect("receives")
                    .is_some()
            );
            pair.reconnect();
            pair.run();
            assert_eq!(pair.ends[ACCEPTOR].waiting(MAIN), 4);
            while !pair.take_all(ACCEPTOR, MAIN).is_empty() {
                pair.run();
            }
            assert_eq!(count(pair, OPENER, VerdictKind::Handled), 6);
        });
    }
}

#[test]
fn what_was_not_received_is_again_not_begun() {
    // [RESUME-18] [MODE-1] A Latest sender keeps the newest of it,
    let latest = Config::new().channel(SendChannel::new("main").latest());
    lasting(&latest, &receiver(), |pair| {
        pair.run();
        pair.send(OPENER, MAIN, b"1");
        pair.run();
        pair.send(OPENER, MAIN, b"2");
        pair.lose_output(OPENER);
        pair.send(OPENER, MAIN, b"3");
        pair.cut();
        pair.send(OPENER, MAIN, b"4");
        pair.reconnect();
        pair.run();
        assert_eq!(pair.take_all(ACCEPTOR, MAIN), [b"1", b"4"]);
        pair.run();
        assert_eq!(count(pair, OPENER, VerdictKind::Superseded), 2);
        assert_eq!(count(pair, OPENER, VerdictKind::Handled), 2);
        assert_eq!(pair.ends[OPENER].report()[0].replayed, 0);
    });
    // [MODE-3] what has expired meanwhile is dropped,
    lasting(&sender(), &receiver(), |pair| {
        pair.run();
        let soon = pair.now + Duration::from_millis(1);
        for (payload, expires) in [(b"1", Some(soon)), (b"2", None), (b"3", Some(soon))] {
            let sent = pair.ends[OPENER].send(pair.now, MAIN, &payload[..], expires);
            sent.expect("accepted");
        }
        // The first arrives in time, the third is only on its way.
        pair.at_most(OPENER, 32 + 29 + 13);
        pair.cut();
        assert_eq!(pair.take_all(ACCEPTOR, MAIN), [b"1", b"2"]);
        pair.pass(Duration::from_millis(1));
        while pair.ends[OPENER].state() != LinkState::Offline {
            pair.cut();
        }
        assert_eq!(count(pair, OPENER, VerdictKind::Expired), 0);
        pair.reconnect();
        pair.run();
        pair.run();
        assert_eq!(count(pair, OPENER, VerdictKind::Expired), 1);
        assert_eq!(count(pair, OPENER, VerdictKind::Handled), 2);
    });
    // [CLOSE-2] and a close may withdraw it.
    lasting(&sender(), &receiver(), |pair| {
        pair.run();
        pair.send(OPENER, MAIN, b"1");
        pair.lose_output(OPENER);
        pair.cut();
        pair.ends[ACCEPTOR].close(pair.now, CloseMode::Drain);
        pair.reconnect();
        pair.one_way(OPENER);
        pair.one_way(ACCEPTOR);
        let verdict = pair.ends[OPENER].report()[0].verdicts;
        assert_eq!(verdict[VerdictKind::Withdrawn], 1);
        pair.run();
        assert!(
            pair.lives().contains(&LinkState::Ended),
            "{:?}",
            pair.lives()
        );
    });
}

#[test]
fn channels_resume_side_by_side() {
    // [RESUME-12] What is resent goes before what is new on its own channel, and channels keep
    // their order.
    let opener = Config::new()
        .channel(SendChannel::new("urgent"))
        .channel(SendChannel::new("bulk"));
    let acceptor = Config::new()
        .channel(ReceiveChannel::new("bulk"))
        .channel(ReceiveChannel::new("urgent"));
    lasting(&opener, &acceptor, |pair| {
        pair.run();
        pair.send(OPENER, BACK, b"bulk 1");
        pair.lose_output(OPENER);
        pair.cut();
        pair.send(OPENER, MAIN, b"urgent 1");
        pair.send(OPENER, BACK, b"bulk 2");
        pair.reconnect();
        pair.one_way(OPENER);
        pair.one_way(ACCEPTOR);
        // One message of each head and payload.
        pair.at_most(OPENER, 12 + 8);
        let waiting = |pair: &Pair| [MAIN, BACK].map(|id| pair.ends[ACCEPTOR].waiting(id));
        assert_eq!(waiting(pair), [0, 1]);
        pair.cut();
        pair.reconnect();
        pair.run();
        assert_eq!(waiting(pair), [2, 1]);
        assert_eq!(pair.take_all(ACCEPTOR, MAIN), [b"bulk 1", b"bulk 2"]);
    });
}

#[test]
fn a_connection_that_looks_alive_is_taken_over() {
    // [RESUME-3] Only the opener knows that it is gone.
    lasting(&sender(), &receiver(), |pair| {
        pair.run();
        for number in 1..=10_u8 {
            pair.send(OPENER, MAIN, &[number]);
            if number % 2 == 0 {
                pair.lose_output(OPENER);
            }
            pair.come_back();
            assert_eq!(pair.ends[ACCEPTOR].connection(), u64::from(number) + 1);
        }
        pair.run();
        let expected: Vec<Vec<u8>> = (1..=10).map(|number| vec![number]).collect();
        assert_eq!(pair.take_all(ACCEPTOR, MAIN), expected);
        let lost = Event::Lost(Loss::Replaced);
        assert!(pair.events[ACCEPTOR].contains(&lost));
    });
}

#[test]
fn events_that_nobody_polls_do_not_pile_up() {
    // [VERDICT-6]
    let [opener, acceptor] = both();
    lasting(&opener, &acceptor, |pair| {
        for number in 1..=100_u8 {
            pair.send(OPENER, MAIN, &[number]);
            pair.send(ACCEPTOR, BACK, &[number]);
            for end in [OPENER, ACCEPTOR, OPENER, ACCEPTOR] {
                pair.one_way(end);
            }
            pair.take_all(ACCEPTOR, MAIN);
            pair.take_all(OPENER, BACK);
            for end in [OPENER, ACCEPTOR] {
                pair.one_way(end);
            }
            pair.cut();
            if number % 10 == 0 {
                pair.restart_acceptor();
            }
            pair.reconnect();
        }
        pair.run();
        let verdict = |event: &&Event| matches!(event, Event::Verdict { .. });
        for (end, events) in pair.events.iter().enumerate() {
            let verdicts = events.iter().filter(verdict).count();
            let others = events.len() - verdicts;
            assert!(others <= 7, "{events:?}");
            // Those have their bound in the queue that the messages were in.
            let handled = count(pair, end, VerdictKind::Handled);
            let lost = if end == OPENER { 100 - handled } else { 0 };
            assert_eq!(u64::try_from(verdicts), Ok(lost));
        }
        // Only the newest of each kind counts.
        let link = |event: &&Event| matches!(event, Event::Lost(_) | Event::Resumed);
        let told: Vec<&Event> = pair.events[OPENER].iter().filter(link).collect();
        assert_eq!(told, [&Event::Resumed, &Event::Lost(Loss::Transport)]);
    });
}

#[test]
fn drivers_that_sleep_to_the_deadline_never_stall() {
    // [RESUME-16] [MODE-3] A driver that sleeps exactly until the next deadline misses nothing.
    let latest = Config::new()
        .channel(SendChannel::new("main"))
        .channel(SendChannel::new("back").latest());
    let manual = Config::new()
        .channel(ReceiveChannel::new("main").manual())
        .channel(ReceiveChannel::new("back").lease(Duration::from_millis(300)));
    lasting(&latest, &manual, |pair| {
        pair.run();
        let mut handled = 0;
        for round in 1..=60_u64 {
            let soon = pair.now + Duration::from_millis(round);
            let sent = pair.ends[OPENER].send(pair.now, BACK, &b"x"[..], Some(soon));
            sent.expect("accepted");
            pair.send(OPENER, MAIN, b"y");
            if round % 3 == 0 {
                pair.lose_output(OPENER);
            }
            pair.run();
            while let Ok(Some(message)) = pair.ends[ACCEPTOR].take(pair.now, MAIN) {
                handled += 1;
                let done = pair.ends[ACCEPTOR].handle(pair.now, MAIN, message.sequence);
                done.expect("it waits");
            }
            pair.cut();
            let mut sleeps = 0;
            while !pair.ends[OPENER].wants_connect() {
                assert!(pair.sleep(), "nothing to wait for");
                sleeps += 1;
                assert!(sleeps < 10, "no deadline stays");
            }
            pair.reconnect();
            pair.run();
        }
        while let Ok(Some(message)) = pair.ends[ACCEPTOR].take(pair.now, MAIN) {
            handled += 1;
            let done = pair.ends[ACCEPTOR].handle(pair.now, MAIN, message.sequence);
            done.expect("it waits");
        }
        pair.take_all(ACCEPTOR, BACK);
        pair.pass(Duration::from_secs(1));
        assert_eq!(handled, 60);
        for channel in pair.ends[OPENER].report() {
            assert_eq!(channel.verdicts.total(), 60, "{}", channel.name);
        }
    });
}
