//! Acceptors: how much they take.

use core::net::{IpAddr, Ipv4Addr};

use countersign_core::{
    Acceptor, ConnectionPermit, DEFAULT_BACKLOG, DEFAULT_HALF_OPEN, DEFAULT_HALF_OPEN_PER_ADDRESS,
    DEFAULT_LINKS, DEFAULT_PER_ADDRESS, DEFAULT_SESSIONS, Limits, LinkPermit, Refusal, Route,
    TooMany, refuse,
};

use super::acceptor::{newcomer, place};

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

/// As many as there are, from one address each.
fn other(number: u8) -> Option<IpAddr> {
    Some(Ipv4Addr::new(192, 0, 2, number).into())
}

fn acceptor(limits: Limits) -> Acceptor<u8> {
    Acceptor::new(limits)
}

/// A number that is meant, and what it means.
const MEANT: [(usize, usize); 4] = [(0, 1), (1, 1), (2, 2), (7, 7)];

#[test]
fn what_is_taken_unless_told_otherwise() {
    let expected = Limits {
        half_open: 256,
        half_open_per_address: 128,
        backlog: 256,
        links: 16_384,
        sessions: 1024,
        per_address: 1024,
    };
    assert_eq!(Limits::default(), expected);
    let named = Limits {
        half_open: DEFAULT_HALF_OPEN,
        half_open_per_address: DEFAULT_HALF_OPEN_PER_ADDRESS,
        backlog: DEFAULT_BACKLOG,
        links: DEFAULT_LINKS,
        sessions: DEFAULT_SESSIONS,
        per_address: DEFAULT_PER_ADDRESS,
    };
    assert_eq!(named, expected);
    assert!(Acceptor::<u8>::default() == acceptor(expected));
}

#[test]
fn so_many_connections_are_half_open() {
    for (half_open, meant) in MEANT {
        let mut acceptor = acceptor(Limits {
            half_open,
            ..Limits::default()
        });
        let mut permits: Vec<ConnectionPermit> = Vec::new();
        for count in 0..meant {
            assert!(acceptor.has_room(), "{count} of {meant}");
            permits.push(acceptor.arrive(None).expect("from nowhere"));
        }
        assert!(!acceptor.has_room());
        assert_eq!(acceptor.half_open(), meant);
        // One that has found its link makes room, once.
        acceptor.greeted(&mut permits[0]);
        assert!(acceptor.has_room());
        acceptor.greeted(&mut permits[0]);
        assert_eq!(acceptor.half_open(), meant - 1);
        // So does one that is over.
        permits.push(acceptor.arrive(None).expect("from nowhere"));
        assert!(!acceptor.has_room());
        acceptor.depart(permits.pop().expect("more than one"));
        assert!(acceptor.has_room());
        // That of a link is counted no longer.
        acceptor.depart(permits.swap_remove(0));
        assert_eq!(acceptor.half_open(), meant - 1);
    }
}

#[test]
fn so_many_of_them_from_one_address() {
    for (half_open_per_address, meant) in MEANT {
        let mut acceptor = acceptor(Limits {
            half_open_per_address,
            ..Limits::default()
        });
        let mut permits: Vec<ConnectionPermit> = (0..meant)
            .map(|_| acceptor.arrive(other(1)).expect("room"))
            .collect();
        let too_many = TooMany {
            count: meant,
            half_open: true,
        };
        assert_eq!(acceptor.arrive(other(1)).expect_err("full"), too_many);
        let text = too_many.to_string();
        assert!(
            text.contains(&format!("{meant} handshakes under way")),
            "{text}"
        );
        assert_eq!(
            acceptor.half_open(),
            meant,
            "who is sent away is not counted"
        );
        // Others don't suffer by that.
        let another = acceptor.arrive(other(2)).expect("another address");
        // One that has found its link makes room, one that is over too.
        acceptor.greeted(&mut permits[0]);
        permits.push(acceptor.arrive(other(1)).expect("room"));
        assert!(acceptor.arrive(other(1)).is_err());
        acceptor.depart(permits.pop().expect("more than one"));
        permits.push(acceptor.arrive(other(1)).expect("room"));
        acceptor.depart(another);
        assert!(acceptor.arrive(other(1)).is_err());
    }
}

#[test]
fn so_many_connections_from_one_address() {
    for (per_address, meant) in MEANT {
        let mut acceptor = acceptor(Limits {
            per_address,
            ..Limits::default()
        });
        let mut permits: Vec<ConnectionPermit> = (0..meant)
            .map(|_| acceptor.arrive(other(1)).expect("room"))
            .collect();
        // Those of links as well.
        acceptor.greeted(&mut permits[0]);
        let too_many = TooMany {
            count: meant,
            half_open: false,
        };
        assert_eq!(acceptor.arrive(other(1)).expect_err("full"), too_many);
        let text = too_many.to_string();
        assert!(text.contains(&format!("{meant} connections")), "{text}");
        let another = acceptor.arrive(other(2)).expect("another address");
        acceptor.depart(another);
        assert!(acceptor.arrive(other(1)).is_err());
        acceptor.depart(permits.pop().expect("more than one"));
        permits.push(acceptor.arrive(other(1)).expect("room"));
        assert!(acceptor.arrive(other(1)).is_err());
        // What comes over something else has none.
        for _ in 0..3 {
            permits.push(acceptor.arrive(None).expect("not counted"));
        }
    }
}

