//! Captures from untrusted sources: reading one ends, every beginning of it is read alike, and a
//! replay of it neither panics nor goes on for ever.
//!
//! Input: the capture as it is.

use countersign_capture::{ReadError, Reader, Record, Replay};

/// How many bytes a replay may cover.
const BUDGET: u64 = 1 << 20;

/// Tries one input.
pub fn check(input: &[u8]) {
    let (records, error) = read(input);
    // What was read stays what it was, whatever is missing behind it.
    let half = &input[..input.len() / 2];
    let (beginning, _) = read(half);
    assert!(records.starts_with(&beginning));
    if let Some(ReadError::Truncated { offset } | ReadError::Damaged { offset, .. }) = error {
        assert!(offset <= input.len());
    }
    play(input);
}

fn read(input: &[u8]) -> (Vec<Record>, Option<ReadError>) {
    let mut reader = match Reader::new(input) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let (mut records, mut error) = (Vec::new(), None);
    for record in reader.by_ref() {
        match record {
            Ok(record) => records.push(record),
            Err(wrong) => error = Some(wrong),
        }
    }
    assert!(reader.next().is_none(), "nothing follows the end");
    (records, error)
}

/// Plays what can be played; that it does something else than it says is no news here.
fn play(input: &[u8]) {
    let Ok(mut reader) = Reader::new(input) else {
        return;
    };
    let mut replay = Replay::new(reader.header().payloads).budget(BUDGET);
    while let Some(Ok(record)) = reader.next() {
        if replay.step(&record, reader.offset()).is_err() {
            return;
        }
    }
}
