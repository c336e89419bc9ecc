//! What a capture does at its limits, and one above them.

#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::common::{Pair, Sink, VIDEO, configs, payload, records};
use countersign_capture::{
    Capture, Captured, Entry, MAX_DATA, Options, QUEUE, ReadError, Reader, Record, RecordedEvent,
    replay,
};
use countersign_core::{
    Bytes, Config, Event, LinkState, MAX_REPLY, ReceiveChannel, ReceiveError, SendChannel, Verdict,
};

/// The last record says how the capture ended, and all of it plays back.
fn assert_ended(sink: &Sink, end: &Captured, why: &str) -> Vec<Entry> {
    assert_eq!(end.why, why);
    let bytes = sink.bytes();
    assert_eq!(end.bytes, bytes.len() as u64);
    assert!(replay(&bytes).unwrap().complete);
    let mut entries: Vec<_> = records(&bytes).into_iter().map(|one| one.entry).collect();
    let why = why.to_owned();
    assert_eq!(entries.pop(), Some(Entry::End { why }));
    entries
}

/// A message goes over the pair as if nobody had captured anything.
fn assert_goes_on(pair: &mut Pair) {
    pair.ends[0]
        .send(pair.now, VIDEO, payload(300), None)
        .unwrap();
    pair.settle();
    let message = pair.ends[1].take(pair.now, VIDEO).unwrap().unwrap();
    assert_eq!(message.payload, payload(300));
}

fn connected(capture: &Capture) -> Pair {
    let mut pair = Pair::new(capture, &configs());
    pair.connect();
    pair.settle();
    pair
}

const MOST: usize = MAX_DATA as usize;

#[test]
fn a_call_may_have_as_many_bytes_as_a_record() {
    for (length, why) in [(MOST, "finished"), (MOST + 1, "too-large")] {
        let sink = Sink::default();
        let capture = Capture::to(sink.clone(), Options::new()).unwrap();
        let mut pair = connected(&capture);
        // Another link's: this one is no conversation.
        let mut noisy = Pair::new(&capture, &configs());
        noisy.connect();
        noisy.ends[0].handle_input(noisy.now, &vec![0; length]);
        assert_eq!(noisy.ends[0].state(), LinkState::Ended);
        assert_goes_on(&mut pair);
        let entries = assert_ended(&sink, &capture.finish().unwrap(), why);
        let inputs = entries.iter().filter_map(|entry| match entry {
            Entry::In(data) => Some(data.len()),
            _ => None,
        });
        let longest = inputs.max().unwrap();
        assert_eq!(longest == MAX_DATA, length == MOST, "{longest}");
        assert!(longest <= MAX_DATA);
    }
}

#[test]
fn a_call_may_have_as_much_room_as_a_record() {
    for (room, why) in [(MOST, "finished"), (MOST + 1, "too-large")] {
        let sink = Sink::default();
        let capture = Capture::to(sink.clone(), Options::new()).unwrap();
        let mut pair = connected(&capture);
        pair.ends[0].poll_output(pair.now, &mut vec![0; room]);
        assert_goes_on(&mut pair);
        let entries = assert_ended(&sink, &capture.finish().unwrap(), why);
        let rooms = entries.iter().filter_map(|entry| match entry {
            Entry::Out { space, .. } => Some(*space),
            _ => None,
        });
        let most = rooms.max().unwrap();
        assert_eq!(most == MAX_DATA, room == MOST, "{most}");
        assert!(most <= MAX_DATA);
    }
}

