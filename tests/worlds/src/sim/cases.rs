//! Names of runs in which a connection is cut, or an end crashes, at one place of many.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::plan::{ACCEPTOR, Crash, Cut, Keys, Learn, OPENER, Plan};
use super::scenarios;

const ENDS: [&str; 2] = ["opener", "acceptor"];
/// Which ends' links end with their session, where any do.
const SINGLE: [([bool; 2], &str); 3] = [
    ([true, false], "opener"),
    ([false, true], "acceptor"),
    ([true, true], "both"),
];

/// A scenario and what goes wrong in it, in a form that can be parsed:
/// `close/tls/opener:120:Both/acceptor:7:End` is cut behind the opener's byte 120, then, on the
/// next connection, behind the acceptor's byte 7; in `acks/plain/crash:acceptor:31:told` the
/// acceptor loses its state after 31 steps; in `acks/tls/single:both/...` both ends' links end with
/// their session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The scenario's name.
    pub scenario: String,
    /// Over TLS.
    pub tls: bool,
    /// Which ends' links end with their session.
    pub single: [bool; 2],
    /// Whose bytes are counted, how many pass, and which ends learn of the cut; by connection.
    pub cuts: Vec<(usize, u64, Learn)>,
    /// Which end crashes, after how many steps, and whether the other end learns of it.
    pub crash: Option<(usize, u64, bool)>,
}

impl Case {
    /// Returns a scenario in which nothing goes wrong yet.
    #[must_use]
    pub fn new(scenario: &str, tls: bool) -> Self {
        Self {
            scenario: scenario.to_owned(),
            tls,
            single: [false; 2],
            cuts: Vec::new(),
            crash: None,
        }
    }

    /// Returns the plan; `keys` are for TLS.
    ///
    /// # Panics
    ///
    /// If there is no such scenario.
    #[must_use]
    pub fn plan(&self, keys: &Keys) -> Plan {
        let mut all = scenarios::all().into_iter();
        let found = all.find(|scenario| scenario.name == self.scenario);
        let mut plan = found.expect("a scenario of this name").plan;
        plan.keys = self.tls.then(|| keys.clone());
        plan.single = self.single;
        for (connection, (from, after, learn)) in self.cuts.iter().copied().enumerate() {
            plan.cuts.push(Cut {
                connection,
                from,
                after,
                learn,
            });
        }
        if let Some((end, step, told)) = self.crash {
            plan.crash = Some(Crash { step, end, told });
            plan.lasting = false;
            // Many small steps, each of them at a different time.
            plan.net.piece = 24;
            plan.net.rate = Some(24);
            for timeouts in &mut plan.timeouts {
                timeouts.retain = Duration::from_secs(20);
            }
        }
        plan
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let security = if self.tls { "tls" } else { "plain" };
        write!(f, "{}/{security}", self.scenario)?;
        let mut single = SINGLE.iter().filter(|(which, _)| *which == self.single);
        if let Some((_, which)) = single.next() {
            write!(f, "/single:{which}")?;
        }
        for (from, after, learn) in &self.cuts {
            write!(f, "/{}:{after}:{learn:?}", ENDS[*from])?;
        }
        if let Some((end, step, told)) = self.crash {
            let told = if told { "told" } else { "untold" };
            write!(f, "/crash:{}:{step}:{told}", ENDS[end])?;
        }
        Ok(())
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not the name of a run");
        let mut parts = text.split('/');
        let scenario = parts.next().ok_or_else(wrong)?;
        let tls = match parts.next() {
            Some("tls") => true,
            Some("plain") => false,
            _ => return Err(wrong()),
        };
        let mut case = Self::new(scenario, tls);
        let end = |name: &str| match name {
            "opener" => Ok(OPENER),
            "acceptor" => Ok(ACCEPTOR),
            _ => Err(wrong()),
        };
        let number = |figure: &str| figure.parse::<u64>().map_err(|_| wrong());
        for part in parts {
            match part.split(':').collect::<Vec<_>>()[..] {
                ["single", which] => {
                    let mut all = SINGLE.iter().filter(|(_, name)| *name == which);
                    (case.single, _) = *all.next().ok_or_else(wrong)?;
                }
                ["crash", who, step, told] => {
                    case.crash = Some((end(who)?, number(step)?, told == "told"));
                }
                [who, after, learn] => {
                    let mut all = Learn::ALL.into_iter();
                    let learn = all.find(|one| format!("{one:?}") == learn);
                    let learn = learn.ok_or_else(wrong)?;
                    case.cuts.push((end(who)?, number(after)?, learn));
                }
                _ => return Err(wrong()),
            }
        }
        Ok(case)
    }
}
