//! From a transport connection to a link.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use countersign_core::{Config, ConfigError, Role};
use countersign_endpoint::{Endpoint, Security, SetupError, random_seed};

use crate::driver::{Driver, Transport};
use crate::error::LinkError;
use crate::link::Link;
use crate::shared::{Handle, Shared};
use crate::wakers::{Awaited, Waiting};

/// What an end brings to every connection: its declaration and its security.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Setup {
    config: Arc<Config>,
    security: Security,
}

impl Setup {
    /// Puts a declaration and a choice of security together.
    ///
    /// # Errors
    ///
    /// What [`Config::check`] finds.
    pub fn new(config: Config, security: Security) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            config: Arc::new(config),
            security,
        })
    }

    /// The declaration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The security.
    #[must_use]
    pub fn security(&self) -> &Security {
        &self.security
    }
}

/// A link that is being established by its driver. Dropping it gives the connection up.
#[derive(Debug)]
pub struct Connecting {
    handle: Arc<Handle>,
}

impl Connecting {
    /// Takes a transport connection that has just been opened, or accepted, as `role` says.
    ///
    /// The driver must be run for anything to happen. It gives up by itself when the handshake
    /// takes longer than [`Patience::handshake`](countersign_core::Patience::handshake).
    ///
    /// # Errors
    ///
    /// The system has no randomness to give.
    pub fn start<T: Transport>(
        setup: &Setup,
        role: Role,
        transport: T,
    ) -> Result<(Self, Driver<T>), SetupError> {
        let seed = random_seed()?;
        let link = countersign_core::Link::new(
            &setup.config.as_ref().clone().single_connection(),
            role,
            seed,
        )
        .map_err(|error| SetupError::Refused {
            detail: error.to_string(),
        })?;
        let shared = Shared::new(link);
        let now = shared.clock.now();
        let endpoint = Endpoint::new(&setup.security, now, &mut &*shared);
        let handle = Arc::new(Handle(shared.clone()));
        Ok((Self { handle }, Driver::new(shared, endpoint, transport)))
    }

    /// Waits until the peer has accepted this end.
    ///
    /// # Errors
    ///
    /// Why there is no link.
    pub async fn connected(self) -> Result<Link, LinkError> {
        let mut waiting = Waiting::new(&self.handle.0, Awaited::Link);
        poll_fn(|context| {
            waiting.poll(context, |state| {
                if state.connected {
                    // Also if it has ended since: what has arrived can still be received.
                    return Poll::Ready(Ok(()));
                }
                if let Some(error) = state.error() {
                    return Poll::Ready(Err(error));
                }
                Poll::Pending
            })
        })
        .await?;
        drop(waiting);
        Ok(Link::new(self.handle))
    }
}
