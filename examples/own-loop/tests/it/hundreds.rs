//! Hundreds of links at once, both ends of each in one thread.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant as StdInstant};

use countersign_certs::fixtures;
use countersign_core::{CloseMode, Config, Event, Instant, ReceiveChannel, SendChannel, Timeouts};
use countersign_endpoint::{Identity, Security};
use own_loop::{Limits, LinkId, LinksEvent, OwnLoop};

const LINKS: usize = 300;
const MESSAGES: u64 = 20;

fn secured() -> [Security; 2] {
    let [client, server] = [fixtures::good("client"), fixtures::good("server")];
    [(&client, &server), (&server, &client)].map(|(own, peer)| {
        let identity = Identity::from_der(own.certificate_der(), own.key_der()).unwrap();
        let trust = peer.fingerprint();
        Security::tls(identity, trust).build().unwrap()
    })
}

/// What the test knows of a link.
#[derive(Default)]
struct Known {
    handled: u64,
    taken: Vec<u64>,
    ended: bool,
}

/// Every link delivers its messages, in order and once; none is dropped, and none is left over.
#[test]
fn hundreds_of_links_in_one_thread() {
    let [of_client, of_server] = secured();
    // However slow the machine is, it is not what this is about.
    let patient = Timeouts {
        handshake: Duration::from_secs(3600),
        give_up: Duration::from_secs(3600),
        close: Duration::from_secs(3600),
        ..Timeouts::default()
    };
    let config = Config::new().timeouts(patient);
    let sends = config.clone().channel(SendChannel::new("data"));
    let receives = config.channel(ReceiveChannel::new("data"));
    let mut links = OwnLoop::new().unwrap();
    let limits = Limits {
        half_open: 16,
        ..Limits::default()
    };
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = links
        .listen(address, &receives, &of_server, limits)
        .unwrap();
    let address = links.address(listener).unwrap();
    let openers: Vec<_> = (0..LINKS)
        .map(|_| links.connect(address, &sends, &of_client).unwrap())
        .collect();

    let begun = StdInstant::now();
    let clock = || Instant::ZERO + begun.elapsed();
    let mut known: BTreeMap<LinkId, Known> = BTreeMap::new();
    let mut events = Vec::new();
    while known.values().filter(|known| known.ended).count() < 2 * LINKS {
        let now = clock();
        links.service(|| now, &mut events).unwrap();
        for event in events.drain(..) {
            match event {
                LinksEvent::Accepted { link, .. } => drop(known.entry(link).or_default()),
                LinksEvent::Event { link, event } => {
                    let its = known.entry(link).or_default();
                    serve(&mut links, now, link, its, &event);
                }
                LinksEvent::Ended { link, error } => {
                    assert!(error.is_orderly(), "{error}");
                    known.get_mut(&link).unwrap().ended = true;
                    links.forget(now, link);
                }
                event => panic!("{event:?}"),
            }
        }
        let now = clock();
        let deadline = links.deadline();
        let limit = deadline.map(|deadline| deadline.saturating_since(now));
        links.wait(limit).unwrap();
    }

    for (id, known) in &known {
        if openers.contains(id) {
            assert_eq!(known.handled, MESSAGES);
        } else {
            assert_eq!(known.taken, (1..=MESSAGES).collect::<Vec<_>>());
        }
    }
    // What is left to do is to see the connections end.
    while !links.is_empty() {
        links.service(clock, &mut events).unwrap();
        assert!(events.is_empty());
    }
    assert_eq!(links.deadline(), None, "nothing is left to wait for");
}

fn serve(links: &mut OwnLoop, now: Instant, id: LinkId, known: &mut Known, event: &Event) {
    let link = links.link_mut(id).unwrap();
    match *event {
        Event::Connected => {
            let channel = link.channel_id("data").unwrap();
            for number in 1..=MESSAGES {
                let sequence = link.send(now, channel, vec![7; 1000], None).unwrap();
                assert_eq!(sequence, number);
            }
        }
        Event::Readable(channel) => {
            while let Some(message) = link.take(now, channel).unwrap() {
                known.taken.push(message.sequence);
            }
        }
        Event::Handled { last, .. } => {
            known.handled = last;
            if last == MESSAGES {
                link.close(now, CloseMode::Drain);
            }
        }
        Event::PeerClosing => {}
        ref event => panic!("{event:?}"),
    }
}
