//! Whatever a peer and an application do, a link takes no more memory than its declaration says
//! ([`Config::memory_bound`], `docs/limits.md`): attacks that were thought of, and drawn ones.
//!
//! `PROPTEST_CASES` sets how many sequences are drawn for each declaration.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod attacks;
mod drawn;
mod ledger;
mod shapes;
mod stream;
mod world;

use self::attacks::{ATTACKS, Scale};
use self::world::{Op, World};
use crate::turn;
use countersign_core::{Config, Role};

/// Plays `ops` against a link of this declaration; the most that it took.
fn play(config: &Config, role: Role, ops: &[Op]) -> usize {
    let mut world = World::new(config, role);
    for op in ops {
        world.apply(op);
    }
    world.most()
}

#[test]
fn no_link_takes_more_than_its_declaration_says() {
    let _turn = turn();
    for (name, config, scale) in shapes::shapes() {
        attack(name, &config, scale);
    }
    stream::run();
    for (name, config, scale) in shapes::shapes() {
        if scale.messages <= shapes::FEW {
            drawn::run(name, &config, scale);
        }
    }
}

/// The bound holds against every attack, and means something: the worst comes near it.
fn attack(name: &str, config: &Config, scale: Scale) {
    let bound = config.memory_bound();
    let mut worst = (0, "");
    for role in [Role::Acceptor, Role::Opener] {
        for (attack, ops) in ATTACKS {
            let most = play(config, role, &ops(scale));
            assert!(
                most <= bound,
                "{name}: {attack} took {most} of {bound} bytes, as {role:?}"
            );
            worst = worst.max((most, attack));
        }
    }
    let (most, attack) = worst;
    println!("{name}: {attack} took {most} of {bound} bytes");
    assert!(most >= bound / 3, "{name}: {attack} took {most} of {bound}");
}
