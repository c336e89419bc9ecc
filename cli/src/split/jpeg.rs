//! One message for each JPEG picture of an MJPEG elementary stream.
//!
//! The marker syntax is that of ITU-T T.81, annex B. A picture runs from SOI to the EOI on its own
//! level: segments are skipped by their length, so whatever they hold, a preview picture in APP1
//! for instance, ends nothing. Whether the picture can be decoded is not judged here.

use super::SplitError;
use super::partial::Partial;

/// What every marker begins with.
const MARKER: u8 = 0xff;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const TEM: u8 = 0x01;
const RST0: u8 = 0xd0;
const RST7: u8 = 0xd7;
/// The first code that has a segment; those below are reserved, but for [`TEM`].
const SOF0: u8 = 0xc0;
const LAST_SEGMENT: u8 = 0xfe;

/// What the next byte of the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The first byte of SOI.
    Start,
    /// The second byte of SOI.
    StartCode,
    /// The first byte of any marker.
    Marker,
    /// The code of a marker, or one more fill byte before it.
    Code,
    /// The high byte of a segment's length.
    LengthHigh { scan: bool },
    /// The low byte of a segment's length.
    LengthLow { scan: bool, high: u8 },
    /// In a segment, with `left` bytes of it to come. Entropy-coded data follows if `scan`.
    Segment { scan: bool, left: usize },
    /// In entropy-coded data.
    Scan,
    /// In entropy-coded data, after a marker's first byte.
    ScanCode,
}

#[derive(Debug)]
pub(super) struct Jpeg {
    place: Place,
    picture: Partial,
}

impl Jpeg {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            place: Place::Start,
            picture: Partial::new(limit),
        }
    }

    pub(super) fn next_message(
        &mut self,
        input: &mut &[u8],
    ) -> Result<Option<Vec<u8>>, SplitError> {
        while let Some(&byte) = input.first() {
            if self.skip(input)? {
                continue;
            }
            // Checked before it is taken, so that an error's offset is that of the byte.
            let next = self.after(byte)?;
            self.picture.take(input, 1)?;
            match next {
                Some(place) => self.place = place,
                None => {
                    self.place = Place::Start;
                    return Ok(Some(self.picture.complete(0)));
                }
            }
        }
        Ok(None)
    }

    /// Takes all the bytes that need no look at each: the rest of a segment, or entropy-coded data
    /// up to the next 0xff. False if the next byte is not of that kind.
    fn skip(&mut self, input: &mut &[u8]) -> Result<bool, SplitError> {
        let count = match self.place {
            Place::Segment { left, .. } => left.min(input.len()),
            Place::Scan => input
                .iter()
                .position(|&byte| byte == MARKER)
                .unwrap_or(input.len()),
            _ => 0,
        };
        self.picture.take(input, count)?;
        if let Place::Segment { scan, left } = self.place {
            self.place = in_segment(scan, left - count);
        }
        Ok(count > 0)
    }

    /// The place after `byte`, or `None` if the picture ends with it.
    fn after(&self, byte: u8) -> Result<Option<Place>, SplitError> {
        let place = match self.place {
            Place::Start if byte == MARKER => Place::StartCode,
            Place::StartCode if byte == SOI => Place::Marker,
            Place::Start | Place::StartCode => {
                return Err(SplitError::NotAPicture {
                    offset: self.offset(),
                    found: byte,
                });
            }
            Place::Marker if byte == MARKER => Place::Code,
            Place::Marker => return Err(self.bad(byte, "a marker (0xff) belongs")),
            Place::ScanCode if byte == 0 || is_restart(byte) => Place::Scan,
            Place::ScanCode if byte == MARKER => Place::ScanCode,
            Place::Code if byte == MARKER => Place::Code,
            Place::Code | Place::ScanCode => return self.after_code(byte),
            Place::LengthHigh { scan } => Place::LengthLow { scan, high: byte },
            Place::LengthLow { scan, high } => self.after_length(scan, high, byte)?,
            Place::Scan if byte == MARKER => Place::ScanCode,
            // `skip` takes the bytes of these places; the answers hold all the same.
            Place::Scan => Place::Scan,
            Place::Segment { scan, left } => in_segment(scan, left - 1),
        };
        Ok(Some(place))
    }

    fn after_code(&self, code: u8) -> Result<Option<Place>, SplitError> {
        match code {
            EOI => Ok(None),
            TEM => Ok(Some(Place::Marker)),
            SOI => Err(self.bad(code, "a picture begins before the last one ended")),
            SOS => Ok(Some(Place::LengthHigh { scan: true })),
            _ if is_restart(code) => {
                Err(self.bad(code, "no restart marker can be, outside a scan"))
            }
            SOF0..=LAST_SEGMENT => Ok(Some(Place::LengthHigh { scan: false })),
            _ => Err(self.bad(code, "the code of a marker belongs")),
        }
    }

    /// The length counts its own two bytes.
    fn after_length(&self, scan: bool, high: u8, low: u8) -> Result<Place, SplitError> {
        match usize::from(u16::from_be_bytes([high, low])).checked_sub(2) {
            Some(left) => Ok(in_segment(scan, left)),
            None => Err(self.bad(low, "a segment length of at least 2 belongs")),
        }
    }

    /// Where the next byte stands in the stream.
    fn offset(&self) -> u64 {
        self.picture.start() + self.picture.len() as u64
    }

    fn bad(&self, found: u8, expected: &'static str) -> SplitError {
        SplitError::BadPicture {
            offset: self.offset(),
            found,
            expected,
        }
    }

    pub(super) fn finish(self) -> Result<(), SplitError> {
        match self.place {
            Place::Start => Ok(()),
            _ => Err(self
                .picture
                .truncated(0, "a JPEG picture without its end (0xff 0xd9)")),
        }
    }
}

/// The place in a segment with `left` bytes to come.
fn in_segment(scan: bool, left: usize) -> Place {
    match (left, scan) {
        (0, true) => Place::Scan,
        (0, false) => Place::Marker,
        _ => Place::Segment { scan, left },
    }
}

fn is_restart(code: u8) -> bool {
    (RST0..=RST7).contains(&code)
}
