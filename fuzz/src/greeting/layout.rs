//! The layout of greetings, read and written by hand.

use arbitrary::{Arbitrary, Result, Unstructured};
use countersign_core::wire::ChannelEntry;
use countersign_core::{Mode, Policy};

use super::{FRAMING, HANDSHAKE};

/// How long the body of a greeting is before its channels.
pub(super) const FIXED: usize = 50;
/// How long a channel is before its name.
const ENTRY: usize = 52;

/// The body of a greeting, as far as it can be read.
#[derive(Default, Debug)]
pub(super) struct Parsed {
    /// The codes of what is wrong with the layout and with single fields, in reading order.
    pub(super) faults: Vec<u16>,
    pub(super) versions: (u16, u16),
    pub(super) outcome: u8,
    pub(super) attempt: u32,
    pub(super) frame_limit: u32,
    pub(super) session: [u8; 16],
    /// When it was written, and when the other's arrived.
    pub(super) times: (u64, u64),
    pub(super) entries: Vec<Entry>,
}

/// One channel.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) mode: u8,
    pub(super) policy: u8,
    flags: u8,
    pub(super) name: String,
    /// In the order of the layout: largest message, window in messages and in bytes, handled,
    /// received, partial, longest reply.
    pub(super) figures: [u64; 7],
}

impl Parsed {
    pub(super) fn read(body: &[u8]) -> Self {
        let number = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let long = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("eight"));
        let mut parsed = Self {
            versions: (number(4), number(6)),
            outcome: body[8],
            attempt: u32::from_be_bytes([0, body[9], body[10], body[11]]),
            frame_limit: u32::from_be_bytes(body[12..16].try_into().expect("four")),
            session: body[16..32].try_into().expect("sixteen"),
            times: (long(32), long(40)),
            ..Self::default()
        };
        if &body[..4] != b"CSGN" {
            parsed.faults.push(FRAMING);
        }
        if parsed.versions.0 > parsed.versions.1 {
            parsed.faults.push(HANDSHAKE);
        }
        // In other versions nothing else is known.
        if !parsed.is_spoken() {
            return parsed;
        }
        let count = number(48);
        if parsed.outcome > 3 || count > 64 {
            parsed.faults.push(HANDSHAKE);
        }
        let mut rest = &body[FIXED..];
        for _ in 0..count {
            let Some(entry) = Entry::read(&mut rest, &mut parsed.faults) else {
                parsed.faults.push(FRAMING);
                break;
            };
            parsed.entries.push(entry);
        }
        parsed
    }

    /// Whether version 1 is among those offered.
    pub(super) fn is_spoken(&self) -> bool {
        (self.versions.0..=self.versions.1).contains(&1)
    }

    pub(super) fn has_frame_limit(&self) -> bool {
        (512..=1 << 24).contains(&self.frame_limit)
    }

    pub(super) fn repeats_a_name(&self) -> bool {
        let entries = self.entries.iter().enumerate();
        entries.into_iter().any(|(at, entry)| {
            let mut earlier = self.entries[..at].iter();
            earlier.any(|earlier| earlier.name == entry.name)
        })
    }
}

impl Entry {
    /// Reads a channel; `None` where the body ends inside of it.
    fn read(rest: &mut &[u8], faults: &mut Vec<u16>) -> Option<Self> {
        // If a channel is cut short, the part that has arrived may be wrong as well.
        let at = |at: usize| rest.get(at).copied().unwrap_or(0);
        let (mode, policy, length) = (at(0), at(1), usize::from(at(3)));
        if mode > 1 || (policy > 1 && (mode, policy) != (1, 0xFF)) || length > 64 {
            faults.push(HANDSHAKE);
        }
        let (fixed, after) = rest.split_first_chunk::<ENTRY>()?;
        let (name, after) = after.split_at_checked(length)?;
        *rest = after;
        let name = String::from_utf8(name.to_vec()).unwrap_or_else(|_| {
            faults.push(FRAMING);
            String::new()
        });
        let long = |at: usize| u64::from_be_bytes(fixed[at..at + 8].try_into().expect("eight"));
        let short = |at: usize| u32::from_be_bytes(fixed[at..at + 4].try_into().expect("four"));
        Some(Self {
            mode,
            policy,
            flags: fixed[2],
            name,
            figures: [
                long(4),
                short(12).into(),
                long(16),
                long(24),
                long(32),
                long(40),
                short(48).into(),
            ],
        })
    }

    pub(super) fn receives(&self) -> bool {
        self.mode == 1
    }

    /// Whether each of its messages is to have its times.
    pub(super) fn wants_times(&self) -> bool {
        self.receives() && self.flags & 1 != 0
    }

