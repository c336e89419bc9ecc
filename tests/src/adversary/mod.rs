//! Hostile peers against every backend, over real sockets.
//!
//! A scenario is written once, against a [`Victim`]: a backend at one of the two ends of a link.
//! The [`Stage`] holds the victim's listener, or what it connects to, and a [bystander](Bystander),
//! an honest link of the same backend and, where the victim accepts, of the same listener, over
//! which messages go all the while. The attacker is a [`Hostile`]: a plain blocking socket in a
//! separate thread, with its own TLS if it wants, which knows nothing of any backend.
//!
//! What a scenario shows is what the victim reports, what the attacker [sees](Seen), and that the
//! bystander goes on during the attack. No scenario looks at a clock: the watchdog bounds them.
//!
//! [`all`] lists the attacks as data. `tests/suites.rs` makes a test of each for each backend,
//! called `adversaries::backend::server::scenario` or `adversaries::backend::client::scenario` for
//! the end that is attacked. `docs/adversaries.md` has a line for each, which a test checks.

mod anybody;
mod by_hand;
mod bystander;
mod honest;
mod hostile;
pub mod scenarios;
mod stage;
mod tls;

use countersign_core::Role;

pub use by_hand::ByHand;
pub use bystander::Bystander;
pub use honest::{Words, ack, fragments, frame, message, read};
pub use hostile::{Hostile, Seen, records};
pub use stage::{Stage, Terms, Victim};
pub use tls::{CAST, Cast, Disguise};

use self::scenarios::Scenario;
use crate::backends::tried_backends;
use crate::harness::{Trial, trial};
use crate::watch_as;

/// A scenario as an attack on one of the ends that it attacks.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// The victim's role.
    pub victim: Role,
    /// What is done to it.
    pub scenario: &'static Scenario,
}

/// Returns every attack.
pub fn all() -> impl Iterator<Item = Attack> {
    [Role::Acceptor, Role::Opener]
        .into_iter()
        .flat_map(|victim| {
            let attacks =
                scenarios::all().filter(move |scenario| scenario.places.contains(&victim));
            attacks.map(move |scenario| Attack { victim, scenario })
        })
}

impl Attack {
    /// Returns its name among all, `server::scenario` or `client::scenario`.
    #[must_use]
    pub fn path(&self) -> String {
        let end = match self.victim {
            Role::Acceptor => "server",
            Role::Opener => "client",
        };
        format!("{end}::{}", self.scenario.name)
    }
}

/// A test of each scenario for each backend.
#[must_use]
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for entry in tried_backends("hostile peers") {
        for attack in all() {
            let path = attack.path();
            if entry.cannot(&path).is_some() {
                continue;
            }
            let victim = Victim::new(entry.backend, attack.victim);
            let run = attack.scenario.run;
            let name = format!("adversaries::{}::{path}", entry.name);
            trials.push(trial(name, move |name| {
                watch_as(name, move || run(&victim));
            }));
        }
    }
    trials
}
