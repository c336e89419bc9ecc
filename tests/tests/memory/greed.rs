//! What each attack costs: hostile peers against every backend, in one scenario after the other,
//! take no more memory than a link that declares little, whatever they claim, send and leave
//! unread, and what they took is freed. `floods.rs` counts those that come in crowds.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use countersign_core::Role;
use countersign_driver::Setup;
use countersign_tests::adversary::scenarios::greedy;
use countersign_tests::adversary::{self, Attack, CAST, Victim};
use countersign_tests::backends::{BACKENDS, Entry};
use countersign_tests::pair::tls;
use countersign_tests::size::{Size, leaves_out};
use countersign_tests::watch;

use crate::{MEMORY, in_turn};

/// What the attacker sends, a megabyte in one piece at most, with its TLS; the bystander's two
/// ends, each with one short message under way; and what the runtime's threads keep.
const BESIDE: usize = 3 << 19;

/// What the victim's link may take by the declaration with which it meets greedy peers: one that
/// sends or one that receives, whichever is more. Where an attack is about something else the
/// victim declares much more, by default, and must not take more all the same.
fn bound(victim: &Victim) -> usize {
    let of = |victim: Victim| {
        let security = tls(&CAST.victim, CAST.peer.fingerprint());
        let setup = Setup::new(greedy::terms(&victim).config, security);
        setup.unwrap().memory_bound()
    };
    of(victim.sending()).max(of(victim.receiving())) + BESIDE
}

/// The scenarios that are counted here, for this backend.
fn counted(entry: &'static Entry) -> impl Iterator<Item = Attack> {
    adversary::all().filter(|attack| {
        let module = attack.scenario.module();
        let left_out = ["resumes", "revoked", "stalls", "truncation"].contains(&module);
        let left_out = left_out && Size::get() == Size::Part;
        module != "floods" && !left_out && entry.cannot(&attack.path()).is_none()
    })
}

/// The most that was allocated at once while this ran, beyond what was before.
fn peak(run: fn(&Victim), victim: Victim) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    watch(move || run(&victim));
    MEMORY.peak_usage().saturating_sub(before)
}

#[test]
fn no_attack_takes_more_than_a_small_link() {
    in_turn(|| {
        let mut worst = (0, String::new());
        let mut most = 0;
        // What is counted is mostly the core's and the endpoint's.
        let part =
            leaves_out("the memory of attacks on other backends than tokio, and of many on tokio");
        for entry in BACKENDS
            .iter()
            .filter(|entry| !part || entry.name == "tokio")
        {
            let victim = |role| Victim::new(entry.backend, role);
            most = bound(&victim(Role::Acceptor)).max(bound(&victim(Role::Opener)));
            // What is made once and stays: runtimes, their threads, all identities.
            let pings = |attack: &Attack| attack.path() == "server::pings_without_reading";
            let first = adversary::all().find(pings).expect("it is registered");
            peak(first.scenario.run, victim(first.victim));
            let before = MEMORY.current_usage();
            let mut attacks = 0;
            for attack in counted(entry) {
                let path = format!("{}::{}", entry.name, attack.path());
                let took = peak(attack.scenario.run, victim(attack.victim));
                assert!(took <= most, "{path}: {took} of {most} bytes");
                worst = worst.max((took, path));
                attacks += 1;
            }
            assert!(attacks > if part { 40 } else { 70 }, "{attacks} attacks");
            let kept = MEMORY.current_usage().saturating_sub(before);
            assert!(kept <= BESIDE, "{}: {kept} bytes are left", entry.name);
        }
        let (took, path) = worst;
        println!("{path} took {took} of {most} bytes");
        // So that the bound means something.
        assert!(took >= most / 3, "{took} of {most} bytes");
    });
}
