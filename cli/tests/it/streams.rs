//! A stream of any bytes comes out as it went in, whatever is a message.

use countersign_cli::words::size;
use sha2::{Digest, Sha256};

use crate::common::{self, Finished, Identities};

/// Bytes that look like anything.
fn noise(length: u32) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    };
    (0..length).map(byte).collect()
}

fn hash(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// Sends a stream through a pair of pipes.
fn carry(
    identities: &Identities,
    stream: &[u8],
    sending: &[&str],
    receiving: &[&str],
) -> (Finished, Finished) {
    let mut receiver = identities.listen("recv", receiving);
    let mut sender = identities.connect(&receiver, "send", sending);
    sender.feed(stream);
    receiver.collect();
    (sender.finish(), receiver.finish())
}

#[track_caller]
fn same(identities: &Identities, stream: &[u8], sending: &[&str], receiving: &[&str]) {
    let (sent, received) = carry(identities, stream, sending, receiving);
    let bytes = size(stream.len(), "byte");
    sent.expect(0, &format!(" {bytes}: "));
    received.expect(0, &format!(" {bytes}\n"));
    let same = hash(&received.stdout) == hash(stream);
    assert!(same, "{sending:?} {receiving:?}: {} bytes", stream.len());
}

const LINES: &[&str] = &["--split", "lines"];
const BYTES: &[&str] = &["--split", "bytes"];

#[test]
fn what_goes_in_comes_out() {
    let identities = Identities::new();
    let text = b"one\n\n\ntwo\r\nthree\r\n\0four\0\n\xff\xfe".to_vec();
    for stream in [
        Vec::new(),
        b"\n".to_vec(),
        b"\n\n\n".to_vec(),
        b"no newline".to_vec(),
        b"one\r\ntwo\r\n".to_vec(),
        vec![0; 1000],
        text,
    ] {
        for (sending, receiving) in [
            (&[][..], &[][..]),
            (LINES, LINES),
            (LINES, &[]),
            (&[], LINES),
        ] {
            same(&identities, &stream, sending, receiving);
        }
    }
}

#[test]
fn random_bytes_come_out_as_they_went_in() {
    let identities = Identities::new();
    let stream = noise(3_000_000);
    for (sending, receiving) in [
        (&[][..], &[][..]),
        (BYTES, LINES),
        (LINES, BYTES),
        // Pieces are no larger than either end takes.
        (&["--max-message", "1000"], &[]),
        (&[], &["--max-message", "999"]),
        (&["--dialect", "tlsstream"], &["--dialect", "tlsstream"]),
    ] {
        same(&identities, &stream, sending, receiving);
    }
}

#[test]
fn a_line_is_bounded_with_its_newline() {
    let identities = Identities::new();
    let limit = ["--split", "lines", "--max-message", "100"];
    let line = |length: usize| format!("{}\n", "x".repeat(length - 1)).into_bytes();
    same(&identities, &line(100).repeat(3), &limit, LINES);
    let (sent, received) = carry(&identities, &[line(100), line(101)].concat(), &limit, LINES);
    sent.expect(
        1,
        "message that starts at byte 100 of the input is larger than the limit of 100",
    );
    sent.expect(1, "sent 1 message, 100 bytes: 1 handled\n");
    assert_eq!(received.stdout, line(100));
}

#[test]
fn the_original_takes_every_piece_whole() {
    let identities = Identities::new();
    let capture = identities.file("capture");
    let dialect = ["--dialect", "tlsstream"];
    let sending = [&dialect[..], &["--capture", &capture]].concat();
    same(&identities, &noise(100_000), &sending, &dialect);
    let shown = common::run(["trace", &capture, "--kind", "send"]).text();
    let sizes = shown.lines().filter_map(|line| {
        let mut words = line.split_whitespace().rev();
        words
            .find(|word| word.parse::<usize>().is_ok())?
            .parse::<usize>()
            .ok()
    });
    let sizes: Vec<_> = sizes.collect();
    assert!(sizes.contains(&16_378), "{shown}");
    assert!(sizes.iter().all(|size| *size <= 16_378), "{shown}");
}

#[test]
fn pieces_of_a_stream_are_not_dropped() {
    for flags in [
        &["--latest", "--split", "bytes"][..],
        &["--expire-after", "1s", "--split", "bytes"],
    ] {
        let address = ["pipe", "send", "--plaintext", "--connect", "127.0.0.1:1"];
        common::run(address.iter().chain(flags)).expect(2, "choose another --split");
    }
}

#[test]
fn flags_that_drop_messages_take_lines_where_nothing_else_is_said() {
    let identities = Identities::new();
    let receiver = identities.listen("recv", &[]);
    let mut sender = identities.connect(&receiver, "send", &["--expire-after", "1h"]);
    sender.feed(b"one\ntwo\nthree");
    sender
        .finish()
        .expect(0, "sent 3 messages, 13 bytes: 3 handled");
    let received = receiver.finish();
    received.expect(0, "received 3 messages");
    assert_eq!(received.stdout, b"one\ntwo\nthree");
}

/// A film as mjpg-streamer sends it, and its pictures alone.
#[test]
fn pictures_of_a_multipart_stream() {
    let identities = Identities::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/bunny-320x180.mjpeg");
    let film = std::fs::read(path).expect("the film is there");
    let mut splitter =
        countersign_cli::split::Splitter::new(countersign_cli::split::Way::Jpeg, film.len());
    let (mut rest, mut stream) = (&film[..], Vec::new());
    while let Some(picture) = splitter.next_message(&mut rest).expect("it is good") {
        stream.extend_from_slice(b"\r\n--boundarydonotcross \r\nContent-Type: image/jpeg\r\n");
        stream.extend_from_slice(format!("Content-Length: {}\r\n\r\n", picture.len()).as_bytes());
        stream.extend_from_slice(&picture);
    }
    let split = ["--split", "jpeg"];
    let (sent, received) = carry(&identities, &stream, &split, &split);
    sent.expect(
        0,
        &format!("sent 132 messages, {} bytes: 132 handled", film.len()),
    );
    received.expect(0, "received 132 messages");
    assert!(received.stdout == film, "the pictures were changed");
}
