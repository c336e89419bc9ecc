//! What a link tells about itself.

use core::time::Duration;

use countersign_core::{
    ChannelId, Config, LinkState, Loss, Mode, ReceiveChannel, Role, SendChannel,
};

use crate::common::pair::{ACCEPTOR, OPENER, Pair, lasting};

const DATA: ChannelId = ChannelId(0);

#[test]
fn counts_queue_and_window() {
    let sender = Config::new().channel(SendChannel::new("data").in_flight(2));
    let receiver = ReceiveChannel::new("data").window(4, 1000).max_message(100);
    let receiver = Config::new().channel(receiver.manual());
    lasting(&sender, &receiver, |pair| {
        let before = pair.ends[OPENER].status(pair.now);
        assert_eq!(
            (before.role, before.state),
            (Role::Opener, LinkState::Greeting)
        );
        assert_eq!((before.since, before.channels[0].window), (None, 0));
        pair.run();
        let connected = pair.now;
        for _ in 0..3 {
            pair.send(OPENER, DATA, &[7; 100]);
        }
        pair.run();
        let status = pair.ends[OPENER].status(pair.now);
        assert_eq!(
            (status.state, status.since),
            (LinkState::Open, Some(connected))
        );
        let channel = &status.channels[0];
        assert_eq!((channel.name.as_str(), channel.mode), ("data", Mode::Send));
        assert_eq!(
            (channel.messages, channel.waiting, channel.bytes),
            (3, 3, 300)
        );
        assert_eq!((channel.in_flight, channel.window), (2, 800));
        assert_eq!((channel.oldest, channel.age), (Some(Duration::ZERO), None));
        let later = pair.ends[OPENER].status(pair.now + Duration::from_secs(3));
        assert_eq!(later.channels[0].oldest, Some(Duration::from_secs(3)));

        let peer = pair.ends[ACCEPTOR].status(pair.now);
        assert_eq!((peer.role, peer.state), (Role::Acceptor, LinkState::Open));
        assert_eq!(peer.bytes_sent, status.bytes_received);
        assert_eq!(peer.bytes_received, status.bytes_sent);
        assert!(status.bytes_sent > 200);
        let channel = &peer.channels[0];
        assert_eq!(
            (channel.messages, channel.waiting, channel.bytes),
            (2, 2, 200)
        );
        assert_eq!((channel.in_flight, channel.window), (0, 800));
        assert_eq!((channel.oldest, channel.age), (None, None));

        // Taken, and not settled.
        let taken = pair.ends[ACCEPTOR].take(pair.now, DATA).unwrap().unwrap();
        let channel = &pair.ends[ACCEPTOR].status(pair.now).channels[0];
        assert_eq!(
            (channel.messages, channel.waiting, channel.bytes),
            (2, 1, 200)
        );
        pair.ends[ACCEPTOR]
            .handle(pair.now, DATA, taken.sequence)
            .unwrap();
        let channel = &pair.ends[ACCEPTOR].status(pair.now).channels[0];
        assert_eq!(
            (channel.messages, channel.waiting, channel.bytes),
            (2, 1, 100)
        );
    });
}

#[test]
fn since_when_and_how_often() {
    let sender = Config::new().channel(SendChannel::new("data"));
    let receiver = Config::new().channel(ReceiveChannel::new("data"));
    lasting(&sender, &receiver, |pair| {
        pair.run();
        pair.now = pair.now + Duration::from_secs(1);
        pair.cut();
        let lost = pair.now;
        let status = pair.ends[OPENER].status(pair.now);
        assert_eq!(
            (status.state, status.since),
            (LinkState::Offline, Some(lost))
        );
        assert_eq!(status.last_loss, Some(Loss::Transport));
        assert!(status.next_attempt.is_some_and(|next| next >= lost));
        assert_eq!(pair.ends[ACCEPTOR].status(pair.now).next_attempt, None);
        pair.reconnect();
        assert_eq!(
            pair.ends[OPENER].status(pair.now).since,
            Some(lost),
            "not before the greeting"
        );
        pair.run();
        for end in [OPENER, ACCEPTOR] {
            let status = pair.ends[end].status(pair.now);
            assert_eq!(
                (status.state, status.since),
                (LinkState::Open, Some(pair.now))
            );
            assert_eq!((status.connections, status.resumes), (2, 1));
            assert_eq!(status.next_attempt, None);
        }
    });
}

#[test]
fn the_age_of_the_last_message_that_was_taken() {
    let sender = Config::new().channel(SendChannel::new("data"));
    let receiver = Config::new().channel(ReceiveChannel::new("data"));
    lasting(&sender, &receiver, |pair| {
        pair.run();
        let (life, late) = (Duration::from_secs(9), Duration::from_millis(1));
        for life in [Some(life), Some(late), None] {
            let expires = life.map(|life| pair.now + life);
            pair.ends[OPENER]
                .send(pair.now, DATA, vec![7; 10], expires)
                .unwrap();
        }
        pair.run();
        pair.now = pair.now + Duration::from_millis(500);
        let age = |pair: &Pair| pair.ends[ACCEPTOR].status(pair.now).channels[0].age;
        assert_eq!(age(pair), None);
        let taken = pair.ends[ACCEPTOR].take(pair.now, DATA).unwrap().unwrap();
        assert_eq!((taken.sequence, age(pair)), (1, taken.age(pair.now)));
        let known = age(pair).unwrap();
        let half = Duration::from_millis(500);
        assert!(known.at_least <= half && half <= known.at_most, "{known}");
        // One that is late changes nothing, nor does one without times, nor the time.
        let taken = pair.ends[ACCEPTOR].take(pair.now, DATA).unwrap().unwrap();
        pair.now = pair.now + half;
        assert_eq!((taken.sequence, age(pair)), (3, Some(known)));
    });
}
