//! Encoding and decoding of every frame but MESSAGE (`docs/protocol.md`, Frames).

use core::time::Duration;

use crate::limits::{MAX_CHANNELS, MAX_REPLY};
use crate::verdict::MAX_REASON;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::greeting::Greeting;
use crate::wire::{AGAIN, FrameType, HEADER_LEN, Header, MAX_TEXT, REPLY};
use crate::{BufferTooSmall, Instant, PeerMisbehaved};

/// A decoded frame that is not a MESSAGE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// See [`FrameType::Hello`].
    Hello(Greeting<'a>),
    /// See [`FrameType::Welcome`].
    Welcome(Greeting<'a>),
    /// See [`FrameType::Refuse`]. `channel` counts in the order of HELLO, [`NO_CHANNEL`] for none.
    Refuse {
        /// The channel that the refusal is about.
        channel: u16,
        /// Why.
        code: u16,
        /// Whether another attempt can help.
        again: bool,
        /// Why, for people.
        text: &'a str,
    },
    /// See [`FrameType::Skip`].
    Skip {
        /// The channel.
        channel: u16,
        /// The last sequence number that will not be sent.
        through: u64,
    },
    /// See [`FrameType::Ack`].
    Ack {
        /// The channel.
        channel: u16,
        /// Everything up to this sequence number is settled.
        handled: u64,
    },
    /// See [`FrameType::Verdict`]: without the flag REPLY.
    Reject {
        /// The channel.
        channel: u16,
        /// The rejected message.
        sequence: u64,
        /// The application's code.
        code: u32,
        /// The application's reason.
        reason: &'a str,
    },
    /// See [`FrameType::Verdict`]: with the flag REPLY.
    Reply {
        /// The channel.
        channel: u16,
        /// The handled message.
        sequence: u64,
        /// The application's reply.
        reply: &'a [u8],
    },
    /// See [`FrameType::Noted`].
    Noted {
        /// The channel.
        channel: u16,
        /// The rejected message, or the one with a reply.
        sequence: u64,
    },
    /// See [`FrameType::Ping`]: the time of the end that sends it, in microseconds.
    Ping(u64),
    /// See [`FrameType::Pong`].
    Pong(Pong),
    /// See [`FrameType::Close`].
    Close {
        /// The sender's code and text.
        head: CloseHead<'a>,
        /// The last number of each of the sender's channels.
        list: CloseList<'a>,
    },
    /// See [`FrameType::Done`].
    Done,
    /// See [`FrameType::Abort`].
    Abort {
        /// What the peer did wrong.
        code: u16,
        /// What the peer did wrong, for people.
        text: &'a str,
    },
}

/// The times in a PONG, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pong {
    /// The peer's time that this answers, from a PING, HELLO or WELCOME.
    pub echo: u64,
    /// When that arrived, by the clock of the end that answers.
    pub arrived: u64,
    /// When this was written, by the same clock.
    pub time: u64,
}

impl Pong {
    /// Returns how long the way there and back took, without what the answer waited at the peer, if
    /// it arrives `now` by the clock that wrote `echo`; zero where the peer says that it waited longer.
    #[must_use]
    pub fn round_trip(&self, now: Instant) -> Duration {
        let waited = Duration::from_micros(self.time.wrapping_sub(self.arrived));
        let whole = now.saturating_since(Instant::from_micros(self.echo));
        whole.saturating_sub(waited)
    }
}

/// The `channel` of a REFUSE that is about no channel in particular.
pub const NO_CHANNEL: u16 = u16::MAX;

/// The fields of a CLOSE, except its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CloseHead<'a> {
    /// Zero for 'all is well' (see [`close`](crate::close)).
    pub code: u32,
    /// Whether another link may fare better.
    pub again: bool,
    /// Text for people, cut to 256 bytes when it is written.
    pub text: &'a str,
}

impl CloseHead<'_> {
    /// All is well.
    pub const ALL_WELL: Self = Self {
        code: crate::close::ALL_WELL,
        again: false,
        text: "",
    };
}

/// The list in a CLOSE frame: for each channel that its sender sends on, the last sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CloseList<'a>(&'a [u8]);

impl<'a> CloseList<'a> {
    /// Returns the channels and their last sequence numbers.
    pub fn entries(&self) -> impl Iterator<Item = (u16, u64)> + use<'a> {
        let mut reader = Reader(self.0);
        core::iter::from_fn(move || Some((reader.u16().ok()?, reader.u64().ok()?)))
    }
}

