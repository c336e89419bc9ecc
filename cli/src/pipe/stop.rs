//! Signals: the first asks to close in order, the second ends the program at once.

use std::io;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::exit::{Exit, Failure};

/// Knows whether the program was asked to stop.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Takes SIGINT and SIGTERM from now on, in a thread of its own: the second ends the program also
    /// while everything else waits for something that does not come.
    pub(super) fn listen() -> Result<Self, Failure> {
        let unheard = |error: io::Error| {
            Failure::failed("the system does not pass signals on").because(error)
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(unheard)?;
        let mut signals = {
            let _entered = runtime.enter();
            Signals::new().map_err(unheard)?
        };
        let (sender, receiver) = watch::channel(false);
        let listener = thread::Builder::new().name("signals".to_owned());
        let listening = async move {
            signals.next().await;
            // Nobody may care any more.
            let _ = sender.send(true);
            tracing::info!("asked to stop: closing in order; once more ends at once");
            signals.next().await;
            std::process::exit(Exit::Failed.code().into());
        };
        listener
            .spawn(move || runtime.block_on(listening))
            .map_err(unheard)?;
        Ok(Self(receiver))
    }

    /// Waits until the program is asked to stop. Cancel-safe.
    pub(super) async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // Nobody listens for it any more.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
