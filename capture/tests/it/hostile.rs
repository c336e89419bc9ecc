//! Captures that somebody has tampered with: reading and playing them ends, without a panic and
//! without more memory than the budget allows.

#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use countersign_capture::{Reader, Record, Replay, ReplayError};
use proptest::prelude::*;
use proptest::sample::Index;

const KEPT: &[u8] = include_bytes!("../captures/visits.capture");
const LIVES: &[u8] = include_bytes!("../captures/lives.capture");

fn read(bytes: &[u8]) -> Vec<Record> {
    let reader = Reader::new(bytes).into_iter().flatten();
    reader.map_while(Result::ok).collect()
}

fn play(bytes: &[u8], budget: u64) -> Result<u64, ReplayError> {
    let mut reader = Reader::new(bytes)?;
    let mut replay = Replay::new(reader.header().payloads).budget(budget);
    while let Some(record) = reader.next() {
        replay.step(&record?, reader.offset())?;
    }
    Ok(replay.replayed().records)
}

proptest! {
    #[test]
    fn bytes_that_were_changed_are_read_and_played_to_some_end(
        kept in prop::sample::select(vec![KEPT, LIVES]),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
        cut in any::<Index>(),
        moved in (any::<Index>(), 0..64_usize),
    ) {
        let mut bytes = kept.to_vec();
        for (at, byte) in changes {
            bytes[at.index(kept.len())] = byte;
        }
        let (from, length) = (moved.0.index(kept.len()), moved.1);
        let piece: Vec<u8> = bytes[from..(from + length).min(kept.len())].to_vec();
        let cut = cut.index(kept.len());
        bytes.splice(cut..cut, piece);
        let records = read(&bytes);
        let beginning = read(&bytes[..cut]);
        prop_assert!(records.starts_with(&beginning));
        if let Ok(played) = play(&bytes, 1 << 20) {
            prop_assert_eq!(played, records.len() as u64);
        }
    }

    #[test]
    fn anything_behind_a_header_is_read_to_some_end(behind in prop::collection::vec(any::<u8>(), 0..200)) {
        let header = Reader::new(KEPT).map(|mut reader| {
            reader.next();
            reader.offset()
        }).unwrap();
        let bytes = [&KEPT[..header], &behind].concat();
        let _ = play(&bytes, 1 << 20);
    }
}

#[test]
fn a_few_bytes_can_ask_for_no_more_than_the_budget() {
    let mut reader = Reader::new(KEPT).unwrap();
    let mut ends = Vec::new();
    while let Some(record) = reader.next() {
        let record = record.unwrap();
        ends.push((reader.offset(), record.entry.name()));
    }
    let (second, _) = ends[1];
    // After its beginning the first link is asked for output, given input, and told to send and to
    // reply, of 2^28 bytes each, in calls that never returned.
    let huge = b"\x1a\x10\x00\x00\x00";
    for record in [
        [b"\x84\x01\x00\x63out", &huge[..]].concat(),
        [b"\x84\x01\x00\x62in\x81", &huge[..]].concat(),
        [b"\x86\x01\x00\x64send\x00\x81", &huge[..], b"\xf6"].concat(),
        [b"\x86\x01\x00\x66handle\x00\x01\x81", &huge[..]].concat(),
    ] {
        let bytes = [&KEPT[..second], &record].concat();
        let error = play(&bytes, 1 << 20).unwrap_err();
        assert_unplayable(&error);
    }
}

fn assert_unplayable(error: &ReplayError) {
    assert!(matches!(error, ReplayError::Unplayable { .. }), "{error}");
}
