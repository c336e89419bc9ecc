//! Signals: the first asks for an orderly close, the second ends the program at once.

use std::io;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::exit::{Failure, Signal};

/// Whether the program was asked to stop, and by which signal.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<Option<Signal>>);

impl Stop {
    /// Handles SIGINT and SIGTERM from now on, and SIGHUP if `hangups` end the program, in a
    /// separate thread: the second signal ends the program even while everything else is blocked.
    pub(super) fn listen(hangups: bool) -> Result<Self, Failure> {
        let unheard = |error: io::Error| {
            Failure::failed("the system does not pass signals on").because(error)
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(unheard)?;
        let mut signals = {
            let _entered = runtime.enter();
            Signals::new(hangups).map_err(unheard)?
        };
        let (sender, receiver) = watch::channel(None);
        let listener = thread::Builder::new().name("signals".to_owned());
        let listening = async move {
            let first = signals.next().await;
            // The receiver may be gone.
            let _ = sender.send(Some(first));
            tracing::info!("asked to stop: closing the link; once more ends at once");
            let second = signals.next().await;
            std::process::exit(second.exit().code().into());
        };
        listener
            .spawn(move || runtime.block_on(listening))
            .map_err(unheard)?;
        Ok(Self(receiver))
    }

    /// Waits until the program is asked to stop. Cancel-safe.
    pub(super) async fn asked(&mut self) -> Signal {
        let asked = self.0.wait_for(Option::is_some).await.ok();
        match asked.and_then(|asked| *asked) {
            Some(signal) => signal,
            // The thread that takes signals is gone.
            None => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new(hangups: bool) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangups = hangups && !ignores_hangups();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: hangups.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            () = heard(&mut self.hangup) => Signal::Hangup,
        }
    }
}

/// Waits for the signal, or forever if it is not taken.
#[cfg(unix)]
async fn heard(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Returns whether the program was started to outlive its terminal, as `nohup` does. If the system
/// does not say, a pipe that ends early is better than one whose peer takes a part for the whole.
#[cfg(unix)]
fn ignores_hangups() -> bool {
    const HANGUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & HANGUP != 0)
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new(_: bool) -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            Err(_) => std::future::pending().await,
        }
    }
}
