//! Two network namespaces joined by a bad network, for tests of whole processes.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Output};

use rustix::time::{ClockId, clock_gettime};
use tun_rs::DeviceBuilder;

use crate::air::{Air, Quality};

/// Two machines, as far as the network goes, with a cable between them.
#[derive(Debug)]
pub struct Namespaces {
    names: [String; 2],
    air: Air,
}

/// The address of the first of the two.
pub const FIRST: &str = "10.99.0.1";
/// The address of the second.
pub const SECOND: &str = "10.99.0.2";
/// The names of the cable's ends, inside each.
const CABLE: &str = "cable";

impl Namespaces {
    /// Makes both and joins them. `tag`, of one letter, distinguishes pairs of one process; what
    /// the network does follows from `quality` and `seed`.
    ///
    /// # Errors
    ///
    /// Errors of the system: it takes root, `ip`, and devices for packets (tun).
    pub fn new(tag: char, quality: Quality, seed: u64) -> io::Result<Self> {
        let name = |at: usize| format!("cs-{}-{tag}-{at}", std::process::id());
        let pair = Self {
            names: [name(1), name(2)],
            air: Air::default(),
        };
        let mut devices = Vec::new();
        for (at, name) in pair.names.iter().enumerate() {
            run("ip", ["netns", "add", name])?;
            // As long as a device's name can be.
            let device = format!("cs{}{tag}{at}", std::process::id());
            let builder = DeviceBuilder::new().name(&device).enable(false);
            devices.push(builder.build_sync()?);
            run("ip", ["link", "set", &device, "netns", name, "name", CABLE])?;
            let address = format!("{}/24", [FIRST, SECOND][at]);
            pair.ip(at, &["addr", "add", &address, "dev", CABLE])?;
            pair.ip(at, &["link", "set", CABLE, "up"])?;
        }
        let devices = devices.try_into();
        let devices = devices.map_err(|_| io::ErrorKind::InvalidData)?;
        pair.air.carry(devices, quality, seed);
        Ok(pair)
    }

    fn ip(&self, at: usize, arguments: &[&str]) -> io::Result<()> {
        run("ip", [&["-n", &self.names[at]], arguments].concat())
    }

    /// Pulls the cable at one of the two, or puts it back.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    pub fn set_up(&self, at: usize, up: bool) -> io::Result<()> {
        self.ip(at, &["link", "set", CABLE, if up { "up" } else { "down" }])
    }

    /// Keeps back what comes from one of the two, or lets all of it arrive at once.
    pub fn stall(&self, from: usize, stalled: bool) {
        self.air.stall(from, stalled);
    }

    /// Returns a command that runs on one of the two machines.
    #[must_use]
    pub fn command(&self, at: usize, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[at]]);
        command.arg(program);
        command
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = run("ip", ["netns", "del", name]) {
                eprintln!("{name} is left behind: {error}");
            }
        }
    }
}

/// Returns the time by the one clock of both machines, in nanoseconds: nobody sets it, unlike the date,
/// and it is not that of one process.
#[must_use]
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap()
}

fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let Output { status, stderr, .. } = Command::new(program).args(&arguments).output()?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr);
    let line = arguments.join(" ");
    Err(io::Error::other(format!(
        "{program} {line}: {}",
        said.trim()
    )))
}
