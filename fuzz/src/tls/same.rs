//! A handshake that is the same each time: what an input changes in it must be the same field
//! however often it is tried. No secret hangs on it.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup, aws_lc_rs as real,
};
use rustls::{Error, NamedGroup, PeerMisbehaved};

/// One cipher suite, one key exchange and no randomness.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static MADE: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        Arc::new(CryptoProvider {
            cipher_suites: vec![real::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![&Group],
            secure_random: &Constant,
            ..real::default_provider()
        })
    };
    MADE.get_or_init(make).clone()
}

#[derive(Debug)]
struct Constant;

impl SecureRandom for Constant {
    fn fill(&self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
        out.fill(0x5A);
        Ok(())
    }
}

/// X25519 with one private key.
#[derive(Debug)]
struct Group;

struct Share {
    private: PrivateKey,
    public: Vec<u8>,
}

impl SupportedKxGroup for Group {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let private = PrivateKey::from_private_key(&X25519, &[0x5A; 32]);
        let private = private.map_err(|_| Error::FailedToGetRandomBytes)?;
        let public = private.compute_public_key();
        let public = public.map_err(|_| Error::FailedToGetRandomBytes)?;
        let public = public.as_ref().to_vec();
        Ok(Box::new(Share { private, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Share {
    fn complete(self: Box<Self>, theirs: &[u8]) -> Result<SharedSecret, Error> {
        let theirs = UnparsedPublicKey::new(&X25519, theirs);
        let wrong = Error::from(PeerMisbehaved::InvalidKeyShare);
        agree(&self.private, theirs, wrong, |secret| {
            Ok(SharedSecret::from(secret))
        })
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
