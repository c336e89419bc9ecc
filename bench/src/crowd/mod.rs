//! Many links at one end: what they cost a server while they are idle, and what it does for those
//! that are busy.
//!
//! The server is a process of its own, so that its memory and its processor time are not mixed with
//! the clients'. Both run on the same machine, over loopback, with mutual TLS.

mod clients;
mod process;
mod server;

use std::time::{Duration, Instant};

use clap::Args;
use countersign_certs::{GeneratedIdentity, NewIdentity};
use countersign_tokio::{Config, Fingerprint, Identity, Security, Setup};
use tokio::runtime::{Builder, Runtime};

use crate::peers::Failure;
use clients::Clients;
use server::{Sample, Server};
pub(crate) use server::{ServerArgs, ServerKind};

/// The name of the one channel.
const CHANNEL: &str = "messages";
/// The threads of the server's runtime, and of the clients'.
const THREADS: usize = 2;

/// Holds many idle links and some busy ones, and prints what they cost the server
#[derive(Debug, Args)]
pub(crate) struct CrowdArgs {
    /// What holds the server's ends
    #[arg(long, value_enum, default_value_t = ServerKind::Tokio)]
    server: ServerKind,

    /// How many links are idle
    #[arg(long, default_value_t = 5000)]
    idle: usize,

    /// How many links carry messages
    #[arg(long, default_value_t = 500)]
    busy: usize,

    /// How many messages a second each busy link carries, before all go as fast as they can
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// The size of a message in bytes
    #[arg(long, default_value_t = 1024)]
    size: usize,

    /// How long each stage takes, in seconds: all idle, paced, as fast as they can, all idle again
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// Holds idle links, and prints what that costs the server
#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    /// What holds the server's ends
    #[arg(long, value_enum, default_value_t = ServerKind::Tokio)]
    server: ServerKind,

    /// How many links there are
    #[arg(long, default_value_t = 1000)]
    links: usize,

    /// How long they are idle, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// The server's process.
pub(crate) fn serve(args: &ServerArgs) -> Result<(), Failure> {
    server::run(args)
}

/// A crowd: its server, its clients, and what the server used before they came.
struct Crowd {
    runtime: Runtime,
    server: Server,
    clients: Clients,
    empty: Sample,
}

impl Crowd {
    fn gather(kind: ServerKind, links: usize) -> Result<Self, Failure> {
        process::raise_file_limit(links)?;
        let identity = NewIdentity::new("client").generate()?;
        let mut server = Server::start(kind, links, identity.fingerprint())?;
        let setup = Setup::new(clients::config(), security(&identity, server.fingerprint)?)?;
        let runtime = runtime()?;
        let empty = server.sample()?;
        let clients = runtime.block_on(Clients::connect(server.address, &setup, links))?;
        Ok(Self {
            runtime,
            server,
            clients,
            empty,
        })
    }

    /// Lets time pass, and tells what the server used.
    fn wait(&mut self, duration: Duration) -> Result<Stage, Failure> {
        let before = self.server.sample()?;
        let start = Instant::now();
        std::thread::sleep(duration);
        self.stage(&before, start)
    }

    fn stage(&mut self, before: &Sample, start: Instant) -> Result<Stage, Failure> {
        let took = start.elapsed();
        let after = self.server.sample()?;
        Ok(Stage {
            resident: after.resident,
            cpu: (after.cpu - before.cpu).as_secs_f64() / took.as_secs_f64(),
            switches: (after.switches - before.switches) as f64 / took.as_secs_f64(),
            messages: after.messages - before.messages,
            took,
        })
    }

    /// How many bytes of memory there are for each link.
    fn each(&self, resident: u64) -> String {
        let more = resident.saturating_sub(self.empty.resident) as f64;
        format!("{:.1} KiB", more / self.clients.count() as f64 / 1024.0)
    }

