//! Decoding of frames from a stream of bytes that may be cut anywhere.

use alloc::vec::Vec;
use core::fmt;

use crate::PeerMisbehaved;
use crate::redact::Redacted;
use crate::wire::{Frame, FrameType, HEADER_LEN, Header, LONGEST_HEAD, MESSAGE_HEAD, MessageHead};

/// A piece of the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The beginning of a MESSAGE frame. `data` is as much of its payload as has arrived; if that
    /// is less than `head.length`, the rest follows as [`Piece::More`].
    Message {
        /// What precedes the payload.
        head: MessageHead,
        /// The payload so far.
        data: &'a [u8],
    },
    /// More of the payload of the MESSAGE frame.
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
/// Payloads are never buffered: they are passed on as slices of the input. Other frames are
/// buffered only when the input cuts them; the memory for that is bounded by
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
    /// The bytes so far of a frame that the input has cut, or the last frame that was gathered.
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
    /// `gathered` holds a frame that was returned; it is cleared by the next call.
    HandedOut,
}

impl Decoder {
    /// Creates a decoder at the beginning of a stream, which accepts frames of up to `frame_limit`
    /// bytes.
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

    /// Returns the next piece, taken from the front of `input`; `None` when `input` is used up.
    ///
    /// # Errors
    ///
    /// What is wrong with the frame at the front. The decoder is of no use afterwards.
    #[inline]
    pub fn next<'p, 'i: 'p>(
        &'p mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Piece<'p>>, PeerMisbehaved> {
        loop {
            match self.state {
                State::Between if self.gathered.is_empty() && input.len() >= LONGEST_HEAD => {
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
                    // Reserves exactly once; the length is bounded for every type.
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
                    // Only a greeting is large, and a connection has one, so the memory is not
                    // kept.
                    self.gathered = Vec::new();
                    self.state = State::Between;
                }
            }
        }
    }

    /// Returns the next message, if it is in one frame and all of that is at the front of `input`,
    /// and takes it from there. Otherwise [`Decoder::next`] returns what there is.
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

    /// Returns the longest frame that is accepted, in bytes.
    #[inline]
    pub(crate) const fn frame_limit(&self) -> usize {
        self.frame_limit
    }

    /// Decodes a frame in the common case: at least a whole head is at the front of the input.
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

    /// Returns up to `length` bytes of payload from the front of the input.
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

    /// Gathers a header, and for MESSAGE the rest of its head. Returns false if the input ends
    /// first. Afterwards `gathered` holds a MESSAGE's head, or it is empty and the state has moved
    /// on.
    fn gather_header(&mut self, input: &mut &[u8]) -> Result<bool, PeerMisbehaved> {
        if !fill(&mut self.gathered, HEADER_LEN, input) {
            return Ok(false);
        }
        let header = self.gathered_header()?;
        if header.kind == Some(FrameType::Message) {
            // `cut_message` reports a head that is cut short by the frame's length.
            let needed = HEADER_LEN + MessageHead::encoded_rest(&header).min(header.length);
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

    /// Returns the head of a MESSAGE, if that is what was gathered.
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

/// Moves bytes from the front of `input` until `buffer` has `length` of them. Returns false if the
/// input ends first.
fn fill(buffer: &mut Vec<u8>, length: usize, input: &mut &[u8]) -> bool {
    let missing = length.saturating_sub(buffer.len());
    let (taken, rest) = input.split_at(missing.min(input.len()));
    buffer.extend_from_slice(taken);
    *input = rest;
    buffer.len() >= length
}
