//! How connections end.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::time::Duration;

use countersign_certs::{GeneratedIdentity, NewIdentity};
use countersign_tokio::{
    CloseMode, Config, Dialect, Identity, ReceiveChannel, Security, SendChannel, Setup, Timeouts,
    connect, listen,
};

/// Longer than any test runs: to wait this long is to wait for ever.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

fn setup(own: &GeneratedIdentity, peer: &GeneratedIdentity, config: Config) -> Setup {
    let timeouts = Timeouts {
        close: FOR_EVER,
        linger: FOR_EVER,
        ..Timeouts::default()
    };
    let identity = Identity::from_der(own.certificate_der(), own.key_der()).unwrap();
    let security = Security::tls(identity, peer.fingerprint()).build().unwrap();
    Setup::new(config.timeouts(timeouts).single_connection(), security).unwrap()
}

/// Both ends say that they end the connection, so neither has to wait for a time limit to find
/// out, and none takes the end for a connection that broke off.
#[tokio::test]
async fn both_ends_end_the_connection_in_order() {
    let robot = NewIdentity::new("robot").generate().unwrap();
    let operator = NewIdentity::new("operator").generate().unwrap();
    for dialect in [Dialect::Countersign, Dialect::TlsStream] {
        let channels = Config::new().dialect(dialect);
        let receiving = channels.clone().channel(ReceiveChannel::new("main"));
        let sending = channels.channel(SendChannel::new("main"));
        let listener = listen("127.0.0.1:0", setup(&robot, &operator, receiving));
        let listener = listener.await.unwrap();
        let address = listener.local_addr();
        let receiver = tokio::spawn(async move {
            let link = listener.accept().await.unwrap();
            let mut main = link.receiver("main").unwrap();
            let mut count = 0;
            while main.recv().await.unwrap().is_some() {
                count += 1;
            }
            (count, link.ended().await)
        });
        let link = connect(address, &setup(&operator, &robot, sending))
            .await
            .unwrap();
        let receipt = link.sender("main").unwrap().send("forward").await.unwrap();
        assert!(receipt.await.is_handled());
        let report = link.close(CloseMode::Drain).await;
        assert!(report.is_orderly(), "{report}");
        let (count, report) = receiver.await.unwrap();
        assert!(report.is_orderly(), "{report}");
        assert_eq!(count, 1);
    }
}
