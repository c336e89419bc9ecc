//! A secure stream on which nobody writes hears that a pin was removed.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io::ErrorKind;
use std::time::Duration;

use countersign_certs::fixtures;
use countersign_endpoint::{Identity, Security};
use countersign_tests::pair::{IDENTITIES, tls};
use countersign_tokio::core::Role;
use countersign_tokio::{StreamSetup, secure_over};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

fn replace(security: &Security) {
    let [_, own] = &*IDENTITIES;
    let own = Identity::from_der(own.certificate_der(), own.key_der()).unwrap();
    let other = fixtures::good("other").fingerprint();
    security.replace(own, other).unwrap();
}

#[tokio::test]
async fn a_read_that_waits_is_woken() {
    let [client, server] = &*IDENTITIES;
    let setups = [(client, server), (server, client)]
        .map(|(own, peer)| StreamSetup::new(tls(own, peer.fingerprint())));
    let (near, far) = tokio::io::duplex(1 << 16);
    let (near, far) = tokio::join!(
        secure_over(near, Role::Opener, &setups[0]),
        secure_over(far, Role::Acceptor, &setups[1])
    );
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    let security = setups[1].security().clone();
    let waits = tokio::spawn(async move { far.read_u8().await.map(|_| ()) });
    let peer = tokio::spawn(async move { near.read_u8().await.map(|_| ()) });
    // So that both wait.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    replace(&security);
    let watchdog = Duration::from_secs(60);
    let error = timeout(watchdog, waits)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let error = timeout(watchdog, peer).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
}
