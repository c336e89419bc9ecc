//! HELLOs that come late (`docs/protocol.md`, Sessions).

use core::time::Duration;

use countersign_core::{
    Config, Disconnect, EndReason, Incoming, Instant, Link, LinkState, Loss, Output, Protocol,
    ReceiveChannel, Request, SendChannel, TakeOver,
};

use crate::common::arriving::arrived;
use crate::common::pair::lasting;

fn sender() -> Config {
    Config::new().channel(SendChannel::new("main"))
}

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

/// HELLO of an opener that has a session, on a separate connection.
fn hello_again(opener: &mut Link, now: Instant) -> Vec<u8> {
    while !opener.wants_connect() {
        let due = opener.poll_deadline().expect("it connects again");
        opener.handle_timeout(now.max(due));
    }
    opener.handle_opened(now).expect("connecting");
    opener.handle_secured(now, None).expect("securing");
    let mut hello = vec![0; 1024];
    let Output::Written(length) = opener.poll_output(now, &mut hello) else {
        panic!("HELLO comes first");
    };
    hello.truncate(length);
    hello
}

/// What a listener makes for each connection.
fn greeted(now: Instant, hello: &[u8]) -> Incoming {
    let mut incoming = arrived(now, &receiver(), 3, None);
    incoming.handle_input(now, hello);
    incoming
}

#[test]
fn a_hello_that_comes_late_touches_nothing() {
    // [SESSION-6] [SESSION-7] [REFUSE-8]
    lasting(&sender(), &receiver(), |pair| {
        pair.run();
        pair.cut();
        let now = pair.now + Duration::from_secs(60);
        let [opener, acceptor] = &mut pair.ends;
        let early = hello_again(opener, now);
        opener.handle_lost(now, Disconnect::Transport);
        let late = hello_again(opener, now);
        assert_eq!(
            (&early[17..20], &late[17..20]),
            (&[0, 0, 1][..], &[0, 0, 2][..])
        );
        let mut newer = greeted(now, &late);
        assert_eq!(newer.request(), Some(Request::Resume(acceptor.session())));
        assert_eq!(acceptor.take_over(now, &mut newer), TakeOver::Done);
        assert_eq!(newer.end_reason(), Some(&EndReason::TakenOver));
        let connection = acceptor.connection();
        for hello in [&early, &late] {
            let mut older = greeted(now, hello);
            assert_eq!(acceptor.take_over(now, &mut older), TakeOver::Stale);
            assert_eq!(older.end_reason(), Some(&EndReason::Stale));
            let mut refusal = [0; 300];
            assert!(matches!(
                older.poll_output(now, &mut refusal),
                Output::Written(_)
            ));
            assert_eq!((refusal[0], &refusal[8..10]), (3, &[0, 6][..]));
        }
        assert_eq!(acceptor.connection(), connection);
        assert_eq!((acceptor.state(), acceptor.resumes()), (LinkState::Open, 1));
    });
}

#[test]
fn without_a_listener_a_connection_that_comes_late_is_let_go() {
    // [SESSION-7] [REFUSE-8]
    lasting(&sender(), &receiver(), |pair| {
        pair.run();
        pair.cut();
        let now = pair.now + Duration::from_secs(60);
        let [opener, acceptor] = &mut pair.ends;
        let mut hellos = Vec::new();
        for _attempt in 1..=3 {
            hellos.push(hello_again(opener, now));
            opener.handle_lost(now, Disconnect::Transport);
        }
        let session = acceptor.session();
        for (attempt, state, resumes) in [
            (2, LinkState::Open, 1),
            (1, LinkState::Offline, 1),
            (2, LinkState::Offline, 1),
            (3, LinkState::Open, 2),
        ] {
            acceptor.handle_lost(now, Disconnect::Transport);
            acceptor.handle_opened(now).expect("offline");
            acceptor.handle_secured(now, None).expect("securing");
            acceptor.handle_input(now, &hellos[attempt - 1]);
            assert_eq!((acceptor.state(), acceptor.resumes()), (state, resumes));
            assert_eq!(acceptor.session(), session);
            if state == LinkState::Offline {
                assert_eq!(acceptor.last_loss(), Some(Loss::Replaced));
            }
        }
    });
}
