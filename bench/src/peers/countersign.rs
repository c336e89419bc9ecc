//! countersign itself: what all of its contenders share.

use countersign_certs::{GeneratedIdentity, NewIdentity};
use countersign_tokio::{Config, Identity, ReceiveChannel, Security, SendChannel, Setup};

use super::Failure;

/// The name of the one channel.
pub(super) const CHANNEL: &str = "messages";

/// What the two ends bring, each with a pin of the other.
#[derive(Clone)]
pub(super) struct Setups {
    pub(super) sender: Setup,
    pub(super) receiver: Setup,
}

impl Setups {
    pub(super) fn new() -> Result<Self, Failure> {
        let sender = NewIdentity::new("sender").generate()?;
        let receiver = NewIdentity::new("receiver").generate()?;
        let sends = Config::new().channel(SendChannel::new(CHANNEL));
        let receives = Config::new().channel(ReceiveChannel::new(CHANNEL));
        Ok(Self {
            sender: Setup::new(sends, security(&sender, &receiver)?)?,
            receiver: Setup::new(receives, security(&receiver, &sender)?)?,
        })
    }
}

/// Mutual TLS with the peer's pin.
pub(crate) fn security(
    own: &GeneratedIdentity,
    peer: &GeneratedIdentity,
) -> Result<Security, Failure> {
    let identity = Identity::from_der(own.certificate_der(), own.key_der())?;
    Ok(Security::tls(identity, peer.fingerprint()).build()?)
}