impl<'a> Frame<'a> {
    /// Reads the body of a frame of type `kind`.
    pub(crate) fn decode(
        kind: FrameType,
        header: &Header,
        body: &'a [u8],
    ) -> Result<Self, PeerMisbehaved> {
        let channel = header.channel;
        let again = header.flags & AGAIN != 0;
        let mut reader = Reader(body);
        let frame = match kind {
            // MESSAGE is decoded elsewhere: its payload is not gathered.
            FrameType::Message => return Err(PeerMisbehaved::Unexpected),
            FrameType::Hello => return Ok(Self::Hello(Greeting::decode(body)?)),
            FrameType::Welcome => return Ok(Self::Welcome(Greeting::decode(body)?)),
            FrameType::Refuse => {
                let (code, text) = reader.code_and_text()?;
                Self::Refuse {
                    channel,
                    code,
                    again,
                    text,
                }
            }
            FrameType::Abort => {
                let (code, text) = reader.code_and_text()?;
                Self::Abort { code, text }
            }
            FrameType::Skip => Self::Skip {
                channel,
                through: reader.u64()?,
            },
            FrameType::Ack => Self::Ack {
                channel,
                handled: reader.u64()?,
            },
            FrameType::Verdict if header.flags & REPLY != 0 => {
                let sequence = reader.u64()?;
                let reply = reader.take(reader.0.len())?;
                Self::Reply {
                    channel,
                    sequence,
                    reply,
                }
            }
            FrameType::Verdict => {
                let (sequence, code) = (reader.u64()?, reader.u32()?);
                let length = reader.0.len();
                if length > MAX_REASON {
                    let (kind, length) = (kind as u8, body.len());
                    return Err(PeerMisbehaved::FrameLength { kind, length });
                }
                let reason = reader.text(length)?;
                Self::Reject {
                    channel,
                    sequence,
                    code,
                    reason,
                }
            }
            FrameType::Noted => Self::Noted {
                channel,
                sequence: reader.u64()?,
            },
            FrameType::Ping => Self::Ping(reader.u64()?),
            FrameType::Pong => Self::Pong(Pong {
                echo: reader.u64()?,
                arrived: reader.u64()?,
                time: reader.u64()?,
            }),
            FrameType::Close => {
                let (code, list) = (reader.u32()?, reader.close_list()?);
                let length = reader.0.len();
                if length > MAX_TEXT {
                    let (kind, length) = (kind as u8, body.len());
                    return Err(PeerMisbehaved::FrameLength { kind, length });
                }
                let text = reader.text(length)?;
                let head = CloseHead { code, again, text };
                Self::Close { head, list }
            }
            FrameType::Done => Self::Done,
        };
        if reader.0.is_empty() {
            Ok(frame)
        } else {
            let (kind, length) = (kind as u8, body.len());
            Err(PeerMisbehaved::FrameLength { kind, length })
        }
    }

