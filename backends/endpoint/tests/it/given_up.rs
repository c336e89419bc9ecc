//! A connection that its link has given up says nothing to the link any more.

use countersign_core::{Config, Dialect, Disconnect, Instant, Link, LinkState, Role, SendChannel};
use countersign_endpoint::{Endpoint, Security};

/// The opener's link gives its connection up and is about to open another when the end of the old
/// one arrives: that is not the end of the attempt that is under way.
#[test]
fn the_end_of_a_connection_that_was_given_up_is_no_news() {
    let ends: [fn(&mut Endpoint); 2] = [
        |endpoint| endpoint.received(0),
        |endpoint| endpoint.failed(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ];
    for end in ends {
        let config = Config::new().channel(SendChannel::new("main"));
        let mut link = Link::new(&config, Role::Opener, [1; 16]).expect("a sound declaration");
        let mut endpoint =
            Endpoint::new(&Security::plaintext(), Role::Opener, Dialect::Countersign);
        endpoint.exchange(Instant::ZERO, &mut link);
        let late = Instant::ZERO + config.get_timeouts().handshake;
        link.handle_timeout(late);
        assert_eq!(link.state(), LinkState::Offline);
        let later = link.poll_deadline().expect("it connects again");
        link.handle_timeout(later);
        assert_eq!(link.state(), LinkState::Connecting);
        end(&mut endpoint);
        endpoint.exchange(later, &mut link);
        assert_eq!(link.state(), LinkState::Connecting);
        // The end of the attempt itself is passed to the link directly.
        link.handle_lost(later, Disconnect::Transport);
        assert_eq!(link.state(), LinkState::Offline);
    }
}
