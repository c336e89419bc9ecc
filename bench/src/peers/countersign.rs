//! countersign itself: what all of its contenders share.

use countersign_certs::{GeneratedIdentity, NewIdentity};
use countersign_tokio::{Config, Identity, ReceiveChannel, Security, SendChannel, Setup};

use super::Failure;

/// The name of the one channel.
pub(crate) const CHANNEL: &str = "messages";

/// The longest message without a word about it.
const MAX_MESSAGE: usize = 16 << 20;

/// What the two ends bring, each with a pin of the other.
#[derive(Clone)]
pub(crate) struct Setups {
    pub(crate) sender: Setup,
    pub(crate) receiver: Setup,
    sender_security: Security,
    receiver_security: Security,
}

impl Setups {
    /// All defaults.
    pub(crate) fn new() -> Result<Self, Failure> {
        let sender = NewIdentity::new("sender").generate()?;
        let receiver = NewIdentity::new("receiver").generate()?;
        let sender_security = security(&sender, &receiver)?;
        let receiver_security = security(&receiver, &sender)?;
        Self::with(
            sender_security,
            receiver_security,
            SendChannel::new(CHANNEL),
            ReceiveChannel::new(CHANNEL),
        )
    }

    /// All defaults where they allow messages of `size` bytes; if not, room for one of them.
    pub(super) fn of_size(&self, size: usize) -> Result<Self, Failure> {
        if size <= MAX_MESSAGE {
            return Ok(self.clone());
        }
        Self::with(
            self.sender_security.clone(),
            self.receiver_security.clone(),
            SendChannel::new(CHANNEL).max_message(size),
            ReceiveChannel::new(CHANNEL).max_message(size),
        )
    }

    fn with(
        sender_security: Security,
        receiver_security: Security,
        send: SendChannel,
        receive: ReceiveChannel,
    ) -> Result<Self, Failure> {
        let sends = Config::new().channel(send);
        let receives = Config::new().channel(receive);
        Ok(Self {
            sender: Setup::new(sends, sender_security.clone())?,
            receiver: Setup::new(receives, receiver_security.clone())?,
            sender_security,
            receiver_security,
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
