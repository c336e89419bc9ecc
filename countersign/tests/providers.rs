//! Links over TLS with the cryptography that a feature names, or that the application has installed.
//!
//! `.ci/providers` runs this with each.

#![cfg(feature = "tokio")]

use countersign::prelude::*;
use countersign::{SetupError, connect, listen};
use countersign_certs::{GeneratedIdentity, NewIdentity};

fn security(own: &GeneratedIdentity, peer: &GeneratedIdentity) -> Result<Security, SetupError> {
    let identity = Identity::from_der(own.certificate_der(), own.key_der())?;
    Security::tls(identity, peer.fingerprint()).build()
}

/// Both ends, each with a key of another kind.
async fn link() -> Result<(), Box<dyn std::error::Error>> {
    let robot = NewIdentity::new("robot");
    let robot = robot
        .algorithm(countersign_certs::Algorithm::Ed25519)
        .generate()?;
    let operator = NewIdentity::new("operator").generate()?;

    let config = Config::new().channel(ReceiveChannel::new("commands"));
    let setup = Setup::new(config, security(&robot, &operator)?)?;
    let listener = listen("127.0.0.1:0", setup).await?;
    let config = Config::new().channel(SendChannel::new("commands"));
    let setup = Setup::new(config, security(&operator, &robot)?)?;
    let opened = connect(listener.local_addr(), &setup);
    let (opened, accepted) = tokio::join!(opened, listener.accept());
    let (opened, accepted) = (opened?, accepted?);
    assert_eq!(accepted.peer(), Some(operator.fingerprint()));

    let receipt = opened.sender("commands")?.send("forward").await?;
    let command = accepted.receiver("commands")?.recv().await?;
    assert_eq!(command.as_deref(), Some(&b"forward"[..]));
    assert!(receipt.await.is_handled());
    assert!(opened.close(CloseMode::Drain).await.is_orderly());
    Ok(())
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[tokio::test]
async fn a_feature_names_it() {
    link().await.expect("a link");
    // Nothing was installed in passing: that is the application's.
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
#[tokio::test]
async fn the_application_installs_it() {
    let [robot, operator] = ["robot", "operator"].map(|name| NewIdentity::new(name).generate());
    let (robot, operator) = (robot.expect("an identity"), operator.expect("an identity"));
    let missing = security(&robot, &operator).expect_err("nothing is installed");
    assert!(matches!(missing, SetupError::NoProvider), "{missing}");
    // Plain links need none.
    let config = Config::new().channel(SendChannel::new("commands"));
    Setup::new(config, Security::plaintext()).expect("a setup");

    let installed = rustls::crypto::ring::default_provider().install_default();
    assert!(installed.is_ok());
    link().await.expect("a link");
}
