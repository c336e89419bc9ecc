//! Reading and writing the fields of a frame.

use crate::PeerMisbehaved;

/// Reads fields from the front of a body.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], PeerMisbehaved> {
        let (field, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(PeerMisbehaved::Truncated)?;
        self.0 = rest;
        Ok(field)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], PeerMisbehaved> {
        let (field, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(PeerMisbehaved::Truncated)?;
        self.0 = rest;
        Ok(*field)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, PeerMisbehaved> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, PeerMisbehaved> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, PeerMisbehaved> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, PeerMisbehaved> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn text(&mut self, length: usize) -> Result<&'a str, PeerMisbehaved> {
        core::str::from_utf8(self.take(length)?).map_err(|_| PeerMisbehaved::NotText)
    }
}

/// Writes fields one after the other into a slice that is long enough.
pub(crate) struct Writer<'a> {
    pub(crate) out: &'a mut [u8],
    pub(crate) at: usize,
}

impl Writer<'_> {
    pub(crate) fn put(&mut self, field: &[u8]) {
        self.out[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }
}