    /// Whether its figures can be, in a greeting with this outcome, or for one that resumes, 1.
    pub(super) fn is_sound(&self, outcome: u8) -> bool {
        let [largest, messages, bytes, handled, received, partial, _] = self.figures;
        let windows = match self.receives() {
            true => messages > 0 && bytes > 0,
            false => messages == 0 && bytes == 0,
        };
        let may_tell = self.receives() && outcome == 1;
        largest > 0 && windows && (may_tell || (handled | received | partial) == 0)
    }

    /// The decoder has found the same.
    pub(super) fn compare(&self, theirs: &ChannelEntry<'_>) {
        let mode = match theirs.mode {
            Mode::Send => 0,
            Mode::Receive => 1,
        };
        let policy = match theirs.policy {
            Some(Policy::Reliable) => 0,
            Some(Policy::Latest) => 1,
            None => 0xFF,
        };
        assert_eq!(
            (mode, policy, theirs.name, theirs.wants_times),
            (self.mode, self.policy, &*self.name, self.wants_times())
        );
        let figures = [
            theirs.max_message,
            theirs.window_messages.into(),
            theirs.window_bytes,
            theirs.handled,
            theirs.received,
            theirs.partial,
            theirs.max_reply.into(),
        ];
        assert_eq!(figures, self.figures);
    }
}

/// Draws the body of a greeting that is sound but for a few fields.
pub(super) fn draw(input: &mut Unstructured<'_>) -> Vec<u8> {
    draw_body(input).unwrap_or_default()
}

fn draw_body(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut body = b"CSGN".to_vec();
    let versions = [
        (1, 1),
        (0, 1),
        (1, 9),
        (2, 3),
        (0, 0),
        (3, 1),
        input.arbitrary()?,
    ];
    let (lowest, highest): (u16, u16) = rarely(input, &versions)?;
    body.extend(lowest.to_be_bytes());
    body.extend(highest.to_be_bytes());
    body.push(rarely(input, &[0, 1, 2, 3, 4])?);
    let attempt = <[u8; 3]>::arbitrary(input)?;
    body.extend(attempt);
    let limits: [u32; 7] = [
        16_384,
        512,
        1 << 24,
        511,
        (1 << 24) + 1,
        0,
        input.arbitrary()?,
    ];
    body.extend(rarely(input, &limits)?.to_be_bytes());
    let session: [u8; 16] = rarely(input, &[[7; 16], [0; 16], [9; 16]])?;
    body.extend(session);
    // Nothing depends on the times: any two will do.
    body.extend([attempt[0]; 8]);
    body.extend([attempt[1]; 8]);
    let count = input.int_in_range(0..=6)?;
    let said = rarely(input, &[count, count + 1, 0, 64, 65, u16::MAX])?;
    body.extend(said.to_be_bytes());
    for number in 0..count {
        draw_entry(input, number, &mut body)?;
    }
    body.extend(input.bytes(input.len().min(9))?);
    Ok(body)
}

fn draw_entry(input: &mut Unstructured<'_>, number: u16, body: &mut Vec<u8>) -> Result<()> {
    let (mode, policy): (bool, bool) = input.arbitrary()?;
    let mode = rarely(input, &[u8::from(mode), 2])?;
    let policy = rarely(input, &[u8::from(policy), 0xFF, 2])?;
    let long = "n".repeat(64);
    let too_long = "n".repeat(65);
    let usual = format!("c{number}");
    let names: [&[u8]; 8] = [
        usual.as_bytes(),
        b"c0",
        b"c1",
        b"",
        b"\xFF",
        "é".as_bytes(),
        long.as_bytes(),
        too_long.as_bytes(),
    ];
    let name = rarely(input, &names)?;
    body.extend([
        mode,
        policy,
        input.arbitrary()?,
        u8::try_from(name.len()).expect("short"),
    ]);
    let any: u64 = input.arbitrary()?;
    body.extend(rarely(input, &[1 << 20, 0, 1, u64::MAX, any])?.to_be_bytes());
    let window = u32::from(mode == 1);
    let messages = rarely(input, &[window * 9, 0, 1, u32::MAX])?;
    body.extend(messages.to_be_bytes());
    let bytes = rarely(input, &[u64::from(window) << 20, 0, 1, u64::MAX, any])?;
    body.extend(bytes.to_be_bytes());
    for _figure in 0..3 {
        body.extend(rarely(input, &[0, 1, u64::MAX, any])?.to_be_bytes());
    }
    body.extend((any as u32).to_be_bytes());
    body.extend(name);
    Ok(())
}

/// Mostly the first; sometimes another.
fn rarely<T: Copy>(input: &mut Unstructured<'_>, choices: &[T]) -> Result<T> {
    let at = usize::from(input.arbitrary::<u8>()?);
    Ok(choices[at.checked_sub(200).map_or(0, |at| at % choices.len())])
}
