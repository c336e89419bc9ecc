//! The server's process: it holds the acceptors' ends, counts what it handles, and tells when it is
//! asked.

use std::fmt::{self, Display};
use std::io::{BufRead, BufReader, Lines, Write, stdin, stdout};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as StdInstant};

use clap::{Args, ValueEnum};
use countersign_certs::NewIdentity;
use countersign_core::{Event, Instant};
use countersign_tokio::{Config, Fingerprint, Limits, ReceiveChannel, Security, Setup};
use own_loop::{LinksEvent, OwnLoop};

use super::process::{Usage, raise_file_limit};
use super::{CHANNEL, runtime, security};
use crate::peers::Failure;

/// What holds the server's ends.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ServerKind {
    /// countersign-tokio, on a runtime with two threads
    Tokio,
    /// countersign-std, with two threads for each link: its own and the application's
    Std,
    /// The example of a loop of one's own, with one thread for all
    OwnLoop,
}

impl Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ServerKind::Tokio => "tokio",
            ServerKind::Std => "std",
            ServerKind::OwnLoop => "own-loop",
        })
    }
}

/// What the server's process has to know
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// What holds the links
    #[arg(long, value_enum)]
    server: ServerKind,

    /// How many there will be
    #[arg(long)]
    links: usize,

    /// The clients' key
    #[arg(long)]
    pin: Fingerprint,
}

/// What the server counts.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    ended: AtomicU64,
    messages: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the server has used and counted so far.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) resident: u64,
    pub(super) cpu: Duration,
    pub(super) switches: u64,
    pub(super) accepted: u64,
    pub(super) ended: u64,
    pub(super) messages: u64,
}

impl Sample {
    fn take(counts: &Counts) -> Result<Self, Failure> {
        let usage = Usage::now()?;
        Ok(Self {
            resident: usage.resident,
            cpu: usage.cpu,
            switches: usage.switches,
            accepted: counts.accepted.load(Ordering::Relaxed),
            ended: counts.ended.load(Ordering::Relaxed),
            messages: counts.messages.load(Ordering::Relaxed),
        })
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ').map(str::parse);
        let mut next = || fields.next()?.ok();
        Some(Self {
            resident: next()?,
            cpu: Duration::from_micros(next()?),
            switches: next()?,
            accepted: next()?,
            ended: next()?,
            messages: next()?,
        })
    }
}

impl Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {} {}",
            self.resident,
            self.cpu.as_micros(),
            self.switches,
            self.accepted,
            self.ended,
            self.messages
        )
    }
}

