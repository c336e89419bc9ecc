//! Resuming a session (`docs/protocol.md`, Sessions).

use countersign_core::{ChannelConfig, Config, Event, Life, Loss, VerdictKind};

use crate::common::pair::{ACCEPTOR, OPENER, lasting};
use crate::common::peer::MAIN;

fn sender() -> Config {
    Config::new().channel(ChannelConfig::send("main"))
}

fn receiver() -> Config {
    Config::new().channel(ChannelConfig::receive("main"))
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
        assert_eq!(pair.lives(), [Life::Offline; 2]);
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