    /// Writes a frame to the front of `out` and returns its length.
    ///
    /// HELLO and WELCOME are written by [`encode_greeting`](super::encode_greeting), CLOSE by
    /// [`encode_close`]; nothing is written for them here. Texts and replies are cut at their
    /// limits.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`] when `out` does not hold the frame.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let mut number = [0; 24];
        let mut flags = 0;
        let (kind, channel, fixed, content): (_, _, &[u8], &[u8]) = match *self {
            Self::Hello(_) | Self::Welcome(_) | Self::Close { .. } => return Ok(0),
            Self::Refuse {
                channel,
                code,
                again,
                text,
            } => {
                flags = again_flag(again);
                number[..2].copy_from_slice(&code.to_be_bytes());
                (
                    FrameType::Refuse,
                    channel,
                    &number[..4],
                    cut(text, MAX_TEXT).as_bytes(),
                )
            }
            Self::Abort { code, text } => {
                number[..2].copy_from_slice(&code.to_be_bytes());
                let text = cut(text, MAX_TEXT).as_bytes();
                (FrameType::Abort, 0, &number[..4], text)
            }
            Self::Reject {
                channel,
                sequence,
                code,
                reason,
            } => {
                number[..8].copy_from_slice(&sequence.to_be_bytes());
                number[8..12].copy_from_slice(&code.to_be_bytes());
                (
                    FrameType::Verdict,
                    channel,
                    &number[..12],
                    cut(reason, MAX_REASON).as_bytes(),
                )
            }
            Self::Reply {
                channel,
                sequence,
                reply,
            } => {
                flags = REPLY;
                number[..8].copy_from_slice(&sequence.to_be_bytes());
                let reply = &reply[..reply.len().min(MAX_REPLY)];
                (FrameType::Verdict, channel, &number[..8], reply)
            }
            Self::Done => (FrameType::Done, 0, &number[..0], &[]),
            Self::Skip {
                channel,
                through: value,
            }
            | Self::Ack {
                channel,
                handled: value,
            }
            | Self::Noted {
                channel,
                sequence: value,
            } => {
                number[..8].copy_from_slice(&value.to_be_bytes());
                (self.kind(), channel, &number[..8], &[])
            }
            Self::Ping(time) => {
                number[..8].copy_from_slice(&time.to_be_bytes());
                (FrameType::Ping, 0, &number[..8], &[])
            }
            Self::Pong(pong) => {
                number[..8].copy_from_slice(&pong.echo.to_be_bytes());
                number[8..16].copy_from_slice(&pong.arrived.to_be_bytes());
                number[16..].copy_from_slice(&pong.time.to_be_bytes());
                (FrameType::Pong, 0, &number[..], &[])
            }
        };
        let body = fixed.len() + content.len();
        let needed = HEADER_LEN + body;
        if out.len() < needed {
            return Err(BufferTooSmall { needed });
        }
        let mut writer = Writer { out, at: 0 };
        writer.put(&Header::encode(
            kind,
            flags,
            channel,
            u32::try_from(body).unwrap_or(u32::MAX),
        ));
        writer.put(fixed);
        writer.put(content);
        Ok(needed)
    }

    /// Returns the frame's type.
    #[must_use]
    pub const fn kind(&self) -> FrameType {
        match self {
            Self::Hello(_) => FrameType::Hello,
            Self::Welcome(_) => FrameType::Welcome,
            Self::Refuse { .. } => FrameType::Refuse,
            Self::Skip { .. } => FrameType::Skip,
            Self::Ack { .. } => FrameType::Ack,
            Self::Reject { .. } | Self::Reply { .. } => FrameType::Verdict,
            Self::Noted { .. } => FrameType::Noted,
            Self::Ping(_) => FrameType::Ping,
            Self::Pong(_) => FrameType::Pong,
            Self::Close { .. } => FrameType::Close,
            Self::Done => FrameType::Done,
            Self::Abort { .. } => FrameType::Abort,
        }
    }
}

/// Writes a CLOSE frame to the front of `out` and returns its length.
///
/// # Errors
///
/// [`BufferTooSmall`] when `out` does not hold the frame.
pub fn encode_close(
    head: &CloseHead<'_>,
    last: impl Iterator<Item = (u16, u64)> + Clone,
    out: &mut [u8],
) -> Result<usize, BufferTooSmall> {
    let count = last.clone().count();
    let text = cut(head.text, MAX_TEXT);
    let body = 6 + 10 * count + text.len();
    let needed = HEADER_LEN + body;
    if out.len() < needed {
        return Err(BufferTooSmall { needed });
    }
    let mut writer = Writer { out, at: 0 };
    let length = u32::try_from(body).unwrap_or(u32::MAX);
    let flags = again_flag(head.again);
    writer.put(&Header::encode(FrameType::Close, flags, 0, length));
    writer.put(&head.code.to_be_bytes());
    writer.put(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
    for (channel, sequence) in last {
        writer.put(&channel.to_be_bytes());
        writer.put(&sequence.to_be_bytes());
    }
    writer.put(text.as_bytes());
    Ok(needed)
}

const fn again_flag(again: bool) -> u8 {
    if again { AGAIN } else { 0 }
}

/// Returns the longest prefix of `text` that has at most `limit` bytes and ends between characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl<'a> Reader<'a> {
    fn code_and_text(&mut self) -> Result<(u16, &'a str), PeerMisbehaved> {
        let code = self.u16()?;
        let _reserved = self.u16()?;
        Ok((code, self.text(self.0.len())?))
    }

    fn close_list(&mut self) -> Result<CloseList<'a>, PeerMisbehaved> {
        let count = usize::from(self.u16()?);
        if count > MAX_CHANNELS {
            return Err(PeerMisbehaved::CloseList);
        }
        self.take(count * 10).map(CloseList)
    }
}
