//! Hostile peers against every backend, over real sockets.
//!
//! A scenario is written once, against a [`Victim`]: a backend at one of the two ends of a link.
//! The [`Stage`] holds the victim's listener, or what it connects to, and a [bystander](Bystander),
//! an honest link of the same backend and, where the victim accepts, of the same listener, over
//! which messages go all the while. The attacker is a [`Hostile`]: a plain blocking socket in a
//! thread of its own, with TLS of its own if it wants, which knows nothing of any backend.
//!
//! What a scenario shows is what the victim reports, what the attacker [sees](Seen), and that the
//! bystander goes on while the attacker is there. No scenario looks at a clock: the watchdog bounds
//! them.
//!
//! [`scenarios`](all) lists the scenarios as data. `tests/suites.rs` makes a test of each for
//! each backend, called `adversaries::backend::server::scenario` or `adversaries::backend::client::scenario` for the end that
//! is attacked. `docs/verification.md` has a line for each, which a test checks.

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

use crate::backends::BACKENDS;
use crate::harness::{Trial, trial};
use crate::watch_as;

/// A scenario, and which end it attacks.
#[derive(Debug)]
pub struct Scenario {
    /// The victim's role.
    pub victim: Role,
    /// The module in [`mod@scenarios`],
    pub module: &'static str,
    /// and the function there.
    pub name: &'static str,
    /// The scenario itself.
    pub run: fn(&Victim),
}

/// The scenarios of a list, by the module that they are in, as attacks on an end.
macro_rules! list {
    ($role:expr; $($module:ident { $($name:ident,)* })*) => {
        [$($(
            Scenario {
                victim: $role,
                module: stringify!($module),
                name: stringify!($name),
                run: scenarios::$module::$name,
            },
        )*)*].into_iter()
    };
}

/// Attacks on either end.
fn on_both(role: Role) -> impl Iterator<Item = Scenario> {
    list! { role;
        strangers {
            http,
            noise,
            frames_in_plain_text,
        }
        certificates {
            tls_1_2,
            no_certificate,
            unpinned,
            without_its_key,
            expired,
            not_yet_valid,
            another_protocol,
            no_protocol,
        }
        stalls {
            stalls_after_each_flight,
            drips_a_record,
            drips_a_greeting,
            talks_on_when_refused,
        }
        truncation {
            ends_at_every_record,
            closes_at_every_record,
            resets_at_every_record,
        }
        figures {
            goes_on_after_every_record,
            goes_on_from_any_byte,
            claims_that_cant_be,
        }
        violations {
            frames_out_of_place,
            enormous_greetings,
            tlsstream_violations,
            messages_that_cant_be,
            answers_that_cant_be,
            handled_goes_backwards,
        }
        handmade {
            empty_records,
            goes_on_after_close_notify,
        }
        revoked {
            revoked_reads_nothing,
            revoked_floods_on,
            revoked_stays,
            revoked_comes_again,
            revoked_while_away,
            revoked_before_it_greets,
        }
        greedy {
            empty_messages,
            empty_messages_without_end,
            fragments_without_an_end,
            pings_without_reading,
            nothing_is_read,
            windows_without_a_bound,
        }
    }
}

/// Attacks on an end that accepts.
fn on_acceptors() -> impl Iterator<Item = Scenario> {
    list! { Role::Acceptor;
        floods {
            half_open_from_one_address,
            half_open_from_many_addresses,
            connections_from_one_address,
        }
        sessions {
            session_of_another,
            recorded_hello,
            recorded_ciphertext,
        }
    }
}

/// Attacks on an end that connects.
fn on_openers() -> impl Iterator<Item = Scenario> {
    list! { Role::Opener;
        certificates {
            tls_1_2_unasked,
            does_not_ask,
        }
        resumes {
            answers_with_another_session,
            denies_the_session,
            another_is_in_its_place,
            recorded_welcome,
            recorded_messages,
            recorded_server,
        }
    }
}

/// Every scenario.
pub fn all() -> impl Iterator<Item = Scenario> {
    let acceptors = on_both(Role::Acceptor).chain(on_acceptors());
    acceptors.chain(on_both(Role::Opener)).chain(on_openers())
}

impl Scenario {
    /// The scenario's name among all, `server::scenario` or `client::scenario`.
    #[must_use]
    pub fn path(&self) -> String {
        let end = match self.victim {
            Role::Acceptor => "server",
            Role::Opener => "client",
        };
        format!("{end}::{}", self.name)
    }
}

/// A test of each scenario for each backend.
#[must_use]
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for entry in BACKENDS {
        for scenario in all() {
            let path = scenario.path();
            if entry.cannot(&path).is_some() {
                continue;
            }
            let victim = Victim::new(entry.backend, scenario.victim);
            let run = scenario.run;
            let name = format!("adversaries::{}::{path}", entry.name);
            trials.push(trial(name, move |name| {
                watch_as(name, move || run(&victim));
            }));
        }
    }
    trials
}
