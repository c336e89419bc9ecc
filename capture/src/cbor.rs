//! Items of CBOR: what captures are made of.

use countersign_core::{Instant, PeerId};
use minicbor::Encoder;
use minicbor::data::Type;
use minicbor::decode::Decoder;

use crate::split::Split;

/// CBOR in memory, where writing can't fail.
#[derive(Debug)]
pub(crate) struct Cbor(Encoder<Vec<u8>>);

impl Cbor {
    pub(crate) fn new() -> Self {
        Self(Encoder::new(Vec::new()))
    }

    pub(crate) fn bytes_so_far(&self) -> &[u8] {
        self.0.writer()
    }

    pub(crate) fn clear(&mut self) {
        let buffer = self.0.writer_mut();
        buffer.clear();
        // One long message must not keep its memory from then on.
        buffer.shrink_to(1 << 16);
    }

    pub(crate) fn uint(&mut self, value: u64) -> &mut Self {
        let _ = self.0.u64(value);
        self
    }

    pub(crate) fn size(&mut self, value: usize) -> &mut Self {
        self.uint(value as u64)
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        let _ = self.0.str(value);
        self
    }

    pub(crate) fn raw(&mut self, value: &[u8]) -> &mut Self {
        let _ = self.0.bytes(value);
        self
    }

    pub(crate) fn flag(&mut self, value: bool) -> &mut Self {
        let _ = self.0.bool(value);
        self
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        let _ = self.0.null();
        self
    }

    pub(crate) fn array(&mut self, length: usize) -> &mut Self {
        let _ = self.0.array(length as u64);
        self
    }

    pub(crate) fn map(&mut self, length: usize) -> &mut Self {
        let _ = self.0.map(length as u64);
        self
    }

    pub(crate) fn tag(&mut self, tag: u64) -> &mut Self {
        let _ = self.0.tag(minicbor::data::Tag::new(tag));
        self
    }

    pub(crate) fn peer(&mut self, peer: Option<PeerId>) -> &mut Self {
        match peer {
            Some(PeerId(id)) => self.raw(&id),
            None => self.null(),
        }
    }

    /// Writes the bytes of a message or of a reply, or only how many they are.
    pub(crate) fn payload(&mut self, bytes: &[u8], leave_out: bool) -> &mut Self {
        if leave_out && !bytes.is_empty() {
            self.array(1).size(bytes.len())
        } else {
            self.raw(bytes)
        }
    }

    /// Writes these bytes, without payloads if `split` finds them.
    pub(crate) fn data(&mut self, bytes: &[u8], split: Option<&mut Split>) -> &mut Self {
        let Some(split) = split else {
            return self.raw(bytes);
        };
        let mut parts: Vec<(usize, bool)> = Vec::new();
        split.split(bytes, |piece, keep| match parts.last_mut() {
            Some((length, same)) if *same == keep => *length += piece.len(),
            _ => parts.push((piece.len(), keep)),
        });
        if parts.iter().all(|(_, keep)| *keep) {
            return self.raw(bytes);
        }
        self.array(parts.len());
        let mut at = 0;
        for (length, keep) in parts {
            if keep {
                self.raw(&bytes[at..at + length]);
            } else {
                self.size(length);
            }
            at += length;
        }
        self
    }
}

/// What is wrong with an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ItemError {
    /// The bytes end inside it.
    Short,
    /// It is not what it should be.
    Value(&'static str),
}

impl From<minicbor::decode::Error> for ItemError {
    fn from(error: minicbor::decode::Error) -> Self {
        if error.is_end_of_input() {
            Self::Short
        } else {
            Self::Value("an item of another type, or none of CBOR")
        }
    }
}

/// A reader of the items of one header or record.
pub(crate) struct Fields<'a>(pub(crate) Decoder<'a>);

impl<'a> Fields<'a> {
    pub(crate) fn uint(&mut self) -> Result<u64, ItemError> {
        Ok(self.0.u64()?)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ItemError> {
        Ok(self.0.u32()?)
    }

    pub(crate) fn size(&mut self) -> Result<usize, ItemError> {
        usize::try_from(self.uint()?).map_err(|_| ItemError::Value("a size of this machine's"))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, ItemError> {
        Ok(self.0.bool()?)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, ItemError> {
        Ok(self.0.str()?)
    }

    pub(crate) fn owned(&mut self) -> Result<String, ItemError> {
        self.text().map(str::to_owned)
    }

    pub(crate) fn array(&mut self) -> Result<u64, ItemError> {
        self.0
            .array()?
            .ok_or(ItemError::Value("an array of known length"))
    }

    pub(crate) fn expect_array(&mut self, length: u64) -> Result<(), ItemError> {
        if self.array()? == length {
            Ok(())
        } else {
            Err(ItemError::Value("an array of another length"))
        }
    }

    pub(crate) fn kind(&self) -> Result<Type, ItemError> {
        Ok(self.0.datatype()?)
    }

    pub(crate) fn is_text(&self) -> Result<bool, ItemError> {
        Ok(self.kind()? == Type::String)
    }

    pub(crate) fn is_uint(&self) -> Result<bool, ItemError> {
        let kind = self.kind()?;
        Ok(matches!(kind, Type::U8 | Type::U16 | Type::U32 | Type::U64))
    }

    pub(crate) fn is_null(&self) -> Result<bool, ItemError> {
        Ok(self.kind()? == Type::Null)
    }

    /// Reads what `read` reads, or null.
    pub(crate) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ItemError>,
    ) -> Result<Option<T>, ItemError> {
        if self.is_null()? {
            self.0.null()?;
            return Ok(None);
        }
        read(self).map(Some)
    }

    pub(crate) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], ItemError> {
        let bytes = self.0.bytes()?;
        bytes
            .try_into()
            .map_err(|_| ItemError::Value("bytes of another length"))
    }

    pub(crate) fn peer(&mut self) -> Result<Option<PeerId>, ItemError> {
        self.optional(|fields| fields.chunk().map(PeerId))
    }

    pub(crate) fn time(&mut self) -> Result<Instant, ItemError> {
        self.uint().map(Instant::from_micros)
    }

    pub(crate) fn channel(&mut self) -> Result<u16, ItemError> {
        Ok(self.0.u16()?)
    }
}
