//! An endpoint whose peer has proved to be the pinned one, and is hostile all the same: any
//! records inside its encryption, and any frames inside those. In plain text too.
//!
//! Input: a declaration, then steps. A step of zeros is one of an honest peer, so inputs get far.

use arbitrary::{Result, Unstructured};
use countersign_core::{ChannelId, CloseMode, Dialect, Role};

use crate::memory::bounded;
use crate::session::Peer;
use crate::subject::{Case, Moment, Seen, same};
use crate::tls::{Honest, Keys, Victim, records, security};

/// What TLS and the test take beyond what the limits promise, in bytes.
const PROMISE: usize = 600_000;
/// Content types of records.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// Tries one input whole, byte by byte, and in pieces.
pub fn check(input: &[u8]) {
    let mut drawn = Unstructured::new(input);
    let Ok(plain) = drawn.arbitrary::<u8>() else {
        return;
    };
    let Ok(case) = Case::draw(&mut drawn) else {
        return;
    };
    let plain = plain & 3 == 3;
    let rest = drawn.take_rest();
    // What is made once is not held by a call.
    security(plain);
    let run = |cut, seen| run(&case, plain, Unstructured::new(rest), cut, seen);
    let whole = bounded(case.promise + PROMISE, || run(0, Seen::default()));
    same(&whole, &[1, case.cut], run);
}

fn run(case: &Case, plain: bool, mut input: Unstructured<'_>, cut: usize, seen: Seen) -> Seen {
    let victim = Victim::new(security(plain), &case.config, case.role, cut, seen);
    let mut table = Table::new(case, victim, plain);
    // Out of input, zeros are drawn: nothing that a step does can fail.
    let _ = table.greet(&mut input);
    while !input.is_empty() {
        let _ = table.step(&mut input);
    }
    table.victim.finish()
}

/// Both ends and what is between them.
struct Table {
    victim: Victim,
    peer: Peer,
    /// The peer's keys, and those of the end under test as long as the peer can read it; none in
    /// plain text.
    keys: Option<(Keys, Option<Keys>)>,
    /// The last record.
    last: Vec<u8>,
}

impl Table {
    /// With the handshake done.
    fn new(case: &Case, mut victim: Victim, plain: bool) -> Self {
        victim.settle();
        let (mut rest, mut keys) = (Vec::new(), None);
        if !plain {
            let mut honest = Honest::opposite(case.role);
            let mut written = victim.take_written();
            while honest.is_shaking() || !victim.is_secured() {
                rest.clear();
                for record in records(&written) {
                    if honest.is_shaking() {
                        honest.receive(record);
                    } else {
                        rest.extend_from_slice(record);
                    }
                }
                victim.receive(&honest.say());
                victim.settle();
                written = victim.take_written();
                assert!(victim.is_well(), "an honest handshake");
            }
            rest.append(&mut written);
            let ours = |name| honest.keys(name).expect("the handshake is done");
            let (client, server) = (
                ours("CLIENT_TRAFFIC_SECRET_0"),
                ours("SERVER_TRAFFIC_SECRET_0"),
            );
            keys = Some(match case.role {
                Role::Acceptor => (client, Some(server)),
                Role::Opener => (server, Some(client)),
            });
        }
        let mut peer = Peer::new(case);
        peer.begin();
        let mut table = Self {
            victim,
            peer,
            keys,
            last: Vec::new(),
        };
        table.read(&rest);
        table
    }

    fn greet(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        if self.peer.dialect() == Dialect::Countersign {
            let greeting = self.peer.greeting(self.victim.now, input)?;
            self.say(DATA, &greeting, 0, 0);
        }
        self.settle();
        Ok(())
    }

    fn settle(&mut self) {
        self.victim.settle();
        let written = self.victim.take_written();
        self.read(&written);
    }

    /// What the end under test writes must be frames, and in order, whatever it reads.
    fn read(&mut self, written: &[u8]) {
        // What of the peer's words has come through is not known here.
        let moment = Moment {
            now: self.victim.now,
            heard: None,
            timed: true,
            paced: self.victim.link.config().get_latency_budget().is_some(),
        };
        let Some((_, theirs)) = &mut self.keys else {
            return self.peer.read(&moment, written);
        };
        for record in records(written) {
            let Some(keys) = theirs else {
                return;
            };
            match keys.open(record) {
                Some((DATA, data)) => self.peer.read(&moment, &data),
                Some((HANDSHAKE, message)) if message.first() == Some(&24) => keys.update(),
                Some((ALERT | HANDSHAKE, _)) => {}
                other => panic!("{other:?} in a record"),
            }
        }
    }

