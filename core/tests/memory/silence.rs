//! A link that was busy frees its memory when it falls silent, whichever end is the first to ask
//! whether the other is still connected.

use crate::{MEMORY, turn};
use countersign_core::{
    Bytes, ChannelId, Config, Instant, Link, Output, ReceiveChannel, Role, SendChannel,
};

const MAIN: ChannelId = ChannelId(0);
/// More than a link needs for its own sake, and less than any of its queues has after a flood.
const LITTLE: usize = 4096;

fn connect(now: Instant) -> [Link; 2] {
    let sender = Config::new().channel(SendChannel::new("data"));
    let receiver = Config::new().channel(ReceiveChannel::new("data"));
    let roles = [Role::Opener, Role::Acceptor];
    let mut at = 0;
    let mut links = [sender, receiver].map(|config| {
        let mut link = Link::new(&config, roles[at], [1; 16]).expect("a sound declaration");
        link.handle_opened(now).expect("offline");
        link.handle_secured(now, None).expect("securing");
        at += 1;
        link
    });
    carry(&mut links, now, &mut vec![0; 65_536]);
    links
}

/// Moves what both have to say; everything that arrives is taken.
fn carry([opener, acceptor]: &mut [Link; 2], now: Instant, buffer: &mut [u8]) {
    let mut moved = true;
    while moved {
        moved = false;
        for backwards in [false, true] {
            let (from, to) = if backwards {
                (&mut *acceptor, &mut *opener)
            } else {
                (&mut *opener, &mut *acceptor)
            };
            while let Output::Written(length) = from.poll_output(now, buffer) {
                to.handle_input(now, &buffer[..length]);
                moved = true;
            }
        }
        while let Ok(Some(message)) = acceptor.take(now, MAIN) {
            assert_eq!(message.payload.len(), 64);
        }
    }
    for link in [opener, acceptor] {
        while link.poll_event().is_some() {}
    }
}

/// Fills every queue; the memory that is used afterwards.
fn flood(links: &mut [Link; 2], now: Instant, buffer: &mut [u8]) -> usize {
    let payload = Bytes::from_static(&[7; 64]);
    while links[0].send(now, MAIN, payload.clone(), None).is_ok() {}
    carry(links, now, buffer);
    MEMORY.current_usage()
}

#[test]
fn a_silent_link_lets_go_whichever_end_asks() {
    let _turn = turn();
    for asks in [0, 1] {
        let mut now = Instant::from_micros(1_000_000);
        let mut links = connect(now);
        let ping = links[0].config().get_timeouts().ping;
        let mut buffer = vec![0; 65_536];
        let before = MEMORY.current_usage();
        let after = flood(&mut links, now, &mut buffer);
        assert!(after > before + 4 * LITTLE, "{before}, then {after}");
        // The other's own deadline is never reached: its peer's frame arrives just before.
        for _ in 0..3 {
            now = now + ping;
            links[asks].handle_timeout(now);
            carry(&mut links, now, &mut buffer);
        }
        let silent = MEMORY.current_usage();
        assert!(silent < before + LITTLE, "{before}, now {silent}");
    }
}
