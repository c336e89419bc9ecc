//! From a stream of bytes, cut anywhere, to frames.

use alloc::vec::Vec;
use core::fmt;

use crate::PeerMisbehaved;
use crate::redact::Redacted;
use crate::wire::{FIRST_HEAD, Frame, FrameType, HEADER_LEN, Header, MESSAGE_HEAD, MessageHead};

/// One thing found in the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A MESSAGE frame begins. `data` is as much of its payload as has arrived; when that is less
    /// than `head.length`, the rest follows as [`Piece::More`].
    Message {
        /// What precedes the payload.
        head: MessageHead,
        /// The payload so far.
        data: &'a [u8],
    },
    /// The payload of the MESSAGE frame goes on.
    More(&'a [u8]),
    /// Any other frame, whole.
    Frame(Frame<'a>),
}

impl fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { head, data } => f
                .debug_struct("Message")
                .field("head", head)
                .field("data", &Redacted(data.len()))
                .finish(),
            Self::More(data) => f.debug_tuple("More").field(&Redacted(data.len())).finish(),
            Self::Frame(frame) => f.debug_tuple("Frame").field(frame).finish(),
        }
    }
}

/// Finds frames in a stream of bytes that may be cut anywhere.
///
/// Payloads are never gathered: they are handed on as slices of the input. Other frames are
/// gathered only when the input cuts them; what that takes is bounded by
/// [`MAX_GREETING`](super::MAX_GREETING).
///
/// ```
/// use countersign_core::wire::{Decoder, Frame, Piece};
///
/// let mut bytes = [0; 16];
/// Frame::Ping(7).encode(&mut bytes)?;
/// let mut decoder = Decoder::new(16_384);
/// let mut input = &bytes[..3];
/// assert_eq!(decoder.next(&mut input).unwrap(), None);
/// let mut input = &bytes[3..];
/// assert_eq!(decoder.next(&mut input).unwrap(), Some(Piece::Frame(Frame::Ping(7))));
/// # Ok::<(), countersign_core::BufferTooSmall>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Decoder {
    frame_limit: usize,
    state: State,
    /// The cut frame's bytes so far, or the last gathered frame.
    gathered: Vec<u8>,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("frame_limit", &self.frame_limit)
            .field("state", &self.state)
            .field("gathered", &Redacted(self.gathered.len()))
            .finish()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum State {
    /// Between frames, or inside a header or head that the input has cut.
    Between,
    /// Inside the payload of a MESSAGE.
    Payload { left: usize },
    /// Inside the body of another frame that the input has cut.
    Body { header: Header },
    /// Inside a frame of an unknown type that may be skipped.
    Skipping { left: usize },
    /// `gathered` holds a frame that was handed out; it goes with the next call.
    HandedOut,
}

impl Decoder {
    /// A decoder at the beginning of a stream, which takes frames of up to `frame_limit` bytes.
    #[must_use]
    pub fn new(frame_limit: usize) -> Self {
        Self {
            frame_limit,
            state: State::Between,
            gathered: Vec::new(),
        }
    }

