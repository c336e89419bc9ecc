//! Two network namespaces joined by a bad network, for tests of whole processes.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Output};

use tun_rs::DeviceBuilder;

use crate::air::{Quality, carry};

/// Two machines, as far as the network goes, with a cable between them.
#[derive(Debug)]
pub struct Namespaces {
    names: [String; 2],
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
        carry(
            devices.map_err(|_| io::ErrorKind::InvalidData)?,
            quality,
            seed,
        );
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
