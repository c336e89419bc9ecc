//! One message for each JPEG picture of an MJPEG elementary stream.
//!
//! The marker syntax is that of ITU-T T.81, annex B. A picture runs from SOI to the EOI on its own
//! level: segments are skipped by their length, so nothing in them, such as a preview picture in
//! APP1, ends it. Whether the picture can be decoded is not checked here.
//!
//! What cameras write between pictures is not part of them and is skipped: see [`Between`].

use super::SplitError;
use super::partial::Partial;

/// The first byte of every marker.
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

/// The most that is skipped between two pictures, in bytes. None of it is kept, but a stream
/// without pictures should not pass for one whose next picture is about to come.
const MOST_BETWEEN: u64 = 1 << 20;

/// What the next byte of the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Outside a picture.
    Outside(Between),
    /// Inside a picture.
    Inside(Part),
}

/// What the next byte is outside a picture.
///
/// There may be padding: zeros, white space, and fill bytes (0xff) before a picture. And there may
/// be heads of a multipart stream (RFC 2046): a line that begins with `--`, then lines `name:
/// value`, then an empty line. Some cameras leave out the empty line, and some the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    /// Padding, or the first byte of something else.
    Padding,
    /// The second byte of SOI, or another fill byte.
    StartCode,
    /// The second `-` of a head.
    Dash,
    /// In a head's first line.
    Boundary,
    /// At the start of another line of a head.
    Line,
    /// In the name of a line.
    Name,
    /// In the value of a line.
    Value,
}

/// What the next byte is inside a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
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
    /// Bytes since the last picture.
    between: u64,
    /// There was a picture already.
    any: bool,
    picture: Partial,
}

impl Jpeg {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            place: Place::Outside(Between::Padding),
            between: 0,
            any: false,
            picture: Partial::new(limit),
        }
    }

    pub(super) fn next_message(
        &mut self,
        input: &mut &[u8],
    ) -> Result<Option<Vec<u8>>, SplitError> {
        while let Some(&byte) = input.first() {
            let complete = match self.place {
                Place::Outside(between) => {
                    self.outside(between, input, byte)?;
                    false
                }
                Place::Inside(part) => self.inside(part, input, byte)?,
            };
            if complete {
                self.place = Place::Outside(Between::Padding);
                self.any = true;
                return Ok(Some(self.picture.complete(0)));
            }
        }
        Ok(None)
    }

    /// Takes a byte outside a picture.
    fn outside(&mut self, between: Between, input: &mut &[u8], byte: u8) -> Result<(), SplitError> {
        if between == Between::StartCode && byte == SOI {
            // The previous byte was the first of a picture, and this is its second.
            self.picture.skip(self.between - 1);
            self.between = 0;
            self.picture.take(&mut &[MARKER][..], 1)?;
            self.place = Place::Inside(Part::Marker);
            return self.picture.take(input, 1);
        }
        let offset = self.picture.start();
        let next = between.after(byte).ok_or(SplitError::NotAPicture {
            offset: offset + self.between,
            found: byte,
        })?;
        // The first byte of a picture is not between pictures.
        if self.between == MOST_BETWEEN && next != Between::StartCode || self.between > MOST_BETWEEN
        {
            return Err(SplitError::NoPictureFollows {
                offset,
                limit: MOST_BETWEEN,
            });
        }
        self.between += 1;
        self.place = Place::Outside(next);
        *input = &input[1..];
        Ok(())
    }

    /// Takes one or more bytes of a picture; returns true if the picture ends with them.
    fn inside(&mut self, part: Part, input: &mut &[u8], byte: u8) -> Result<bool, SplitError> {
        let count = skippable(part, input);
        if count > 0 {
            self.picture.take(input, count)?;
            if let Part::Segment { scan, left } = part {
                self.place = Place::Inside(in_segment(scan, left - count));
            }
            return Ok(false);
        }
        // Checked before it is taken, so that an error's offset is that of the byte.
        let next = self.after(part, byte)?;
        self.picture.take(input, 1)?;
        if let Some(next) = next {
            self.place = Place::Inside(next);
        }
        Ok(next.is_none())
    }

    /// Returns the part after `byte`, or `None` if the picture ends with it.
    fn after(&self, part: Part, byte: u8) -> Result<Option<Part>, SplitError> {
        let part = match part {
            Part::Marker if byte == MARKER => Part::Code,
            Part::Marker => return Err(self.bad(byte, "a marker (0xff) belongs")),
            Part::ScanCode if byte == 0 || is_restart(byte) => Part::Scan,
            Part::ScanCode if byte == MARKER => Part::ScanCode,
            Part::Code if byte == MARKER => Part::Code,
            Part::Code | Part::ScanCode => return self.after_code(byte),
            Part::LengthHigh { scan } => Part::LengthLow { scan, high: byte },
            Part::LengthLow { scan, high } => self.after_length(scan, high, byte)?,
            Part::Scan if byte == MARKER => Part::ScanCode,
            // These bytes are taken together; the result for one of them is right all the same.
            Part::Scan => Part::Scan,
            Part::Segment { scan, left } => in_segment(scan, left - 1),
        };
        Ok(Some(part))
    }

    fn after_code(&self, code: u8) -> Result<Option<Part>, SplitError> {
        match code {
            EOI => Ok(None),
            TEM => Ok(Some(Part::Marker)),
            SOI => Err(self.bad(code, "a picture begins before the last one ended")),
            SOS => Ok(Some(Part::LengthHigh { scan: true })),
            _ if is_restart(code) => {
                Err(self.bad(code, "no restart marker can be, outside a scan"))
            }
            SOF0..=LAST_SEGMENT => Ok(Some(Part::LengthHigh { scan: false })),
            _ => Err(self.bad(code, "the code of a marker belongs")),
        }
    }

    /// Returns the part after a segment's length, which counts its own two bytes.
    fn after_length(&self, scan: bool, high: u8, low: u8) -> Result<Part, SplitError> {
        match usize::from(u16::from_be_bytes([high, low])).checked_sub(2) {
            Some(left) => Ok(in_segment(scan, left)),
            None => Err(self.bad(low, "a segment length of at least 2 belongs")),
        }
    }

    fn bad(&self, found: u8, expected: &'static str) -> SplitError {
        SplitError::BadPicture {
            // The position of the next byte in the stream.
            offset: self.picture.start() + self.picture.len() as u64,
            found,
            expected,
        }
    }

    pub(super) fn finish(self) -> Result<(), SplitError> {
        match self.place {
            Place::Outside(_) if self.any || self.between == 0 => Ok(()),
            Place::Outside(_) => Err(SplitError::NoPicture { end: self.between }),
            Place::Inside(_) => Err(self
                .picture
                .truncated(0, "a JPEG picture without its end (0xff 0xd9)")),
        }
    }
}

