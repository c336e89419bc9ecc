//! An end's settings.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_core::{ChannelConfig, Config, ConfigError};
use countersign_endpoint::{Peer, Security};

use crate::accept::DEFAULT_LOG_LINES;
use crate::admission::{Admission, Admit, Arrival};
use crate::clock::Clock;
use crate::key_log;
use crate::receipt::Receipts;
use crate::recorder::Recorder;
use crate::shared::Shared;

/// An end's settings for every connection: its declaration, its security and its options.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Setup {
    config: Arc<Config>,
    security: Security,
    pub(crate) recorder: Recorder,
    pub(crate) admit: Option<Admit>,
    pub(crate) log_lines: usize,
    clock: Clock,
}

impl Setup {
    /// Combines a declaration with a choice of security. Logs a warning if the security writes a
    /// key log (`TlsBuilder::key_log`).
    ///
    /// # Errors
    ///
    /// The problem that [`Config::check`] finds.
    pub fn new(config: Config, security: Security) -> Result<Self, ConfigError> {
        config.check()?;
        key_log::warn(&security);
        Ok(Self {
            config: Arc::new(config),
            security,
            recorder: Recorder::default(),
            admit: None,
            log_lines: DEFAULT_LOG_LINES,
            clock: Clock::default(),
        })
    }

    /// Asks the application about each peer that wants a link from a listener, after TLS has
    /// authenticated the peer and before the peer is notified that it has a link. The answer admits
    /// the peer, declares channels for this peer, or refuses it ([`Admission`]). The handler is not
    /// called for a peer that resumes its link, nor on connecting ends.
    ///
    /// The handler runs in the task or thread of the connection, without any lock being held. It
    /// blocks that task and, on a runtime with one thread, all others: it should look something up
    /// in memory, and neither wait nor panic.
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

    /// Asks the application about a peer that wants a link; returns [`Admission::Admit`] if there
    /// is no handler ([`Setup::admit`]). Listeners call this; it is public for applications that
    /// run their own loop.
    #[must_use]
    pub fn ask(&self, peer: Option<&Peer>, address: Option<SocketAddr>) -> Admission {
        let admit = self.admit.as_ref();
        admit.map_or(Admission::Admit, |admit| {
            admit.ask(&Arrival::new(peer, address))
        })
    }

    /// Sets how many lines per minute a listener logs as warnings, at most, about connections that
    /// did not become links: for all strangers together, and for each authenticated peer;
    /// [`DEFAULT_LOG_LINES`] by default. One more line reports how many were left out, with the
    /// next line after that minute or when the listener closes. At the level `debug` all of them
    /// are logged. Lines logged with [`Listener::log`](crate::Listener::log) count too.
    #[must_use]
    pub fn log_lines(mut self, lines: usize) -> Self {
        self.log_lines = lines;
        self
    }

    /// Replaces the clock by that of a runtime. Backends call this.
    #[must_use]
    pub fn timed_by(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the declaration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns how many bytes of memory a link takes at most, with its driver and its connections,
    /// whatever its peer and its application do (`docs/limits.md`). For a link with channels
    /// declared for its peer ([`Admission::AdmitWith`]), the bound is that of a setup with these
    /// channels. Not included are handles that wait for something, receipts that are kept beyond
    /// their verdicts, and messages that were taken from an `Auto` channel.
    #[must_use]
    pub fn memory_bound(&self) -> usize {
        let channels = self.config.channels().iter();
        let receipts = channels.filter_map(|channel| match channel {
            ChannelConfig::Send(channel) => Some(Receipts::memory_bound(channel.get_queue().0)),
            ChannelConfig::Receive(_) => None,
        });
        // A connection that was replaced by the next may not be dropped yet.
        let connections = self.security.memory_bound().saturating_mul(2);
        let link = self.config.memory_bound().saturating_add(connections);
        receipts
            .fold(link, usize::saturating_add)
            .saturating_add(Shared::memory_bound(self.config.channels().len()))
    }

    /// Returns the security.
    #[must_use]
    pub fn security(&self) -> &Security {
        &self.security
    }
}
