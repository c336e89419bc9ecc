//! From a transport connection to a link.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use countersign_core::{ChannelConfig, Config, ConfigError, Role};
use countersign_endpoint::{Peer, Security, SetupError, random_seed};

use crate::accept::DEFAULT_LOG_LINES;
use crate::admission::{Admission, Admit, Arrival};
use crate::clock::Clock;
use crate::connecting::Connecting;
use crate::driver::{Dial, Dialer, Driver, NoDial, Transport};
use crate::key_log;
use crate::receipt::Receipts;
use crate::recorded::Recorded;
use crate::shared::Shared;

/// What an end brings to every connection: its declaration and its security, and who listens in.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Setup {
    config: Arc<Config>,
    security: Security,
    pub(crate) recorded: Recorded,
    pub(crate) admit: Option<Admit>,
    pub(crate) log_lines: usize,
    clock: Clock,
}

impl Setup {
    /// Puts a declaration and a choice of security together. A security that writes keys down
    /// (`TlsBuilder::key_log`) is worth a warning in the log.
    ///
    /// # Errors
    ///
    /// What [`Config::check`] finds.
    pub fn new(config: Config, security: Security) -> Result<Self, ConfigError> {
        config.check()?;
        key_log::warn(&security);
        Ok(Self {
            config: Arc::new(config),
            security,
            recorded: Recorded::default(),
            admit: None,
            log_lines: DEFAULT_LOG_LINES,
            clock: Clock::default(),
        })
    }

    /// Asks the application about each peer that wants a link of a listener, once TLS has proved who it
    /// is and before it is told that it has one. The answer lets the peer in, gives it channels of its
    /// own, or turns it away ([`Admission`]). A peer that comes back to the link that it has is not asked
    /// about again. Connecting ends ask nobody.
    ///
    /// The handler runs in the task or thread of the connection, without any lock being held. It holds
    /// that up and, on a runtime with one thread, all others: it should look something up in memory, and
    /// neither wait nor panic.
    ///
    /// ```
    /// use countersign_core::{Config, ReceiveChannel, Refusal, SendChannel, refuse};
    /// use countersign_driver::{Admission, Setup};
    /// use countersign_endpoint::Security;
    ///
    /// const CLOSED: u16 = refuse::APPLICATION + 1;
    /// let config = Config::new().channel(ReceiveChannel::new("reports"));
    /// // Plain for the sake of a short example: see `Security::tls` for links that matter.
    /// let setup = Setup::new(config, Security::plaintext())?.admit(|arrival| match arrival.name() {
    ///     Some("robot-7") => Refusal::new(CLOSED, "not today").again().into(),
    ///     Some("operator") => Admission::AdmitWith(vec![
    ///         ReceiveChannel::new("commands").into(),
    ///         SendChannel::new("video").into(),
    ///     ]),
    ///     _ => Admission::Admit,
    /// });
    /// # let _ = setup;
    /// # Ok::<(), countersign_core::ConfigError>(())
    /// ```
    #[must_use]
    pub fn admit(
        mut self,
        handler: impl Fn(&Arrival<'_>) -> Admission + Send + Sync + 'static,
    ) -> Self {
        self.admit = Some(Admit::new(handler));
        self
    }

    /// Asks the application about a peer that wants a link: [`Admission::Admit`] where it has no handler
    /// ([`Setup::admit`]). Listeners do this; it is here for loops of one's own.
    #[must_use]
    pub fn ask(&self, peer: Option<&Peer>, address: Option<SocketAddr>) -> Admission {
        let admit = self.admit.as_ref();
        admit.map_or(Admission::Admit, |admit| {
            admit.ask(&Arrival::new(peer, address))
        })
    }

    /// How many lines a listener logs as warnings in a minute, at most, about connections that came to
    /// nothing: those of all strangers together, and of each peer that has proved who it is;
    /// [`DEFAULT_LOG_LINES`] by default. How many were left out, one more line says, with the next one
    /// after that minute or when the listener goes. At the level `debug` there are all of them. What
    /// [`Listener::log`](crate::Listener::log) is given counts too.
    #[must_use]
    pub fn log_lines(mut self, lines: usize) -> Self {
        self.log_lines = lines;
        self
    }

    /// The same with the clock of a runtime, which its backend asks for by itself.
    #[must_use]
    pub fn timed_by(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The declaration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How many bytes of memory a link takes at most, with its driver and its connections, whatever
    /// its peer and its application do (`docs/limits.md`). A link whose peer was given channels of its
    /// own ([`Admission::AdmitWith`]) takes what a setup with these says. What counts besides, each for
    /// itself: the handles that wait for something, receipts that are kept beyond their verdicts, and
    /// messages that were taken from an `Auto` channel.
    #[must_use]
    pub fn memory_bound(&self) -> usize {
        let channels = self.config.channels().iter();
        let receipts = channels.filter_map(|channel| match channel {
            ChannelConfig::Send(channel) => Some(Receipts::memory_bound(channel.get_queue().0)),
            ChannelConfig::Receive(_) => None,
        });
        // One connection may have been given up for the next and not be gone.
        let connections = self.security.memory_bound().saturating_mul(2);
        let link = self.config.memory_bound().saturating_add(connections);
        receipts
            .fold(link, usize::saturating_add)
            .saturating_add(Shared::memory_bound(self.config.channels().len()))
    }

    /// The security.
    #[must_use]
    pub fn security(&self) -> &Security {
        &self.security
    }
}

fn make(
    config: &Config,
    role: Role,
    recorded: &Recorded,
) -> Result<countersign_core::Link, SetupError> {
    let seed = random_seed()?;
    let made = match recorded.observer() {
        Some(observer) => countersign_core::Link::observed(config, role, seed, observer),
        None => countersign_core::Link::new(config, role, seed),
    };
    made.map_err(|error| SetupError::Refused {
        detail: error.to_string(),
    })
}

impl Connecting {
    /// Takes a transport connection that has just been opened, or accepted, as `role` says. The
    /// link ends with it: there is no way to another.
    ///
    /// The driver must be run for anything to happen. It gives up by itself when the handshake
    /// takes longer than [`Timeouts::handshake`](countersign_core::Timeouts::handshake).
    ///
    /// # Errors
    ///
    /// The system has no randomness to give.
    pub fn over<T: Transport>(
        setup: &Setup,
        role: Role,
        transport: T,
    ) -> Result<(Self, Driver<NoDial<T>>), SetupError> {
        let config = (*setup.config).clone().single_connection();
        let link = make(&config, role, &setup.recorded)?;
        let shared = Shared::new(link, &setup.security, setup.clock());
        let driver = Driver::over(shared.clone(), &setup.security, transport);
        Ok((Self::new(shared), driver))
    }

    /// Opens a connection with the future that `open` makes, and another whenever the link is to
    /// connect again. Such a future has to give up by itself when it takes too long.
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

    /// Opens connections with `dialer`: one now, and another whenever the link is to connect again.
    pub(crate) fn dial_with<D: Dial>(
        setup: &Setup,
        dialer: D,
    ) -> Result<(Self, Driver<D>), SetupError> {
        let link = make(&setup.config, Role::Opener, &setup.recorded)?;
        let shared = Shared::new(link, &setup.security, setup.clock());
        let driver = Driver::dial(shared.clone(), &setup.security, dialer);
        Ok((Self::new(shared), driver))
    }
}
