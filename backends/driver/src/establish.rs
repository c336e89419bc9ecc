//! Makes links of transport connections.

use std::io;

use countersign_core::{Config, Role};
use countersign_endpoint::{SetupError, random_seed};

use crate::connecting::Connecting;
use crate::dial::{Dial, Dialer, NoDial};
use crate::driver::Driver;
use crate::recorder::Recorder;
use crate::setup::Setup;
use crate::shared::Shared;
use crate::transport::Transport;

fn make(
    config: &Config,
    role: Role,
    recorder: &Recorder,
) -> Result<countersign_core::Link, SetupError> {
    let seed = random_seed()?;
    let made = match recorder.observer() {
        Some(observer) => countersign_core::Link::observed(config, role, seed, observer),
        None => countersign_core::Link::new(config, role, seed),
    };
    made.map_err(|error| SetupError::Refused {
        detail: error.to_string(),
    })
}

impl Connecting {
    /// Makes a link over a transport connection that has just been opened, or accepted, according
    /// to `role`. The link ends with the connection, since it cannot open another.
    ///
    /// The driver must be run for anything to happen. It gives up by itself when the handshake
    /// takes longer than [`Timeouts::handshake`](countersign_core::Timeouts::handshake).
    ///
    /// # Errors
    ///
    /// The system provides no randomness.
    pub fn over<T: Transport>(
        setup: &Setup,
        role: Role,
        transport: T,
    ) -> Result<(Self, Driver<NoDial<T>>), SetupError> {
        let config = setup.config().clone().single_connection();
        let link = make(&config, role, &setup.recorder)?;
        let shared = Shared::new(link, setup.security(), setup.clock());
        let driver = Driver::over(shared.clone(), setup.security(), transport);
        Ok((Self::new(shared), driver))
    }

    /// Opens a connection with the future that `open` returns, and another for each reconnect. Such
    /// a future must apply its own time limit.
    ///
    /// # Errors
    ///
    /// As for [`Connecting::over`].
    pub fn dial<Open, F, T>(
        setup: &Setup,
        open: Open,
    ) -> Result<(Self, Driver<Dialer<Open, F>>), SetupError>
    where
        Open: FnMut() -> F,
        T: Transport,
        F: Future<Output = io::Result<T>>,
    {
        Self::dial_with(setup, Dialer::new(open))
    }

    /// Opens connections with `dialer`: one now, and another for each reconnect.
    pub(crate) fn dial_with<D: Dial>(
        setup: &Setup,
        dialer: D,
    ) -> Result<(Self, Driver<D>), SetupError> {
        let link = make(setup.config(), Role::Opener, &setup.recorder)?;
        let shared = Shared::new(link, setup.security(), setup.clock());
        let driver = Driver::dial(shared.clone(), setup.security(), dialer);
        Ok((Self::new(shared), driver))
    }
}
