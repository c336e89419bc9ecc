//! Links that outlive their connections.

use countersign_core::{ChannelConfig, CloseMode, Config};
use countersign_driver::LinkEvent;

use super::one;
use crate::{Ends, Pair};

fn send() -> Config {
    one(ChannelConfig::send("data"))
}

fn receive() -> Config {
    one(ChannelConfig::receive("data"))
}

/// Both handles stay valid across cuts, are told of loss and return, and nothing is lost.
pub fn handles_survive_cuts(pair: &Pair) {
    let (ends, proxy, _listener) = pair.lasting_link(send(), receive());
    let Ends { client, server } = ends;
    let sender = client.sender("data").unwrap();
    let mut receiver = server.receiver("data").unwrap();
    for round in 0..5 {
        let receipt = sender.give(format!("before {round}"));
        assert_eq!(receiver.take(), format!("before {round}"));
        assert!(receipt.wait().is_handled());
        proxy.cut();
        let receipt = sender.give(format!("cut {round}"));
        assert_eq!(receiver.take(), format!("cut {round}"));
        assert!(receipt.wait().is_handled());
        for link in [&client, &server] {
            assert!(matches!(link.event(), Some(LinkEvent::Lost { .. })));
            assert_eq!(link.event(), Some(LinkEvent::Resumed));
        }
    }
    let report = client.close(CloseMode::Drain);
    assert!(report.is_orderly(), "{report}");
    assert_eq!(report.resumes, 5);
    assert_eq!(server.ended().resumes, 5);
}
