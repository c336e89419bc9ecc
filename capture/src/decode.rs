//! Decoding of records.

use countersign_core::{
    CloseMode, CloseReason, Disconnect, MAX_REPLY, Refusal, SessionLoss, TakeOver,
};
use minicbor::data::Type;
use minicbor::decode::Decoder;

use crate::cbor::{Cbor, Fields, ItemError};
use crate::config;
use crate::record::{Data, Ended, Entry, Gone, Outcome, Part, Record, RecordedEvent, Said, Taken};

/// The version of the format that this crate writes and reads.
pub const VERSION: u64 = 1;
/// The most bytes in one `in` or `out`, including those left out, and the most room of an `out`.
pub const MAX_DATA: u64 = 1 << 28;

pub(crate) const SELF_DESCRIBED: u64 = 55_799;
pub(crate) const MAGIC: &str = "countersign capture";

/// Why a capture can't be read, or not to its end.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bytes do not begin as a capture does.
    #[error("this is no capture: it does not begin with the header of one")]
    NotACapture,
    /// The capture is in another version of the format.
    #[error("this is a capture in version {0} of the format; version {VERSION} can be read")]
    Version(u64),
    /// The capture ends in the middle of the header or of a record.
    #[error("the capture ends in the middle of what begins at byte {offset}")]
    Truncated {
        /// Where the header or record begins.
        offset: usize,
    },
    /// A record is invalid.
    #[error("the record at byte {offset} is damaged: {what}")]
    Damaged {
        /// Where it begins.
        offset: usize,
        /// What is expected, or what is wrong.
        what: &'static str,
    },
}

countersign_core::debug_as_display!(ReadError);

/// The header of a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whether the payloads of messages are in the capture.
    pub payloads: bool,
    /// When the capture was begun, in microseconds since 1970 (UTC).
    pub unix_micros: u64,
    /// The program that has written it.
    pub writer: String,
}

/// Reads a capture, record by record. It is a pure function of the bytes, which may be untrusted.
///
/// Ends after the first error. [`Reader::is_complete`] returns afterwards whether the capture is
/// complete.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    header: Header,
    at: usize,
    /// Where the last record begins.
    last: usize,
    complete: bool,
    failed: bool,
}

