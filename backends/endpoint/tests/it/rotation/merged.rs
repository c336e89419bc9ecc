//! Peers whose keys are put together, or taken apart.

use super::*;

#[test]
fn peers_that_are_merged_or_parted() {
    let station = fixtures::good("station");
    let [first, second] = ["first", "second"].map(fixtures::good);
    let apart = || Pins::new([&first, &second].map(|one| Pin::from(one.fingerprint()))).unwrap();
    let together = || one_peer(&[&first, &second]);
    // What becomes of the session of one of the two, across a lost connection.
    let session_of = |own: &GeneratedIdentity, before: Pins, after: Pins| {
        let acceptor = tls(&station, before);
        let mut pair = Pair::new(&tls(own, station.fingerprint()), &acceptor);
        pair.run();
        acceptor.replace(identity(&station), after).unwrap();
        pair.recheck();
        assert_eq!(pair.lives(), [LinkState::Open; 2]);
        pair.cut();
        pair.connect();
        pair.run();
        assert_eq!(pair.lives(), [LinkState::Open; 2]);
        pair.0[OPENER].link.resumes()
    };
    assert_eq!(session_of(&first, apart(), together()), 1);
    assert_eq!(session_of(&second, apart(), together()), 0);
    for own in [&first, &second] {
        assert_eq!(session_of(own, together(), apart()), 0);
        assert_eq!(session_of(own, apart(), apart()), 1);
        assert_eq!(session_of(own, together(), together()), 1);
    }
    // A peer that has not named its session yet would name it under its new name.
    let acceptor = tls(&station, together());
    let mut pair = Pair::new(&tls(&first, station.fingerprint()), &acceptor);
    while pair.lives()[ACCEPTOR] != LinkState::Greeting {
        assert!(pair.step_by(1));
    }
    acceptor.replace(identity(&station), apart()).unwrap();
    pair.recheck();
    assert_eq!(pair.lives()[ACCEPTOR], LinkState::Ended);
    let error = pair.0[ACCEPTOR].error();
    assert!(error.contains("pins were changed"), "{error}");
    // So does one that has named it, as long as the link has not seen that.
    for rechecked in [false, true] {
        let acceptor = tls(&station, together());
        let mut pair = Pair::new(&tls(&first, station.fingerprint()), &acceptor);
        let [opener, accepting] = &mut pair.0;
        assert!(opener.moves(accepting, usize::MAX));
        assert!(accepting.moves(opener, usize::MAX));
        let ToSend::Bytes(hello) = opener.endpoint.as_mut().unwrap().to_send() else {
            panic!("the last flight and HELLO");
        };
        let endpoint = accepting.endpoint.as_mut().unwrap();
        let count = hello.filled().len();
        endpoint.input().space(count)[..count].copy_from_slice(hello.filled());
        endpoint.input().commit(count);
        endpoint.received(count);
        acceptor.replace(identity(&station), apart()).unwrap();
        if rechecked {
            endpoint.recheck(NOW, &mut accepting.link);
        }
        accepting.exchange();
        assert_eq!(accepting.link.peer(), None);
        assert_eq!(accepting.link.state(), LinkState::Ended);
        let error = accepting.error();
        assert!(error.contains("pins were changed"), "{error}");
    }
}