impl Between {
    /// Returns what comes after `byte`, or `None` if it can't be there. SOI is not looked for.
    fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Padding | Self::Line, MARKER) => Some(Self::StartCode),
            (Self::Padding | Self::Line, b'-') => Some(Self::Dash),
            (Self::Padding, 0 | b'\r' | b'\n' | b' ' | b'\t') => Some(Self::Padding),
            (Self::StartCode, MARKER) => Some(Self::StartCode),
            // The fill bytes belonged to no marker, so they were padding.
            (Self::StartCode, _) => Self::Padding.after(byte),
            (Self::Dash, b'-') => Some(Self::Boundary),
            (Self::Boundary | Self::Value, b'\n') => Some(Self::Line),
            (Self::Boundary | Self::Value, _) if is_text(byte) => Some(self),
            (Self::Line, b'\n') => Some(Self::Padding),
            (Self::Line, b'\r') => Some(Self::Line),
            // A value may continue on the next line.
            (Self::Line, b' ' | b'\t') => Some(Self::Value),
            (Self::Line, 0) => Some(Self::Padding),
            (Self::Line | Self::Name, _) if byte.is_ascii_graphic() && byte != b':' => {
                Some(Self::Name)
            }
            (Self::Name, b':') => Some(Self::Value),
            _ => None,
        }
    }
}

/// Returns how many bytes of the input need not be looked at one by one: the rest of a segment, or
/// entropy-coded data up to the next 0xff.
fn skippable(part: Part, input: &[u8]) -> usize {
    match part {
        Part::Segment { left, .. } => left.min(input.len()),
        Part::Scan => input
            .iter()
            .position(|&byte| byte == MARKER)
            .unwrap_or(input.len()),
        _ => 0,
    }
}

/// Returns the part in a segment with `left` bytes to come.
fn in_segment(scan: bool, left: usize) -> Part {
    match (left, scan) {
        (0, true) => Part::Scan,
        (0, false) => Part::Marker,
        _ => Part::Segment { scan, left },
    }
}

fn is_restart(code: u8) -> bool {
    (RST0..=RST7).contains(&code)
}

/// Returns whether a line of a head may contain the byte.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\r' | b' '..=b'~')
}
