//! An observer of the wire. It shares no code with the core: it reads what the format says.

/// What an observer sees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// HELLO or WELCOME.
    Greeting(Greeted),
    /// A message or a part of one.
    Data {
        channel: usize,
        /// `None`: the format has none.
        number: Option<u32>,
        first: bool,
        last: bool,
        length: usize,
        total: Option<usize>,
    },
    Skip {
        channel: usize,
        through: u64,
    },
    Ack {
        channel: usize,
        through: u64,
    },
    Reject {
        channel: usize,
        sequence: u64,
        code: u32,
        reason: String,
    },
    Noted {
        channel: usize,
        sequence: u64,
    },
    /// What it says, and channels with their last numbers.
    Close(Said, Vec<(usize, u64)>),
    Done,
    /// PING, PONG.
    Other,
    /// REFUSE or ABORT, which two honest ends never need.
    Complaint,
}

/// What a CLOSE says but for its numbers: its code, its text, and whether again.
pub(crate) type Said = (u64, String, bool);

/// What a greeting says of sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Greeted {
    pub(crate) outcome: u8,
    pub(crate) session: Vec<u8>,
    pub(crate) channels: Vec<GreetedChannel>,
}

/// What a greeting says of one channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GreetedChannel {
    pub(crate) receives: bool,
    pub(crate) max_message: usize,
    /// Handled, received, partial.
    pub(crate) figures: [u64; 3],
}

/// Reads one direction of a connection.
#[derive(Default, Debug)]
pub(crate) struct Observer {
    buffer: Vec<u8>,
    /// The longest frame so far.
    pub(crate) longest: usize,
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

fn length(bytes: &[u8]) -> usize {
    usize::try_from(number(bytes)).expect("lengths in tests are small")
}

fn greeted(body: &[u8]) -> Greeted {
    let mut rest = &body[50..];
    let mut channels = Vec::new();
    while let Some((fixed, tail)) = rest.split_at_checked(52) {
        channels.push(GreetedChannel {
            receives: fixed[0] == 1,
            max_message: length(&fixed[4..12]),
            figures: [24, 32, 40].map(|at| number(&fixed[at..at + 8])),
        });
        rest = &tail[usize::from(fixed[3])..];
    }
    Greeted {
        outcome: body[8],
        session: body[16..32].to_vec(),
        channels,
    }
}

/// How long what precedes the payload of a MESSAGE is, behind the header.
const fn message_head(flags: u8) -> usize {
    let total = if flags & 3 == 1 { 8 } else { 0 };
    let times = if flags & 4 != 0 { 16 } else { 0 };
    4 + total + times
}

impl Observer {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.buffer.extend_from_slice(bytes);
        core::iter::from_fn(|| self.frame()).collect()
    }

    /// What has arrived of an incomplete MESSAGE frame: its channel, whether it is a message's
    /// first frame, and how much of its payload has arrived.
    pub(crate) fn unfinished(&self) -> Option<(usize, bool, usize)> {
        let (head, body) = self.buffer.split_at_checked(8)?;
        let first = head[1] & 1 != 0;
        let own_head = message_head(head[1]);
        let payload = body.len().checked_sub(own_head)?;
        (head[0] == 0x10).then(|| (length(&head[2..4]), first, payload))
    }

    fn frame(&mut self) -> Option<Seen> {
        if self.buffer.len() < 8 {
            return None;
        }
        let whole = 8 + length(&self.buffer[4..8]);
        if self.buffer.len() < whole {
            return None;
        }
        let frame: Vec<u8> = self.buffer.drain(..whole).collect();
        self.longest = self.longest.max(whole);
        let channel = length(&frame[2..4]);
        let body = &frame[8..];
        Some(match frame[0] {
            0x01 | 0x02 => Seen::Greeting(greeted(body)),
            0x10 => {
                let (first, last) = (frame[1] & 1 != 0, frame[1] & 2 != 0);
                let head = message_head(frame[1]);
                Seen::Data {
                    channel,
                    number: u32::try_from(number(&body[..4])).ok(),
                    first,
                    last,
                    length: body.len() - head,
                    total: (first && !last).then(|| length(&body[4..12])),
                }
            }
            0x11 => Seen::Skip {
                channel,
                through: number(body),
            },
            0x12 => Seen::Ack {
                channel,
                through: number(body),
            },
            0x13 => Seen::Reject {
                channel,
                sequence: number(&body[..8]),
                code: u32::try_from(number(&body[8..12])).expect("four bytes"),
                reason: String::from_utf8(body[12..].to_vec()).expect("UTF-8"),
            },
            0x14 => Seen::Noted {
                channel,
                sequence: number(body),
            },
            0x30 => {
                let entry = |entry: &[u8]| (length(&entry[..2]), number(&entry[2..]));
                let (list, text) = body[6..].split_at(10 * length(&body[4..6]));
                let text = String::from_utf8(text.to_vec()).expect("UTF-8");
                let said = (number(&body[..4]), text, frame[1] == 1);
                Seen::Close(said, list.chunks(10).map(entry).collect())
            }
            0x31 => Seen::Done,
            0x20 | 0x21 => Seen::Other,
            _ => Seen::Complaint,
        })
    }
}