    /// The peer says this, in records of some size, each with padding.
    fn say(&mut self, kind: u8, content: &[u8], size: usize, padding: usize) {
        let Some((ours, _)) = &mut self.keys else {
            return self.victim.receive(content);
        };
        let size = if size == 0 { 16_384 } else { size };
        let mut wire = Vec::new();
        for part in content.chunks(size) {
            self.last = ours.seal(kind, part, padding);
            wire.extend_from_slice(&self.last);
        }
        self.victim.receive(&wire);
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let kind: u8 = input.arbitrary()?;
        match kind & 0x7F {
            kind @ 0..64 => {
                let said = self.peer.speak(kind + kind / 4, self.victim.now, input)?;
                self.say(DATA, &said, 0, 0);
            }
            64..=67 => {
                let said = self.peer.speak(kind & 3, self.victim.now, input)?;
                let size = usize::from(input.arbitrary::<u8>()?).max(1);
                self.say(DATA, &said, size, size % 3 * 5);
            }
            kind @ 68..96 => self.act(kind, input)?,
            kind => self.attack(kind, input)?,
        }
        if kind & 0x80 == 0 {
            self.settle();
        }
        Ok(())
    }

    /// What the application under test and the time do.
    fn act(&mut self, kind: u8, input: &mut Unstructured<'_>) -> Result<()> {
        let how: u8 = input.arbitrary()?;
        let channel = ChannelId(u16::from(how % 5));
        match kind {
            68..=74 => {
                let length: u16 = input.arbitrary()?;
                // Some are good for a while only.
                let life = (length >= 15 * 3100).then_some(20_000);
                self.victim.send(channel, usize::from(length % 3100), life);
            }
            75..=84 => self.victim.take(channel),
            85..=88 => self.victim.settle_one(usize::from(how)),
            89 => drop(self.victim.link.abandon(self.victim.now, channel)),
            90 => self.victim.link.close(self.victim.now, CloseMode::Drain),
            91 => self.victim.link.close(self.victim.now, CloseMode::Withdraw),
            _ => drop(self.victim.pass()),
        }
        Ok(())
    }

    /// What no library lets a peer do.
    fn attack(&mut self, kind: u8, input: &mut Unstructured<'_>) -> Result<()> {
        let how: u8 = input.arbitrary()?;
        match (kind, &mut self.keys) {
            (96..=99, _) => self.say(DATA, raw(input)?, usize::from(how), 0),
            // Handshake messages, in pieces.
            (100..=103, _) => self.say(HANDSHAKE, raw(input)?, usize::from(how), 0),
            (104..=106, Some(_)) => {
                self.say(HANDSHAKE, &[24, 0, 0, 1, how & 1], usize::from(how >> 4), 0);
                if let Some((ours, _)) = &mut self.keys {
                    ours.update();
                }
            }
            (107, _) => self.say(ALERT, &[how & 3, input.arbitrary()?], 0, 0),
            (108, _) => self.say(ALERT, &[1, 0], 0, 0),
            (109, _) => self.say(how, raw(input)?, 0, 0),
            // Nothing, and much of it.
            (110, Some((ours, _))) => {
                let empty: Vec<u8> = (0..how).flat_map(|_| ours.seal(DATA, &[], 0)).collect();
                self.victim.receive(&empty);
            }
            (111, _) => self.say(DATA, raw(input)?, 0, usize::from(how) * 60),
            // On the way.
            (112..=114, Some((ours, _))) => {
                let mut record = ours.seal(DATA, raw(input)?, 0);
                let at = usize::from(how) % record.len();
                record[at] ^= input.arbitrary::<u8>()?.max(1);
                self.victim.receive(&record);
            }
            (115, Some((ours, _))) => ours.count = ours.count.wrapping_add(how.into()),
            (116, Some(_)) => self.victim.receive(&self.last),
            (117, _) => {
                let cut = usize::from(how).min(self.last.len());
                self.victim.receive(&self.last[..cut]);
            }
            (118, _) => self.victim.receive(raw(input)?),
            (119, _) => self.victim.receive(&[20, 3, 3, 0, 1, 1]),
            (120, _) => self.victim.receive_end(),
            (121..=124, _) if self.peer.dialect() == Dialect::Countersign => {
                let greeting = self.peer.greeting(self.victim.now, input)?;
                self.say(DATA, &greeting, usize::from(how), 0);
            }
            _ => {}
        }
        Ok(())
    }
}

fn raw<'a>(input: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let length = usize::from(input.arbitrary::<u8>()?).min(input.len());
    input.bytes(length)
}
