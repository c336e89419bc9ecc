//! An endpoint before it knows its peer: raw bytes, and an honest handshake that is tampered with
//! on the way, or by the peer itself inside its own encryption.
//!
//! Input: the role, then what becomes of each record that an honest peer says. A zero lets it pass.

use std::cell::Cell;

use arbitrary::{Result, Unstructured};
use countersign_core::{Config, ReceiveChannel, Role};

use crate::memory::bounded;
use crate::subject::{Seen, same};
use crate::tls::{Honest, Keys, Victim, records, security};

/// The most memory that all of it takes, both ends and the test together, in bytes.
const PROMISE: usize = 600_000;
/// The content type of handshake messages.
const HANDSHAKE: u8 = 22;

/// Tries one input whole and byte by byte.
pub fn check(input: &[u8]) {
    // What is made once is not held by a call.
    security(false);
    let early = Cell::new(false);
    let run = |cut, seen| run(input, cut, seen, &early);
    let whole = bounded(PROMISE, || run(0, Seen::default()));
    if early.get() {
        run(1, Seen::default());
        return;
    }
    // The end under test draws random bytes, which a peer repeats: where what is around them is
    // cut away, they pass for something else each time. What the cuts bring about comes again.
    let differs = || !run(0, Seen::default()).is_same(&run(1, Seen::default()));
    if !whole.is_same(&run(1, Seen::default())) && (0..4).all(|_| differs()) {
        same(&whole, &[1], run);
    }
}

/// Whether this may be the offer of early data (RFC 8446, section 4.2.10). A server then passes
/// over what it can't decrypt, up to some kilobytes, and rustls counts a record again each time
/// that more of the next one arrives: how soon it gives such a peer up depends on how its bytes are
/// cut. No honest peer could offer any, since none has a ticket from it.
fn may_be_early(role: Role, bytes: &[u8]) -> bool {
    role == Role::Acceptor && bytes.windows(2).any(|type_| type_ == [0, 42])
}

fn run(input: &[u8], cut: usize, seen: Seen, early: &Cell<bool>) -> Seen {
    let mut input = Unstructured::new(input);
    let how: u8 = input.arbitrary().unwrap_or_default();
    let role = if how & 1 == 0 {
        Role::Acceptor
    } else {
        Role::Opener
    };
    let channel = ReceiveChannel::new("c0").max_message(3000).window(5, 4000);
    let mut config = Config::new().channel(channel);
    if how & 2 != 0 {
        config = config.single_connection();
    }
    let mut victim = Victim::new(security(false), &config, role, cut, seen);
    victim.settle();
    if how & 4 == 0 {
        shake(&mut input, &mut victim, role, early);
    }
    // Whatever is left comes as it is.
    let rest = input.take_rest();
    early.set(early.get() || may_be_early(role, rest));
    victim.receive(rest);
    victim.finish()
}

/// Lets the two shake hands until neither has more to say.
fn shake(input: &mut Unstructured<'_>, victim: &mut Victim, role: Role, early: &Cell<bool>) {
    let mut peer = Honest::opposite(role);
    let mut way = Way::new(role);
    for flight in 0..8 {
        for record in records(&victim.take_written()) {
            // Once the keys are those of its application, no answer is needed.
            if peer.is_shaking() {
                peer.receive(record);
            }
        }
        let said = peer.say();
        if said.is_empty() || !victim.is_well() {
            break;
        }
        let mut arrives = Vec::new();
        for record in records(&said) {
            let _ = way.pass(input, record, &peer, &mut arrives);
        }
        arrives.append(&mut way.held);
        // The peer's own hello does not offer any.
        if flight == 0 && arrives != said {
            early.set(early.get() || may_be_early(role, &arrives));
        }
        victim.receive(&arrives);
        victim.settle();
    }
}

/// The way from the honest peer to the end under test.
struct Way {
    label: &'static str,
    /// The peer's handshake keys: to open what it says, and to seal what is made of that.
    keys: Option<(Keys, Keys)>,
    /// What comes behind the next record.
    held: Vec<u8>,
}

impl Way {
    fn new(role: Role) -> Self {
        Self {
            label: match role {
                Role::Acceptor => "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                Role::Opener => "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            },
            keys: None,
            held: Vec::new(),
        }
    }

    /// One record; what arrives of it goes to `out`.
    fn pass(
        &mut self,
        input: &mut Unstructured<'_>,
        record: &[u8],
        peer: &Honest,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let how: u8 = input.arbitrary()?;
        let mut record = record.to_vec();
        if record[0] == 23 && self.keys.is_none() {
            let keys = || peer.keys(self.label);
            self.keys = keys().zip(keys());
        }
        if let (23, Some((open, seal))) = (record[0], &mut self.keys) {
            match open.open(&record) {
                // It goes on with the keys of its application, or says something in clear.
                None => open.count -= 1,
                Some((kind, content)) => record = reseal(how, kind, content, seal, input)?,
            }
        }
        let behind = std::mem::take(&mut self.held);
        match how % 16 {
            1 => change(&mut record, input)?,
            2 => record.truncate(place(&record, input)?),
            3 => record.extend_from_within(..),
            4 => self.held.append(&mut record),
            5 => record.clear(),
            6 => out.extend_from_slice(raw(input)?),
            7 => record = raw(input)?.to_vec(),
            8 => {
                let at = usize::from(input.arbitrary::<u8>()? % 5).min(record.len() - 1);
                record[at] = input.arbitrary()?;
            }
            9 => {
                let at = place(&record, input)?;
                record.splice(at..at, raw(input)?.iter().copied());
            }
            _ => {}
        }
        out.append(&mut record);
        out.extend_from_slice(&behind);
        Ok(())
    }
}

/// What the peer says instead inside its encryption.
fn reseal(
    how: u8,
    mut kind: u8,
    mut content: Vec<u8>,
    seal: &mut Keys,
    input: &mut Unstructured<'_>,
) -> Result<Vec<u8>> {
    let mut padding = 0;
    match how / 16 {
        1 => change(&mut content, input)?,
        2 => content.truncate(place(&content, input)?),
        3 => content.extend_from_within(..),
        4 => kind = input.arbitrary()?,
        5 => content = raw(input)?.to_vec(),
        6 => padding = usize::from(input.arbitrary::<u16>()? % 20_000).min(16_000),
        7 => {
            let at = place(&content, input)?;
            content.splice(at..at, raw(input)?.iter().copied());
        }
        // In two records or more.
        8 | 9 => {
            let size = usize::from(input.arbitrary::<u8>()?).max(3);
            let parts = content.chunks(size).map(|part| seal.seal(kind, part, 0));
            return Ok(parts.collect::<Vec<_>>().concat());
        }
        10 => {
            let mut first = seal.seal(HANDSHAKE, raw(input)?, 0);
            first.append(&mut seal.seal(kind, &content, 0));
            return Ok(first);
        }
        _ => {}
    }
    Ok(seal.seal(kind, &content, padding))
}

fn place(bytes: &[u8], input: &mut Unstructured<'_>) -> Result<usize> {
    let at = usize::from(input.arbitrary::<u16>()?);
    Ok(at % (bytes.len() + 1))
}

/// Changes a byte, or two.
fn change(bytes: &mut [u8], input: &mut Unstructured<'_>) -> Result<()> {
    let at = place(bytes, input)?;
    let values: [u8; 2] = input.arbitrary()?;
    for (byte, value) in bytes[at..].iter_mut().zip(values) {
        *byte ^= value;
    }
    Ok(())
}

fn raw<'a>(input: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let length = usize::from(input.arbitrary::<u8>()?).min(input.len());
    input.bytes(length)
}