#[test]
fn one_address_is_what_one_subscriber_has() {
    let one = Limits {
        per_address: 1,
        ..Limits::default()
    };
    for (first, second, same) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1", true),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ("2001:db8::1", "2001:db8::1", true),
        ("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", true),
        ("2001:db8:0:1::", "2001:db8::ffff:ffff:ffff:ffff", false),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ("2001:db8::c000:201", "192.0.2.1", false),
        ("::1", "::2", true),
        ("::1", "127.0.0.1", false),
    ] {
        for (first, second) in [(first, second), (second, first)] {
            let mut acceptor = acceptor(one);
            let fresh = acceptor.clone();
            let permit = acceptor.arrive(address(first)).expect("the only one");
            match acceptor.arrive(address(second)) {
                Ok(other) => {
                    assert!(!same, "{first}, {second}");
                    acceptor.depart(other);
                }
                Err(too_many) => assert!(same, "{first}, {second}: {too_many}"),
            }
            acceptor.depart(permit);
            assert!(acceptor == fresh);
        }
    }
}

fn refusal(acceptor: &mut Acceptor<u8>) -> Refusal {
    match acceptor.route(&mut newcomer(9)) {
        Route::Refuse(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn so_many_links() {
    // [REFUSE-4]
    for (links, meant) in MEANT {
        let mut acceptor = acceptor(Limits {
            links,
            ..Limits::default()
        });
        let mut places: Vec<LinkPermit> = (0..meant)
            .map(|_| place(&mut acceptor, &mut newcomer(1)))
            .collect();
        let told = refusal(&mut acceptor);
        assert_eq!((told.code, told.again), (refuse::BUSY, true));
        assert!(told.text.contains("all the links that it takes"), "{told}");
        // Whether the application has accepted them makes no difference.
        for place in &mut places {
            acceptor.accepted(place);
        }
        assert_eq!(refusal(&mut acceptor), told);
        acceptor.release(places.pop().expect("at least one"));
        places.push(place(&mut acceptor, &mut newcomer(2)));
        assert_eq!(refusal(&mut acceptor), told);
    }
}

#[test]
fn so_many_links_wait_to_be_accepted() {
    // [REFUSE-4]
    for (backlog, meant) in MEANT {
        let mut acceptor = acceptor(Limits {
            backlog,
            ..Limits::default()
        });
        let mut places: Vec<LinkPermit> = (0..meant)
            .map(|_| place(&mut acceptor, &mut newcomer(1)))
            .collect();
        let told = refusal(&mut acceptor);
        assert_eq!((told.code, told.again), (refuse::BUSY, true));
        assert!(told.text.contains("wait to be accepted"), "{told}");
        // One that the application has makes room, once.
        acceptor.accepted(&mut places[0]);
        acceptor.accepted(&mut places[0]);
        places.push(place(&mut acceptor, &mut newcomer(2)));
        assert_eq!(refusal(&mut acceptor), told);
        // So does one that never was, and one that has ended after it was accepted does not again.
        acceptor.release(places.swap_remove(0));
        assert_eq!(refusal(&mut acceptor), told);
        acceptor.release(places.pop().expect("at least one"));
        places.push(place(&mut acceptor, &mut newcomer(3)));
        assert_eq!(refusal(&mut acceptor), told);
    }
}

/// All orders of four.
fn orders() -> Vec<[usize; 4]> {
    let mut all = Vec::new();
    for code in 0..256_usize {
        let order = [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6];
        let mut sorted = order;
        sorted.sort_unstable();
        if sorted == [0, 1, 2, 3] {
            all.push(order);
        }
    }
    assert_eq!(all.len(), 24);
    all
}

#[test]
fn what_is_given_back_in_any_order_leaves_nothing_behind() {
    let fresh = acceptor(Limits::default());
    let from = [
        other(1),
        address("::ffff:192.0.2.1"),
        address("2001:db8::1"),
        None,
    ];
    for order in orders() {
        for mask in 0..16_usize {
            let mut acceptor = fresh.clone();
            let mut connections: Vec<Option<ConnectionPermit>> = from
                .iter()
                .map(|address| Some(acceptor.arrive(*address).expect("room")))
                .collect();
            let mut links: Vec<Option<LinkPermit>> = (0..4)
                .map(|seed| Some(place(&mut acceptor, &mut newcomer(seed))))
                .collect();
            // Some of each have got further than others.
            for at in (0..4).filter(|at| mask >> at & 1 > 0) {
                acceptor.greeted(connections[at].as_mut().expect("there"));
                acceptor.accepted(links[at].as_mut().expect("there"));
            }
            for at in order {
                assert!(acceptor != fresh);
                acceptor.depart(connections[at].take().expect("once"));
                assert!(!acceptor.is_empty());
                acceptor.release(links[3 - at].take().expect("once"));
            }
            assert!(acceptor == fresh, "{order:?}, {mask}");
            assert!(acceptor.is_empty() && acceptor.half_open() == 0);
        }
    }
}