/// The server's process, as its parent sees it. It ends with its input.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) fingerprint: Fingerprint,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Server {
    pub(super) fn start(kind: ServerKind, links: usize, pin: Fingerprint) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["crowd-server", "--server", &kind.to_string()])
            .args(["--links", &links.to_string(), "--pin", &pin.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let asks = child.stdin.take().ok_or("no input")?;
        let answers = child.stdout.take().ok_or("no output")?;
        let mut answers = BufReader::new(answers).lines();
        let first = answers.next().ok_or("the server did not start")??;
        let (address, fingerprint) = first.split_once(' ').ok_or("no address")?;
        Ok(Self {
            address: address.parse()?,
            fingerprint: fingerprint.parse()?,
            asks,
            answers,
            child,
        })
    }

    /// What it has used and counted so far.
    pub(super) fn sample(&mut self) -> Result<Sample, Failure> {
        writeln!(self.asks, "sample")?;
        let line = self.answers.next().ok_or("the server is gone")??;
        Ok(Sample::parse(&line).ok_or(line)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Then it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs as the server's process.
pub(super) fn run(args: &ServerArgs) -> Result<(), Failure> {
    raise_file_limit(args.links)?;
    let identity = NewIdentity::new("server").generate()?;
    let config = Config::new().channel(ReceiveChannel::new(CHANNEL));
    let security = security(&identity, args.pin)?;
    // All come from one address.
    let limits = Limits {
        links: args.links,
        per_address: args.links,
        ..Limits::default()
    };
    let counts = Arc::new(Counts::default());
    let setup = Setup::new(config.clone(), security.clone())?;
    let runtime = runtime()?;
    let address = match args.server {
        ServerKind::Tokio => runtime.block_on(on_tokio(setup, limits, counts.clone()))?,
        ServerKind::Std => on_std(setup, limits, counts.clone())?,
        ServerKind::OwnLoop => on_own_loop(&config, &security, limits, counts.clone())?,
    };
    let mut out = stdout();
    writeln!(out, "{address} {}", identity.fingerprint())?;
    for line in stdin().lines() {
        line?;
        writeln!(out, "{}", Sample::take(&counts)?)?;
    }
    Ok(())
}

async fn on_tokio(
    setup: Setup,
    limits: Limits,
    counts: Arc<Counts>,
) -> Result<SocketAddr, Failure> {
    let listener = countersign_tokio::listen_with("127.0.0.1:0", setup, limits).await?;
    let address = listener.local_addr();
    tokio::spawn(async move {
        while let Ok(link) = listener.accept().await {
            Counts::add(&counts.accepted);
            let counts = counts.clone();
            tokio::spawn(async move {
                if let Ok(mut receiver) = link.receiver(CHANNEL) {
                    while let Ok(Some(_)) = receiver.recv().await {
                        Counts::add(&counts.messages);
                    }
                }
                Counts::add(&counts.ended);
            });
        }
    });
    Ok(address)
}

fn on_std(setup: Setup, limits: Limits, counts: Arc<Counts>) -> Result<SocketAddr, Failure> {
    let listener = countersign_std::listen_with("127.0.0.1:0", setup, limits)?;
    let address = listener.local_addr();
    std::thread::spawn(move || {
        while let Ok(link) = listener.accept() {
            Counts::add(&counts.accepted);
            let counts = counts.clone();
            std::thread::spawn(move || {
                if let Ok(mut receiver) = link.receiver(CHANNEL) {
                    while let Ok(Some(_)) = receiver.recv() {
                        Counts::add(&counts.messages);
                    }
                }
                Counts::add(&counts.ended);
            });
        }
    });
    Ok(address)
}

fn on_own_loop(
    config: &Config,
    security: &Security,
    limits: Limits,
    counts: Arc<Counts>,
) -> Result<SocketAddr, Failure> {
    let mut own_loop = OwnLoop::new()?;
    let listener = own_loop.listen("127.0.0.1:0".parse()?, config, security, limits)?;
    let address = own_loop.address(listener).ok_or("listens nowhere")?;
    std::thread::spawn(move || {
        if let Err(failure) = run_own_loop(own_loop, &counts) {
            eprintln!("error: {failure}");
        }
    });
    Ok(address)
}

fn run_own_loop(mut links: OwnLoop, counts: &Counts) -> Result<(), Failure> {
    let begun = StdInstant::now();
    let clock = || Instant::ZERO + begun.elapsed();
    let mut events = Vec::new();
    loop {
        links.service(clock, &mut events)?;
        let now = clock();
        for event in events.drain(..) {
            match event {
                LinksEvent::Accepted { link, .. } => {
                    let _accepted = links.link_mut(link);
                    Counts::add(&counts.accepted);
                }
                LinksEvent::Event {
                    link,
                    event: Event::Readable(channel),
                } => {
                    let link = links.link_mut(link).ok_or("no such link")?;
                    while link.take(now, channel)?.is_some() {
                        Counts::add(&counts.messages);
                    }
                }
                LinksEvent::Ended { link, .. } => {
                    Counts::add(&counts.ended);
                    links.forget(now, link);
                }
                _ => {}
            }
        }
        let deadline = links.deadline();
        links.wait(deadline.map(|deadline| deadline.saturating_since(clock())))?;
    }
}
