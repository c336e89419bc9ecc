//! Secure streams learn that a pin was removed, also without any writes.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use countersign_certs::fixtures;
use countersign_driver::{Memory, Timer, Transport, memory, secure::SecureStream};
use countersign_endpoint::{Buffer, Identity, Security};
use countersign_tests::pair::{IDENTITIES, tls};
use countersign_tokio::{Role, StreamSetup, secure_over};
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

/// A connection whose reads take until identity and trust have been replaced, as reads may that
/// block.
struct Blocking {
    inner: Memory,
    meanwhile: Option<Security>,
}

impl Transport for Blocking {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        let read = self.inner.poll_read(context, buffer);
        if read.is_ready()
            && let Some(security) = self.meanwhile.take()
        {
            replace(&security);
        }
        read
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_write(context, buffer)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_shutdown(context)
    }
}

/// Time stands still.
struct Still;

impl Timer for Still {
    fn poll_until(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_read_that_blocked_hands_out_nothing_of_a_removed_key() {
    let [client, server] = &*IDENTITIES;
    let [near_setup, far_setup] = [(client, server), (server, client)]
        .map(|(own, peer)| StreamSetup::new(tls(own, peer.fingerprint())));
    let [near, far] = <[_; 2]>::from(memory()).map(|inner| Blocking {
        inner,
        meanwhile: None,
    });
    let (mut one, mut two) = (Still, Still);
    let (near, far) = tokio::join!(
        SecureStream::establish(near, Role::Opener, &near_setup, &[], &mut one),
        SecureStream::establish(far, Role::Acceptor, &far_setup, &[], &mut two)
    );
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    let written = poll_fn(|context| near.poll_write(context, b"late")).await;
    assert_eq!(written.unwrap(), 4);
    poll_fn(|context| near.poll_flush(context)).await.unwrap();
    far.transport_mut().meanwhile = Some(far_setup.security().clone());
    for _ in 0..2 {
        let read = poll_fn(|context| far.poll_read(context, &mut [0; 16])).await;
        let error = read.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
}