/// A sink that tells when its first bytes come, and keeps them until it is let go.
struct Slow {
    sink: Sink,
    began: Sender<()>,
    go_on: Receiver<()>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // From the second time on nobody listens and nobody keeps it.
        let _ = self.began.send(());
        let _ = self.go_on.recv();
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pair whose opener has one message under way, of which nothing has gone out.
fn with_a_message(capture: &Capture, message: &Bytes) -> Pair {
    let limit = 2 * QUEUE;
    let configs = [
        Config::new().channel(SendChannel::new("video").max_message(limit)),
        Config::new().channel(ReceiveChannel::new("video").max_message(limit)),
    ];
    let mut pair = Pair::new(capture, &configs);
    pair.connect();
    pair.settle();
    pair.ends[0]
        .send(pair.now, VIDEO, message.clone(), None)
        .unwrap();
    pair
}

/// How long a message makes all records so long that they just may wait, without the header.
fn just_fits() -> usize {
    let trial = QUEUE / 2;
    let sink = Sink::default();
    let options = Options::new().payloads(true);
    let capture = Capture::to(sink.clone(), options).unwrap();
    let pair = with_a_message(&capture, &vec![0; trial].into());
    capture.finish().unwrap();
    drop(pair);
    let bytes = sink.bytes();
    let mut reader = Reader::new(&bytes).unwrap();
    let mut begins = vec![];
    while reader.next().is_some() {
        begins.push(reader.offset());
    }
    trial + QUEUE - (begins[begins.len() - 1] - begins[0])
}

#[test]
fn a_capture_ends_where_its_file_takes_less_than_links_make() {
    let fits = just_fits();
    for (length, why) in [(fits, "finished"), (fits + 1, "overrun")] {
        let sink = Sink::default();
        let (began, has_begun) = channel();
        let (release, go_on) = channel();
        let slow = Slow {
            sink: sink.clone(),
            began,
            go_on,
        };
        let capture = Capture::to(slow, Options::new().payloads(true)).unwrap();
        // The header is being written, and all else waits behind it.
        has_begun.recv().unwrap();
        let message = Bytes::from(vec![7; length]);
        let mut pair = with_a_message(&capture, &message);
        if why == "overrun" {
            // The link goes on while nothing is written.
            pair.settle();
            let arrived = pair.ends[1].take(pair.now, VIDEO).unwrap().unwrap();
            assert!(arrived.payload == message);
            assert_eq!(sink.bytes().len(), 0);
        }
        drop(release);
        let end = capture.finish().unwrap();
        let entries = assert_ended(&sink, &end, why);
        let sends = entries.iter().filter(
            |entry| matches!(entry, Entry::Send { message, .. } if message.len() == length as u64),
        );
        assert_eq!(sends.count(), usize::from(why == "finished"));
        let opened = |entry: &Entry| matches!(entry, Entry::Opened { .. });
        assert!(entries.iter().any(opened), "what came before is there");
    }
}

/// A pair with replies of any length that there may be, and a message that has been taken.
fn asked(capture: &Capture) -> (Pair, u64) {
    let configs = [
        Config::new().channel(SendChannel::new("video").max_reply(MAX_REPLY)),
        Config::new().channel(ReceiveChannel::new("video").manual().max_reply(MAX_REPLY)),
    ];
    let mut pair = Pair::new(capture, &configs);
    pair.connect();
    pair.settle();
    pair.ends[0]
        .send(pair.now, VIDEO, payload(1), None)
        .unwrap();
    pair.settle();
    let asked = pair.ends[1].take(pair.now, VIDEO).unwrap().unwrap();
    (pair, asked.sequence)
}

#[test]
fn replies_of_any_length_are_captured() {
    for payloads in [false, true] {
        let sink = Sink::default();
        let capture = Capture::to(sink.clone(), Options::new().payloads(payloads)).unwrap();
        let (mut pair, number) = asked(&capture);
        // One that is too long has no effect, and is in the capture as it was given.
        for (length, expected) in [
            (1 << 20, Err(())),
            (MAX_REPLY + 1, Err(())),
            (MAX_REPLY, Ok(())),
        ] {
            let given = pair.ends[1].handle_with(pair.now, VIDEO, number, &payload(length));
            let given = given.map_err(|error| {
                let limit = MAX_REPLY;
                assert_eq!(error, ReceiveError::ReplyTooLong { limit });
            });
            assert_eq!(given, expected, "{length}");
        }
        let told = pair.settle();
        let reply = told.iter().find_map(|event| match event {
            Event::Verdict { verdict, .. } => Verdict::reply(verdict),
            _ => None,
        });
        assert_eq!(reply, Some(&payload(MAX_REPLY)));
        let entries = assert_ended(&sink, &capture.finish().unwrap(), "finished");
        let lengths = entries.iter().filter_map(|entry| match entry {
            Entry::Handle { reply, .. } => Some(reply.as_ref()?.len()),
            Entry::Event { outcome } => match outcome.as_ref()?.as_ref()? {
                RecordedEvent::Verdict { reply, .. } => Some(reply.as_ref()?.len()),
                _ => None,
            },
            _ => None,
        });
        let most = MAX_REPLY as u64;
        let expected = [1 << 20, most + 1, most, most];
        assert_eq!(lengths.collect::<Vec<_>>(), expected);
    }
}

/// Reads a capture that has these bytes behind the header of another.
fn read_behind_header(capture: &[u8], behind: &[u8]) -> Result<Record, ReadError> {
    let mut reader = Reader::new(capture).unwrap();
    reader.next();
    let bytes = [&capture[..reader.offset()], behind].concat();
    Reader::new(&bytes).unwrap().next().unwrap()
}

#[test]
fn no_verdict_has_more_bytes_than_a_reply() {
    let sink = Sink::default();
    let capture = Capture::to(sink.clone(), Options::new()).unwrap();
    capture.finish().unwrap();
    // 4096 bytes, in one part and in two; the last digit counts on.
    for reply in [
        &b"\x81\x19\x10\x00"[..],
        b"\x82\x41x\x19\x0f\xff",
        b"\x82\x18\xff\x19\x0f\x01",
    ] {
        for more in [0, 1] {
            let verdict = b"\x84\x01\x00\x65event\x85\x67verdict\x00\x01\x67handled";
            let mut bytes = [&verdict[..], reply].concat();
            let at = bytes.len() - 2;
            let figure = u16::from_be_bytes([bytes[at], bytes[at + 1]]) + more;
            bytes[at..].copy_from_slice(&figure.to_be_bytes());
            let read = read_behind_header(&sink.bytes(), &bytes);
            let what = "more bytes than a reply has";
            match read {
                Ok(_) => assert_eq!(more, 0),
                Err(error) => {
                    assert_eq!(more, 1);
                    assert!(matches!(error, ReadError::Damaged { what: said, .. } if said == what));
                }
            }
        }
    }
}

#[test]
fn no_declaration_has_longer_replies_than_there_are() {
    let sink = Sink::default();
    let capture = Capture::to(sink.clone(), Options::new()).unwrap();
    drop(asked(&capture));
    capture.finish().unwrap();
    let mut bytes = sink.bytes();
    assert!(replay(&bytes).unwrap().complete);
    let longest = b"\x1a\xff\xff\xff\xff\x19\x10\x00\xf6";
    let at = |window: &[u8]| window == longest;
    // After the default of another figure, in the declaration of the opener.
    let found = bytes.windows(longest.len()).position(at).unwrap();
    bytes[found + 7] = 1;
    let error = Reader::new(&bytes).unwrap().find_map(Result::err).unwrap();
    assert!(matches!(error, ReadError::Damaged { what, .. } if what == "a declaration"));
}