impl<'a> Reader<'a> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotACapture`], [`ReadError::Version`], or that the header is incomplete or
    /// damaged.
    pub fn new(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let mut fields = Fields(Decoder::new(bytes));
        let header = fields.header().map_err(|error| match error {
            ItemError::Short if is_beginning(bytes) => HeaderError::Short,
            ItemError::Value(what) if is_beginning(bytes) => HeaderError::Damaged(what),
            _ => HeaderError::Other,
        });
        let offset = 0;
        match header {
            Ok(Ok(header)) => Ok(Self {
                bytes,
                header,
                at: fields.0.position(),
                last: offset,
                complete: false,
                failed: false,
            }),
            Ok(Err(version)) => Err(ReadError::Version(version)),
            Err(HeaderError::Short) => Err(ReadError::Truncated { offset }),
            Err(HeaderError::Damaged(what)) => Err(ReadError::Damaged { offset, what }),
            Err(HeaderError::Other) => Err(ReadError::NotACapture),
        }
    }

    /// Returns the header of the capture.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the record that every capture ends with was read. Without it, the writer was
    /// interrupted or is still writing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Returns where the last record that was read begins, in bytes.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.last
    }

    fn record(&mut self) -> Result<Record, ReadError> {
        let offset = self.at;
        self.last = offset;
        let damaged = |what| ReadError::Damaged { offset, what };
        if self.complete {
            return Err(damaged("the capture has ended before"));
        }
        let mut fields = Fields(Decoder::new(&self.bytes[offset..]));
        let record = fields.record().map_err(|error| match error {
            ItemError::Short => ReadError::Truncated { offset },
            ItemError::Value(what) => damaged(what),
        })?;
        self.at += fields.0.position();
        self.complete = matches!(record.entry, Entry::End { .. });
        Ok(record)
    }
}

enum HeaderError {
    Short,
    Damaged(&'static str),
    Other,
}

/// Whether these bytes begin as a capture does, as far as they go.
fn is_beginning(bytes: &[u8]) -> bool {
    let mut expected = Cbor::new();
    expected.tag(SELF_DESCRIBED).array(3).text(MAGIC);
    let expected = expected.bytes_so_far();
    let length = bytes.len().min(expected.len());
    length > 0 && bytes[..length] == expected[..length]
}

impl Iterator for Reader<'_> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.at >= self.bytes.len() {
            return None;
        }
        let record = self.record();
        self.failed = record.is_err();
        Some(record)
    }
}

impl<'a> Fields<'a> {
    /// Decodes bytes that are one record.
    pub(crate) fn record_of(bytes: &'a [u8]) -> Option<Record> {
        Self(Decoder::new(bytes)).record().ok()
    }

    /// Reads the header, or only the version if it is another.
    fn header(&mut self) -> Result<Result<Header, u64>, ItemError> {
        if self.0.tag()?.as_u64() != SELF_DESCRIBED {
            return Err(ItemError::Value("the tag of CBOR"));
        }
        let length = self.array()?;
        if length < 2 || self.text()? != MAGIC {
            return Err(ItemError::Value("the name of the format"));
        }
        let version = self.uint()?;
        if version != VERSION {
            return Ok(Err(version));
        }
        let entries = self
            .0
            .map()?
            .ok_or(ItemError::Value("a map of known length"))?;
        let (mut payloads, mut unix_micros, mut writer) = (None, 0, String::new());
        for _ in 0..entries {
            match self.text()? {
                "payloads" => payloads = Some(self.flag()?),
                "unix_micros" => unix_micros = self.uint()?,
                "writer" => writer = self.owned()?,
                // Later writers may add entries.
                _ => self.0.skip()?,
            }
        }
        let payloads = payloads.ok_or(ItemError::Value("whether payloads are there"))?;
        Ok(Ok(Header {
            payloads,
            unix_micros,
            writer,
        }))
    }

    fn record(&mut self) -> Result<Record, ItemError> {
        let length = self.array()?;
        let (link, time, name) = (self.uint()?, self.time()?, self.text()?);
        let left = length.checked_sub(3).ok_or(ItemError::Value("a record"))?;
        let entry = self.entry(name, left)?;
        Ok(Record { link, time, entry })
    }

    /// Reads the rest of a record, which has `left` items.
    fn entry(&mut self, name: &str, left: u64) -> Result<Entry, ItemError> {
        let (arguments, has_outcome) =
            shape(name).ok_or(ItemError::Value("a record of no known name"))?;
        let returned = has_outcome && left == arguments + 1;
        if left != arguments && !returned {
            return Err(ItemError::Value("a record of another length"));
        }
        Ok(match name {
            "new" => Entry::New {
                role: config::decode_role(self)?,
                seed: self.chunk()?,
                config: Box::new(config::decode(self)?),
            },
            "clock" => Entry::Clock {
                unix_micros: self.uint()?,
            },
            "ask" => Entry::Ask,
            "opened" => Entry::Opened {
                in_order: self.when(returned, Self::flag)?,
            },
            "secured" => Entry::Secured {
                peer: self.peer()?,
                in_order: self.when(returned, Self::flag)?,
            },
            "in" => Entry::In(self.data()?),
            "eof" => Entry::Eof,
            "lost" => Entry::Lost(self.disconnect()?),
            "timeout" => Entry::Timeout,
            "send" => Entry::Send {
                channel: self.channel()?,
                message: self.data_of_any_length()?,
                expires: self.optional(Self::time)?,
                outcome: self.when(returned, |fields| fields.outcome(Self::uint))?,
            },
            "take" => Entry::Take {
                channel: self.channel()?,
                outcome: self.when(returned, Self::taken)?,
            },
            "handle" => Entry::Handle {
                channel: self.channel()?,
                sequence: self.uint()?,
                // One that is too long is an error of the call, so it may be in a capture.
                reply: self.optional(Self::data_of_any_length)?,
                outcome: self.when(returned, Self::settled)?,
            },
            "reject" => Entry::Reject {
                channel: self.channel()?,
                sequence: self.uint()?,
                code: self.u32()?,
                reason: self.owned()?,
                outcome: self.when(returned, Self::settled)?,
            },
            "abandon" => Entry::Abandon {
                channel: self.channel()?,
                outcome: self.when(returned, Self::settled)?,
            },
            "close" => Entry::Close {
                mode: self.close_mode()?,
                reason: CloseReason {
                    code: self.u32()?,
                    text: self.owned()?,
                    again: self.flag()?,
                },
            },
            "takeover" => Entry::TakeOver {
                incoming: self.optional(Self::uint)?,
                outcome: self.when(returned, |fields| match fields.text()? {
                    "done" => Ok(TakeOver::Done),
                    "stale" => Ok(TakeOver::Stale),
                    "session-over" => Ok(TakeOver::SessionOver),
                    "not-mine" => Ok(TakeOver::NotMine),
                    _ => Err(ItemError::Value("what became of a connection")),
                })?,
            },
            "declare" => Entry::Declare(config::decode_channels(self)?),
            "admit" => Entry::Admit {
                gone: self.optional(Self::gone)?,
            },
            "refuse" => Entry::Refuse(Refusal {
                code: self.0.u16()?,
                text: self.owned()?,
                again: self.flag()?,
            }),
            "connect" => Entry::Connect,
            "evict" => Entry::Evict,
            "revoke" => Entry::Revoke,
            "out" => Entry::Out {
                space: self.uint()?,
                outcome: self.when(returned, Self::said)?,
            },
            "event" => Entry::Event {
                outcome: self.when(returned, |fields| fields.optional(Self::happened))?,
            },
            "gone" => Entry::Gone,
            _ => Entry::End { why: self.owned()? },
        })
    }

    fn when<T>(
        &mut self,
        returned: bool,
        read: impl FnOnce(&mut Self) -> Result<T, ItemError>,
    ) -> Result<Option<T>, ItemError> {
        returned.then(|| read(self)).transpose()
    }

    /// Reads what `read` reads, or a text.
    fn outcome<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ItemError>,
    ) -> Result<Outcome<T>, ItemError> {
        if self.is_text()? {
            return self.owned().map(Err);
        }
        read(self).map(Ok)
    }

    fn settled(&mut self) -> Result<Outcome<()>, ItemError> {
        self.outcome(|fields| Ok(fields.0.null()?))
    }

    fn disconnect(&mut self) -> Result<Disconnect, ItemError> {
        let name = self.text()?;
        let found = Disconnect::ALL.into_iter().find(|how| how.name() == name);
        found.ok_or(ItemError::Value("how a connection was lost"))
    }

    fn close_mode(&mut self) -> Result<CloseMode, ItemError> {
        Ok(match self.text()? {
            "drain-both" => CloseMode::DrainBoth,
            "drain" => CloseMode::Drain,
            "withdraw" => CloseMode::Withdraw,
            _ => return Err(ItemError::Value("a way to close")),
        })
    }

    fn data(&mut self) -> Result<Data, ItemError> {
        let data = self.data_of_any_length()?;
        if data.len() > MAX_DATA {
            return Err(ItemError::Value("more bytes than one call has"));
        }
        Ok(data)
    }

    /// Reads a reply that has arrived.
    fn reply(&mut self) -> Result<Data, ItemError> {
        let reply = self.data_of_any_length()?;
        if reply.len() > MAX_REPLY as u64 {
            return Err(ItemError::Value("more bytes than a reply has"));
        }
        Ok(reply)
    }

    fn data_of_any_length(&mut self) -> Result<Data, ItemError> {
        if self.kind()? == Type::Bytes {
            let bytes = self.0.bytes()?;
            let part = (!bytes.is_empty()).then(|| Part::Bytes(bytes.to_vec()));
            return Ok(Data(part.into_iter().collect()));
        }
        let (mut parts, mut total) = (Vec::new(), 0_u64);
        for _ in 0..self.array()? {
            let part = if self.is_uint()? {
                Part::LeftOut(self.uint()?)
            } else {
                Part::Bytes(self.0.bytes()?.to_vec())
            };
            let sum = total.checked_add(part.len());
            total = sum.ok_or(ItemError::Value("more bytes than there can be"))?;
            parts.push(part);
        }
        Ok(Data(parts))
    }

    fn gone(&mut self) -> Result<Gone, ItemError> {
        self.expect_array(3)?;
        let (session, peer) = (self.chunk()?, self.peer()?);
        let entries = self
            .0
            .map()?
            .ok_or(ItemError::Value("a map of known length"))?;
        let mut channels = Vec::new();
        for _ in 0..entries {
            channels.push((self.owned()?, self.uint()?));
        }
        Ok(Gone {
            session,
            peer,
            channels,
        })
    }

    fn taken(&mut self) -> Result<Taken, ItemError> {
        if self.is_null()? {
            self.0.null()?;
            return Ok(Taken::Nothing);
        }
        self.expect_array(2)?;
        if self.is_uint()? {
            return Ok(Taken::Message(self.uint()?, self.uint()?));
        }
        if self.text()? != "session-border" {
            return Err(ItemError::Value("what was taken"));
        }
        let name = self.text()?;
        let mut all = SessionLoss::ALL.into_iter();
        let found = all.find(|loss| loss.name() == name);
        let loss = found.ok_or(ItemError::Value("how a session was lost"))?;
        Ok(Taken::SessionBorder(loss))
    }

    fn said(&mut self) -> Result<Said, ItemError> {
        if self.is_null()? {
            self.0.null()?;
            return Ok(Said::Idle);
        }
        if self.is_text()? {
            return match self.text()? {
                "end" => Ok(Said::End),
                _ => Err(ItemError::Value("what was said")),
            };
        }
        if self.is_uint()? {
            return self.uint().map(Said::TooSmall);
        }
        self.data().map(Said::Bytes)
    }

    fn happened(&mut self) -> Result<RecordedEvent, ItemError> {
        let length = self.array()?;
        let name = self.text()?;
        Ok(match (name, length) {
            ("connected" | "resumed" | "peer-closing", 1) => RecordedEvent::Plain {
                name: name.to_owned(),
            },
            ("lost" | "session-lost", 2) => RecordedEvent::Because {
                name: name.to_owned(),
                why: self.owned()?,
            },
            ("readable" | "room" | "lease-held" | "lease-lapsed", 2) => RecordedEvent::OnChannel {
                name: name.to_owned(),
                channel: self.channel()?,
            },
            ("handled", 4) => RecordedEvent::Handled {
                channel: self.channel()?,
                first: self.uint()?,
                last: self.uint()?,
            },
            ("verdict", 4..=6) => RecordedEvent::Verdict {
                channel: self.channel()?,
                sequence: self.uint()?,
                kind: self.owned()?,
                reply: (length == 5).then(|| self.reply()).transpose()?,
                rejection: if length == 6 {
                    Some((self.u32()?, self.owned()?))
                } else {
                    None
                },
            },
            ("ended", 3) => RecordedEvent::Ended(Ended {
                name: self.owned()?,
                text: self.owned()?,
            }),
            _ => return Err(ItemError::Value("an event of no known form")),
        })
    }
}

/// Returns how many arguments a record of this name has, and whether an outcome may follow them.
fn shape(name: &str) -> Option<(u64, bool)> {
    Some(match name {
        "ask" | "eof" | "timeout" | "connect" | "evict" | "revoke" | "gone" => (0, false),
        "clock" | "in" | "lost" | "declare" | "admit" | "end" => (1, false),
        "new" | "refuse" => (3, false),
        "close" => (4, false),
        "opened" | "event" => (0, true),
        "secured" | "take" | "abandon" | "takeover" | "out" => (1, true),
        "send" | "handle" => (3, true),
        "reject" => (4, true),
        _ => return None,
    })
}
