//! What captures hold, when they end, and that playing them back does the same.

#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::io::{self, Write};

use crate::common::{
    self, MARKER, Pair, Sink, VIDEO, captured, configs, payload, records, sessions, visits,
};
use countersign_capture::{
    Capture, Entry, MIN_LIMIT, Options, ReadError, Reader, RecordedEvent, ReplayError, Taken,
    replay,
};
use countersign_core::TakeOver;

fn holds(bytes: &[u8], marker: &[u8]) -> bool {
    bytes.windows(marker.len()).any(|window| window == marker)
}

#[test]
fn everything_is_captured_and_plays_back_to_the_same() {
    for payloads in [false, true] {
        for cut in [1, 7, usize::MAX] {
            let bytes = captured(Options::new().payloads(payloads), cut);
            let replayed = replay(&bytes).unwrap();
            assert!(replayed.complete);
            assert_eq!(replayed.links, 5);
            let records = records(&bytes);
            assert_eq!(replayed.records, records.len() as u64);
            for name in [
                "new", "clock", "ask", "opened", "secured", "in", "eof", "lost", "timeout", "send",
                "take", "handle", "reject", "abandon", "close", "takeover", "admit", "out",
                "event", "gone", "end",
            ] {
                let found = records.iter().any(|record| record.entry.name() == name);
                assert!(found, "no '{name}' in the capture");
            }
            // What is rarer is captured below.
            assert_eq!(holds(&bytes, MARKER), payloads);
        }
    }
}

#[test]
fn no_payload_is_found_in_a_capture_without_payloads() {
    let bytes = captured(Options::new(), 3);
    // Neither whole nor in pieces of three, as it came.
    for piece in [b"MARK".as_slice(), b"ARKE", b"RKER", b"MAR", b"KER"] {
        assert!(!holds(&bytes, piece));
    }
    let with = captured(Options::new().payloads(true), usize::MAX);
    assert!(holds(&with, b"MARKERMARKER"));
}

#[test]
fn refused_evicted_and_revoked_links_play_back_too() {
    let sink = Sink::default();
    let capture = Capture::to(sink.clone(), Options::new()).unwrap();
    let mut pair = Pair::arriving(&capture, &configs(), 2);
    pair.connect();
    pair.settle();
    let incoming = pair.incoming.as_mut().unwrap();
    incoming.refuse(pair.now, &countersign_core::Refusal::busy("full"));
    pair.settle();
    let mut pair = Pair::new(&capture, &configs());
    pair.connect();
    pair.settle();
    pair.lose();
    pair.ends[0].connect_now(pair.now);
    pair.ends[1].evict(pair.now);
    pair.settle();
    let gone = pair.ends[1].gone_session();
    // Another seed, for another session.
    let mut next = Pair::arriving(&capture, &configs(), 5);
    std::mem::swap(&mut next.ends[0], &mut pair.ends[0]);
    next.now = pair.now;
    next.connect();
    next.settle();
    let mut channels = configs()[1].channels().to_vec();
    channels.reverse();
    let incoming = next.incoming.as_mut().unwrap();
    assert!(incoming.declare(vec![]).is_err());
    incoming.declare(channels).unwrap();
    next.accept(Some(gone));
    next.settle();
    next.ends[0].revoke(next.now);
    next.settle();
    capture.finish().unwrap();
    let bytes = sink.bytes();
    assert!(replay(&bytes).unwrap().complete);
    let records = records(&bytes);
    let has = |name| records.iter().any(|record| record.entry.name() == name);
    for name in ["refuse", "connect", "evict", "declare", "revoke"] {
        assert!(has(name), "no '{name}' in the capture");
    }
    let too_old = records.iter().any(|record| {
        matches!(&record.entry, Entry::Event { outcome: Some(Some(RecordedEvent::Because { why, .. })) }
            if why == "too-old")
    });
    assert!(too_old, "the opener hears that its session is gone");
}