    /// Whether the stream so far ends between two frames.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        match self.state {
            State::Between => self.gathered.is_empty(),
            State::HandedOut => true,
            _ => false,
        }
    }

    /// The next piece, taken from the front of `input`; `None` when `input` is used up.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the frame at the front. The decoder is of no use afterwards.
    #[inline]
    pub fn next<'p, 'i: 'p>(
        &'p mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Piece<'p>>, PeerMisbehaved> {
        loop {
            match self.state {
                State::Between if self.gathered.is_empty() && input.len() >= FIRST_HEAD => {
                    return self.whole_header(input);
                }
                State::Between => {
                    if !self.gather_header(input)? {
                        return Ok(None);
                    }
                    if let Some(head) = self.cut_message()? {
                        let data = self.begin_payload(head.length, input);
                        return Ok(Some(Piece::Message { head, data }));
                    }
                }
                State::Payload { left } => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    return Ok(Some(Piece::More(self.begin_payload(left, input))));
                }
                State::Body { header } => {
                    // Once, and no more than it takes: the length is bounded for every type.
                    let missing = header.length.saturating_sub(self.gathered.len());
                    self.gathered.reserve_exact(missing);
                    if !fill(&mut self.gathered, header.length, input) {
                        return Ok(None);
                    }
                    self.state = State::HandedOut;
                    return self.gathered_frame(&header).map(Some);
                }
                State::Skipping { left } => {
                    let skipped = left.min(input.len());
                    *input = &input[skipped..];
                    if skipped < left {
                        self.state = State::Skipping {
                            left: left - skipped,
                        };
                        return Ok(None);
                    }
                    self.state = State::Between;
                }
                State::HandedOut => {
                    // A greeting is the only large one, and there is one in a connection.
                    self.gathered = Vec::new();
                    self.state = State::Between;
                }
            }
        }
    }

    /// The next message, if it is in one frame and all of that is at the front of `input`, which
    /// is then taken; otherwise [`Decoder::next`] says what there is.
    #[inline]
    pub(crate) fn next_whole<'i>(
        &mut self,
        input: &mut &'i [u8],
    ) -> Option<(MessageHead, &'i [u8])> {
        if !matches!(self.state, State::Between) || !self.gathered.is_empty() {
            return None;
        }
        let head = MessageHead::decode_whole(input, self.frame_limit)?;
        let (data, rest) = input[MESSAGE_HEAD..].split_at_checked(head.length)?;
        *input = rest;
        Some((head, data))
    }

    /// The common case: at least a whole head is at the front of the input.
    #[inline]
    fn whole_header<'p, 'i: 'p>(
        &'p mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Piece<'p>>, PeerMisbehaved> {
        let Some((bytes, rest)) = input.split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let header = Header::decode(bytes, self.frame_limit)?;
        match header.kind {
            Some(FrameType::Message) => {
                // The input holds the longest head, so this is never `None`.
                let Some(head) = MessageHead::decode(&header, rest) else {
                    return Ok(None);
                };
                let head = head?;
                *input = &input[head.encoded_len()..];
                let data = self.begin_payload(head.length, input);
                Ok(Some(Piece::Message { head, data }))
            }
            Some(kind) if rest.len() >= header.length => {
                let (body, rest) = rest.split_at(header.length);
                *input = rest;
                Frame::decode(kind, &header, body).map(|frame| Some(Piece::Frame(frame)))
            }
            _ => {
                *input = rest;
                self.state = match header.kind {
                    Some(_) => State::Body { header },
                    None => State::Skipping {
                        left: header.length,
                    },
                };
                self.next(input)
            }
        }
    }

    /// Hands out up to `length` bytes of payload from the front of the input.
    #[inline]
    fn begin_payload<'a>(&mut self, length: usize, input: &mut &'a [u8]) -> &'a [u8] {
        let (data, rest) = input.split_at(length.min(input.len()));
        *input = rest;
        self.state = if data.len() < length {
            State::Payload {
                left: length - data.len(),
            }
        } else {
            State::Between
        };
        data
    }

    /// Gathers a header, and for MESSAGE the rest of its head; false when the input ends first.
    /// Afterwards `gathered` holds a MESSAGE's head, or it is empty and the state has moved on.
    fn gather_header(&mut self, input: &mut &[u8]) -> Result<bool, PeerMisbehaved> {
        if !fill(&mut self.gathered, HEADER_LEN, input) {
            return Ok(false);
        }
        let header = self.gathered_header()?;
        if header.kind == Some(FrameType::Message) {
            let with_total = header.flags & (super::FIRST | super::LAST) == super::FIRST;
            let needed = if with_total { FIRST_HEAD } else { MESSAGE_HEAD };
            // A head cut short by its own length is judged by `cut_message`.
            let needed = needed.min(HEADER_LEN + header.length);
            return Ok(fill(&mut self.gathered, needed, input));
        }
        self.gathered.clear();
        self.state = match header.kind {
            Some(_) => State::Body { header },
            None => State::Skipping {
                left: header.length,
            },
        };
        Ok(true)
    }

    /// The head of a MESSAGE that was gathered, if that is what was gathered.
    fn cut_message(&mut self) -> Result<Option<MessageHead>, PeerMisbehaved> {
        if self.gathered.is_empty() {
            return Ok(None);
        }
        let header = self.gathered_header()?;
        let head = MessageHead::decode(&header, &self.gathered[HEADER_LEN..]).transpose()?;
        self.gathered.clear();
        Ok(head)
    }

    fn gathered_header(&self) -> Result<Header, PeerMisbehaved> {
        let bytes = self
            .gathered
            .first_chunk()
            .ok_or(PeerMisbehaved::Truncated)?;
        Header::decode(bytes, self.frame_limit)
    }

    fn gathered_frame(&self, header: &Header) -> Result<Piece<'_>, PeerMisbehaved> {
        let kind = header.kind.ok_or(PeerMisbehaved::Unexpected)?;
        Frame::decode(kind, header, &self.gathered).map(Piece::Frame)
    }
}

/// Moves bytes from the front of `input` until `buffer` has `length` of them; false when the
/// input ends first.
fn fill(buffer: &mut Vec<u8>, length: usize, input: &mut &[u8]) -> bool {
    let missing = length.saturating_sub(buffer.len());
    let (taken, rest) = input.split_at(missing.min(input.len()));
    buffer.extend_from_slice(taken);
    *input = rest;
    buffer.len() >= length
}
