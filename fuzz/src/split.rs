//! The program's splitters: how a stream is cut into chunks changes neither messages nor errors, no
//! message is above its limit, and what is put together again is what was taken apart, but for what
//! lies between pictures.
//!
//! Input: one byte for the way, one for the limit, one for the size of chunks, then the stream.

use countersign_cli::split::{Joiner, SplitError, Splitter, Way};

use crate::input::{byte, pieces};
use crate::memory::bounded;

/// Not [`Way::Bytes`], in which chunks do make a difference.
const WAYS: [Way; 4] = [Way::Lines, Way::Jpeg, Way::Length, Way::Whole];
/// How a picture begins.
const SOI: [u8; 2] = [0xFF, 0xD8];
const LIMITS: [usize; 6] = [0, 1, 10, 100, 1000, 1 << 20];

/// Tries one input.
pub fn check(mut input: &[u8]) {
    let way = WAYS[usize::from(byte(&mut input)) % WAYS.len()];
    let limit = LIMITS[usize::from(byte(&mut input)) % LIMITS.len()];
    let size = usize::from(byte(&mut input));
    let whole = split(way, limit, std::iter::once(input));
    assert_eq!(whole, split(way, limit, pieces(input, 1)), "byte by byte");
    assert_eq!(
        whole,
        split(way, limit, pieces(input, size)),
        "in chunks of {size}"
    );
    whole.compare(way, limit, input);
    hold(way, limit, input);
}

/// What became of a stream.
#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    messages: Vec<Vec<u8>>,
    error: Option<SplitError>,
}

fn split<'a>(way: Way, limit: usize, chunks: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut splitter = Splitter::new(way, limit);
    let mut messages = Vec::new();
    for mut chunk in chunks {
        loop {
            match splitter.next_message(&mut chunk) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(
                        splitter.next_message(&mut &b"more\n"[..]),
                        Err(error.clone())
                    );
                    assert_eq!(splitter.finish(), Err(error.clone()));
                    let error = Some(error);
                    return Outcome { messages, error };
                }
            }
        }
        assert!(chunk.is_empty(), "bytes left over");
    }
    let error = match splitter.finish() {
        Ok(last) => {
            messages.extend(last);
            None
        }
        Err(error) => Some(error),
    };
    Outcome { messages, error }
}

impl Outcome {
    fn compare(&self, way: Way, limit: usize, stream: &[u8]) {
        assert!(self.messages.iter().all(|message| message.len() <= limit));
        let mut joiner = Joiner::new(way);
        let mut joined = Vec::new();
        for message in &self.messages {
            joiner.join(message, &mut joined).expect("split so before");
        }
        let behind = match way {
            Way::Jpeg => self.find(stream),
            _ => {
                assert!(stream.starts_with(&joined), "what came before an error");
                joined.len()
            }
        };
        match &self.error {
            Some(error) => place(way, error, behind, stream.len()),
            None if way == Way::Jpeg => {}
            None => assert_eq!(joined, stream),
        }
        match way {
            Way::Lines if self.error.is_none() => {
                let lines = stream.split_inclusive(|byte| *byte == b'\n');
                assert!(lines.eq(self.messages.iter().map(Vec::as_slice)));
            }
            Way::Jpeg => self.messages.iter().for_each(|picture| {
                assert!(picture.starts_with(&SOI) && picture.ends_with(&[0xFF, 0xD9]));
            }),
            Way::Whole => assert_eq!(self.error.is_some(), stream.len() > limit),
            Way::Bytes | Way::Lines | Way::Length => {}
        }
    }

    /// Where the last picture ends. Each is the next that begins in the stream.
    fn find(&self, stream: &[u8]) -> usize {
        let begins = |at: usize| stream[at..].windows(2).position(|bytes| bytes == SOI);
        let mut end = 0;
        for picture in &self.messages {
            end += begins(end).expect("it was found there");
            assert!(stream[end..].starts_with(picture));
            end += picture.len();
        }
        assert!(
            self.error.is_some() || begins(end).is_none(),
            "a picture was skipped"
        );
        end
    }
}

/// An error says where in the stream it is: behind what was split before, and with pictures behind
/// what was skipped too.
fn place(way: Way, error: &SplitError, behind: usize, length: usize) {
    let (behind, length) = (behind as u64, length as u64);
    let follows = |offset: u64| match way {
        Way::Jpeg => (behind..length).contains(&offset),
        _ => offset == behind,
    };
    match *error {
        SplitError::TooLarge { offset, limit } => {
            assert!(follows(offset) && (limit as u64) < length - offset);
        }
        SplitError::LengthTooLarge {
            offset,
            announced,
            limit,
        } => assert!(follows(offset) && announced as usize > limit),
        SplitError::Truncated { offset, end, .. } => {
            assert!(follows(offset) && end == length);
        }
        SplitError::NotAPicture { offset, .. } | SplitError::BadPicture { offset, .. } => {
            assert!((behind..length).contains(&offset));
        }
        SplitError::NoPictureFollows { offset, limit } => {
            assert!(offset == behind && limit < length - offset);
        }
        SplitError::NoPicture { end } => assert_eq!((behind, end), (0, length)),
        _ => panic!("{error}: which error is that?"),
    }
    assert!(!error.to_string().is_empty());
}

/// A splitter holds the message that is under way and nothing else, whatever a length claims. A
/// vector that grows has room for twice as much, beside what it had before.
fn hold(way: Way, limit: usize, stream: &[u8]) {
    let promise = 3 * limit.min(stream.len()) + 256;
    bounded(promise, || {
        let mut splitter = Splitter::new(way, limit);
        for mut chunk in pieces(stream, 7) {
            while let Ok(Some(message)) = splitter.next_message(&mut chunk) {
                assert!(message.len() <= limit);
            }
        }
    });
}