#[test]
fn sessions_that_are_lost_play_back_too() {
    for cut in [1, usize::MAX] {
        let sink = Sink::default();
        let capture = Capture::to(sink.clone(), Options::new()).unwrap();
        sessions(&capture, cut);
        capture.finish().unwrap();
        let bytes = sink.bytes();
        assert!(replay(&bytes).unwrap().complete);
        let records = records(&bytes);
        let count = |is: fn(&Entry) -> bool| records.iter().filter(|one| is(&one.entry)).count();
        // The link that goes on is given a border, and the two that end are not.
        let borders = count(|entry| {
            let Entry::Take { outcome, .. } = entry else {
                return false;
            };
            matches!(outcome, Some(Taken::SessionBorder(_)))
        });
        assert_eq!(borders, 1);
        let left_behind = count(|entry| {
            let Entry::TakeOver { outcome, .. } = entry else {
                return false;
            };
            *outcome == Some(TakeOver::SessionOver)
        });
        assert_eq!(left_behind, 1);
        let over = count(|entry| {
            matches!(entry, Entry::Event { outcome: Some(Some(RecordedEvent::Ended(end))) }
                if end.name == "session-lost")
        });
        assert_eq!(over, 2);
    }
}

#[test]
fn a_capture_ends_at_its_limit_and_not_above() {
    let whole = captured(Options::new().payloads(true), 7);
    for limit in (MIN_LIMIT..whole.len() as u64 + 40).step_by(331) {
        let options = Options::new().payloads(true).limit(limit);
        let sink = Sink::default();
        let capture = Capture::to(sink.clone(), options).unwrap();
        visits(&capture, 7);
        common::stream(&capture, 7);
        let end = capture.finish().unwrap();
        let bytes = sink.bytes();
        assert_eq!(end.bytes, bytes.len() as u64);
        assert!(end.bytes <= limit, "{} bytes of {limit}", end.bytes);
        assert_eq!(end.why == "finished", bytes.len() >= whole.len(), "{limit}");
        assert!(replay(&bytes).unwrap().complete, "at a limit of {limit}");
    }
    let short = Options::new().limit(MIN_LIMIT - 1);
    let error = Capture::to(Sink::default(), short).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn every_beginning_of_a_capture_can_be_read() {
    let bytes = captured(Options::new(), usize::MAX);
    let whole = records(&bytes);
    let mut ends = vec![];
    let mut reader = Reader::new(&bytes).unwrap();
    while reader.next().is_some() {
        ends.push(reader.offset());
    }
    ends.push(bytes.len());
    for length in 0..bytes.len() {
        let cut = &bytes[..length];
        let mut reader = match Reader::new(cut) {
            Ok(reader) => reader,
            Err(error) => {
                assert!(length < ends[0], "{length}");
                let expected = if length == 0 {
                    ReadError::NotACapture
                } else {
                    ReadError::Truncated { offset: 0 }
                };
                assert_eq!(error, expected);
                continue;
            }
        };
        let last = ends.iter().rposition(|end| *end <= length).unwrap();
        let mut read = Vec::new();
        let mut error = None;
        for record in reader.by_ref() {
            match record {
                Ok(record) => read.push(record),
                Err(wrong) => error = Some(wrong),
            }
        }
        assert_eq!(read, whole[..last]);
        assert!(!reader.is_complete());
        let offset = ends[last];
        let expected = (offset < length).then_some(ReadError::Truncated { offset });
        assert_eq!(error, expected);
        // Playing is slower than reading.
        if length % 7 > 0 && !ends.contains(&length) {
            continue;
        }
        match (replay(cut), expected) {
            (Ok(replayed), None) => assert!(!replayed.complete),
            (Err(ReplayError::Unreadable(error)), Some(expected)) => assert_eq!(error, expected),
            (result, _) => panic!("{length}: {result:?}"),
        }
    }
}

#[test]
fn a_change_shows_in_a_replay() {
    let bytes = captured(Options::new().payloads(true), usize::MAX);
    let at = |needle: &[u8]| {
        let found = bytes
            .windows(needle.len())
            .position(|window| window == needle);
        found.unwrap()
    };
    // The reason of a rejection, where the application gives it.
    let mut other = bytes.clone();
    other[at(b"\x65event\x86\x67verdict\x01\x02\x68rejected\x05\x62no") + 28] = b'y';
    let Err(ReplayError::Differs(difference)) = replay(&other) else {
        panic!("the change must show");
    };
    assert!(difference.replayed.is_some());
    assert_eq!(difference.captured.entry.name(), "event");
}

#[test]
fn what_is_no_capture_is_told_so() {
    for bytes in [
        b"".as_slice(),
        b"GIF89a",
        b"\xd9\xd9\xf7\x80",
        &[0; 100],
        &[0xff; 100],
    ] {
        let error = Reader::new(bytes).unwrap_err();
        assert!(
            matches!(error, ReadError::NotACapture),
            "{bytes:?}: {error:?}"
        );
    }
    let bytes = captured(Options::new(), usize::MAX);
    let mut other = bytes.clone();
    other[24] = 2;
    assert_eq!(Reader::new(&other).unwrap_err(), ReadError::Version(2));
    let mut behind = bytes.clone();
    behind.extend_from_slice(b"\x84\x00\x00\x63end\x60");
    let last = Reader::new(&behind).unwrap().last();
    assert!(matches!(last, Some(Err(ReadError::Damaged { offset, .. })) if offset == bytes.len()));
}

/// The methods of `Link` and `Incoming` that may change one, by their sources.
fn methods() -> Vec<String> {
    let core = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../core/src"));
    let link = std::fs::read_dir(core.join("link")).unwrap();
    let link = link.map(|file| file.unwrap().path());
    let mut found = Vec::new();
    for path in link.chain([core.join("acceptor/incoming.rs")]) {
        if path.ends_with("planted.rs") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for rest in text.split("    pub fn ").skip(1) {
            let (name, rest) = rest.split_once(['(', '<']).unwrap();
            let arguments = rest.split(')').next().unwrap();
            if arguments.contains("mut self") {
                found.push(name.to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_call_that_may_change_a_link_is_recorded() {
    // Whoever adds a method adds a `Call`, a record, its replay, and a line here.
    let recorded = [
        "abandon",
        "accept",
        "close",
        "close_with",
        "connect_now",
        "declare",
        "evict",
        "handle",
        "handle_eof",
        "handle_input",
        "handle_lost",
        "handle_opened",
        "handle_secured",
        "handle_timeout",
        "handle_with",
        // About the memory of payloads alone.
        "keep_spent",
        // A mistake that the project's own tests plant.
        "plant",
        "poll_event",
        "poll_output",
        "refuse",
        "reject",
        // Shows where it is accepted.
        "remember",
        "revoke",
        "send",
        // Recorded as one `send` for each message.
        "send_batch",
        "take",
        // Likewise.
        "take_batch",
        "take_over",
        // Gives what the calls before have let go of, and changes nothing.
        "take_spent",
    ];
    assert_eq!(methods(), recorded);
}

/// Fails with the write that comes after so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = self.0.min(bytes.len());
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_disturbs_no_link() {
    for room in [0, 10, 1000] {
        let capture = Capture::to(Full(room), Options::new()).unwrap();
        visits(&capture, usize::MAX);
        let error = capture.finish().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        visits(&capture, usize::MAX);
    }
}

#[test]
fn a_capture_ends_with_its_last_link() {
    let sink = Sink::default();
    let (sent, done) = std::sync::mpsc::channel::<()>();
    struct Told(
        Sink,
        #[allow(dead_code, reason = "dropped with the thread")] std::sync::mpsc::Sender<()>,
    );
    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let capture = Capture::to(Told(sink.clone(), sent), Options::new()).unwrap();
    let mut pair = Pair::new(&capture, &configs());
    drop(capture);
    pair.connect();
    pair.settle();
    pair.ends[0]
        .send(pair.now, VIDEO, payload(10), None)
        .unwrap();
    drop(pair);
    // The thread has gone when its end of this has.
    assert!(done.recv().is_err());
    let bytes = sink.bytes();
    assert!(replay(&bytes).unwrap().complete);
    let last = records(&bytes).pop().unwrap();
    assert_eq!(
        last.entry,
        Entry::End {
            why: "finished".to_owned()
        }
    );
}

#[cfg(unix)]
#[test]
fn a_file_is_its_owners_and_never_anothers() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("link.capture");
    let capture = Capture::file(&path, Options::new()).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = Capture::file(&path, Options::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    visits(&capture, usize::MAX);
    capture.finish().unwrap();
    assert!(replay(&std::fs::read(&path).unwrap()).unwrap().complete);
}