    /// Fails if any link was lost, even if it came back.
    fn check(&mut self) -> Result<(), Failure> {
        let lost = self.clients.lost();
        let sample = self.server.sample()?;
        let up = self.clients.count() as u64;
        if lost > 0 || sample.ended > 0 || sample.accepted != up {
            return Err(format!(
                "{lost} links were lost at the clients; the server has accepted {} of {up}, and {} ended",
                sample.accepted, sample.ended
            )
            .into());
        }
        Ok(())
    }
}

/// What the server used during a stage.
struct Stage {
    /// In bytes, at its end.
    resident: u64,
    /// As a share of one core.
    cpu: f64,
    /// How many times a second a thread woke up.
    switches: f64,
    /// How many messages were handled.
    messages: u64,
    took: Duration,
}

impl Stage {
    fn rate(&self) -> f64 {
        self.messages as f64 / self.took.as_secs_f64()
    }
}

/// Runs `crowd`.
pub(crate) fn crowd(args: &CrowdArgs) -> Result<(), Failure> {
    let busy = args.busy;
    let duration = Duration::from_secs(args.seconds);
    let mut crowd = Crowd::gather(args.server, args.idle + busy)?;
    println!(
        "| {} idle and {busy} busy links, {} | |\n|---|---:|",
        args.idle, args.server
    );
    let [total, median, p99] = crowd.clients.times();
    row("all connected after", format!("{total:.2?}"));
    row(
        "connecting one, median and p99",
        format!("{median:.1?}, {p99:.1?}"),
    );
    row(
        "resident memory of the empty server",
        mebibytes(crowd.empty.resident),
    );
    let stands = crowd.server.sample()?.resident;
    row("for each link, once all stand", crowd.each(stands));

    let idle = crowd.wait(duration)?;
    row("for each link, idle for a while", crowd.each(idle.resident));
    row("all idle: processor time of the server", percent(idle.cpu));

    let before = crowd.server.sample()?;
    let start = Instant::now();
    let pacing = crowd.clients.paced(busy, args.rate, args.size, duration);
    let (sent, times) = crowd.runtime.block_on(pacing)?;
    let paced = crowd.stage(&before, start)?;
    check_count(sent, paced.messages)?;
    row("paced: messages handled", format!("{:.0} /s", paced.rate()));
    row(
        "from send to verdict, median and p99",
        format!("{:.1?}, {:.1?}", times[0], times[1]),
    );
    row("processor time of the server", percent(paced.cpu));

    let before = crowd.server.sample()?;
    let start = Instant::now();
    let flooding = crowd.clients.flooding(busy, args.size, duration);
    let sent = crowd.runtime.block_on(flooding)?;
    let flooded = crowd.stage(&before, start)?;
    check_count(sent, flooded.messages)?;
    row(
        "as fast as they can: messages handled",
        format!("{:.0} /s", flooded.rate()),
    );
    row("processor time of the server", percent(flooded.cpu));
    row(
        "for each link, right after that",
        crowd.each(flooded.resident),
    );
    let idle = crowd.wait(duration)?;
    row("for each link, idle again", crowd.each(idle.resident));
    crowd.check()?;
    row("links lost", "0");
    Ok(())
}

/// Runs `idle`.
pub(crate) fn idle(args: &IdleArgs) -> Result<(), Failure> {
    let mut crowd = Crowd::gather(args.server, args.links)?;
    // What connecting has left to do is not part of being idle.
    std::thread::sleep(Duration::from_secs(1));
    let idle = crowd.wait(Duration::from_secs(args.seconds))?;
    crowd.check()?;
    println!(
        "| {} idle links for {} s, {} | |\n|---|---:|",
        args.links, args.seconds, args.server
    );
    let ping = Config::new().get_timeouts().ping;
    row("ping after a silence of", format!("{ping:?}"));
    row("processor time of the server", percent(idle.cpu));
    row("its threads woke up", format!("{:.0} /s", idle.switches));
    let each = idle.switches * idle.took.as_secs_f64() / args.links as f64;
    row("for each link, in all that time", format!("{each:.1}"));
    row("resident memory for each link", crowd.each(idle.resident));
    row("links lost", "0");
    Ok(())
}

fn check_count(sent: u64, handled: u64) -> Result<(), Failure> {
    if sent != handled {
        return Err(format!("{sent} messages were sent, {handled} handled").into());
    }
    Ok(())
}

fn row(what: &str, figure: impl std::fmt::Display) {
    println!("| {what} | {figure} |");
}

fn percent(share: f64) -> String {
    format!("{:.1} % of a core", share * 100.0)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn security(own: &GeneratedIdentity, peer: Fingerprint) -> Result<Security, Failure> {
    let identity = Identity::from_der(own.certificate_der(), own.key_der())?;
    Ok(Security::tls(identity, peer).build()?)
}

fn runtime() -> Result<Runtime, Failure> {
    let mut builder = Builder::new_multi_thread();
    Ok(builder.worker_threads(THREADS).enable_all().build()?)
}
