//! What a peer says is data: no terminal obeys it, and it forges no line of the log.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use crate::common::{pipe, run};

/// A title for the terminal, a cleared screen, a line of a log, and text that runs backwards.
const WORDS: &str =
    "no\x1b]0;owned\x07\x1b[2J\u{9b}2J\r\n2026-11-29T00:00:00Z ERROR forged\u{202e}";
const SHOWN: &str =
    r"no\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J\r\n2026-11-29T00:00:00Z ERROR forged\u{202e}";

/// REFUSE or ABORT, with these words.
fn last_words(kind: u8, code: u16) -> Vec<u8> {
    let length = 4 + u32::try_from(WORDS.len()).expect("they are short");
    let mut frame = vec![kind, 0, 0xff, 0xff];
    frame.extend(length.to_be_bytes());
    frame.extend(code.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(WORDS.as_bytes());
    frame
}

#[test]
fn what_a_peer_says_is_escaped_on_standard_error_and_in_the_log_file() {
    // BUSY, a code that nobody knows, and a violation.
    for frame in [(0x03, 5), (0x03, 999), (0x32, 4)].map(|(kind, code)| last_words(kind, code)) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the program comes");
            stream.write_all(&frame).expect("it is taken");
            // Until the program has gone.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let folder = tempfile::tempdir().expect("there is room");
        let log = folder.path().join("log");
        let log = log.to_str().expect("the path is text");
        let flags = ["--plaintext", "--retry", "never", "--log-file", log, "-vv"];
        let finished = run(pipe("recv", ["--connect", &address], &[], &flags));
        peer.join().expect("the peer does not fail");
        assert!(finished.stderr.contains(SHOWN), "{}", finished.stderr);
        let log = fs::read_to_string(log).expect("it is there");
        assert!(log.contains(SHOWN), "{log}");
        for text in [&finished.stderr, &log] {
            let odd = |one: char| one != '\n' && one != '…' && !(' '..='~').contains(&one);
            assert!(!text.contains(odd), "{text:?}");
            assert!(!text.contains("\n2026-11-29T00:00:00Z"), "{text}");
        }
    }
}
