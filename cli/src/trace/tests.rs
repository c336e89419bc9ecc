//! What is shown of lives, leases and replies.

#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use countersign::capture::wire::{Frame, MessageHead, Pong, Times};
use countersign::capture::{Data, Entry, Instant, Part, Reader, Record, RecordedEvent, Taken};
use countersign::{Config, ReceiveChannel, Role};

use super::line::Line;
use super::links::Links;

/// A link with a connection, which has not said anything yet.
fn connected() -> Links {
    let mut links = Links::default();
    let config = Config::new().channel(ReceiveChannel::new("video").manual());
    for entry in [
        Entry::New {
            role: Role::Opener,
            seed: [1; 16],
            config: Box::new(config),
        },
        Entry::Opened {
            in_order: Some(true),
        },
    ] {
        links.lines(&record(0, entry));
    }
    links
}

fn record(time: u64, entry: Entry) -> Record {
    Record {
        link: 1,
        time: Instant::from_micros(time),
        entry,
    }
}

/// What is shown of the last line of this record, behind its time and link.
fn shown(links: &mut Links, time: u64, entry: Entry, payloads: bool) -> String {
    let lines = links.lines(&record(time, entry));
    let text = lines.last().unwrap().render(time, payloads);
    text.strip_prefix("    0.000000 1/1 ").unwrap().to_owned()
}

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    let length = frame.encode(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

fn input(bytes: &[u8]) -> Entry {
    Entry::In(Data(vec![Part::Bytes(bytes.to_vec())]))
}

fn output(bytes: &[u8]) -> Entry {
    let bytes = Data(vec![Part::Bytes(bytes.to_vec())]);
    Entry::Out {
        space: 100,
        outcome: Some(countersign::capture::Said::Bytes(bytes)),
    }
}

fn reply(reply: &[u8]) -> Vec<u8> {
    encoded(&Frame::Reply {
        channel: 0,
        sequence: 7,
        reply,
    })
}

#[test]
fn a_verdict_has_a_rejection_or_a_reply() {
    let mut links = connected();
    let rejection = encoded(&Frame::Reject {
        channel: 0,
        sequence: 7,
        code: 5,
        reason: "no\x1b",
    });
    let text = shown(&mut links, 1, input(&rejection), false);
    assert_eq!(text, "< VERDICT video number=7 code=5 reason=\"no\\u{1b}\"");
    let bytes = reply(b"yes\x1b");
    for (payloads, end) in [(false, ""), (true, " \"yes\\x1b\"")] {
        let text = shown(&mut links, 1, input(&bytes), payloads);
        let expected = format!("< VERDICT video number=7 reply=yes 4 bytes{end}");
        assert_eq!(text, expected);
    }
    let text = shown(&mut links, 1, input(&reply(b"")), true);
    assert_eq!(text, "< VERDICT video number=7 reply=yes 0 bytes \"\"");
    // However it is cut, and where it was left out.
    let (front, back) = bytes.split_at(17);
    assert!(links.lines(&record(1, input(front))).is_empty());
    let text = shown(&mut links, 1, input(back), true);
    assert!(text.ends_with(" 4 bytes \"yes\\x1b\""), "{text}");
    let left_out = Data(vec![Part::Bytes(bytes[..16].to_vec()), Part::LeftOut(4)]);
    let text = shown(&mut links, 1, Entry::In(left_out), true);
    assert_eq!(
        text,
        "< VERDICT video number=7 reply=yes 4 bytes (left out)"
    );
}

#[test]
fn a_long_reply_is_shown_up_to_the_beginning_that_payloads_have() {
    let mut links = connected();
    let text = shown(&mut links, 1, input(&reply(&[b'a'; 4096])), true);
    let shown = "a".repeat(super::line::PREVIEW);
    let end = format!("reply=yes 4096 bytes \"{shown}\"...");
    assert!(text.ends_with(&end), "{text}");
}

#[test]
fn the_reply_to_a_message_is_shown_where_it_is_given_and_where_it_arrives() {
    let mut links = connected();
    let data = |bytes: &[u8]| Some(Data(vec![Part::Bytes(bytes.to_vec())]));
    let handle = |reply, outcome| Entry::Handle {
        channel: 0,
        sequence: 7,
        reply,
        outcome,
    };
    for (entry, expected) in [
        (handle(None, Some(Ok(()))), ". handle video number=7"),
        (
            handle(data(b"a\n"), Some(Ok(()))),
            ". handle video number=7 reply=yes 2 bytes \"a\\n\"",
        ),
        (
            handle(data(b"a"), Some(Err("reply-too-long".to_owned()))),
            ". handle video number=7 reply=yes outcome=reply-too-long 1 byte \"a\"",
        ),
        (
            Entry::Event {
                outcome: Some(Some(RecordedEvent::Verdict {
                    channel: 0,
                    sequence: 7,
                    kind: "handled".to_owned(),
                    reply: Some(Data(vec![Part::LeftOut(9)])),
                    rejection: None,
                })),
            },
            ". event video event=verdict number=7 verdict=handled reply=yes 9 bytes (left out)",
        ),
    ] {
        assert_eq!(shown(&mut links, 1, entry, true), expected);
    }
}

#[test]
fn times_are_shown_and_round_trips_where_they_are_known() {
    let mut links = connected();
    let pong = |echo| {
        encoded(&Frame::Pong(Pong {
            echo,
            arrived: 70,
            time: 90,
        }))
    };
    let text = shown(&mut links, 1500, input(&pong(1000)), false);
    assert_eq!(text, "< PONG echo=1000 arrived=70 written=90");
    let text = shown(
        &mut links,
        1000,
        output(&encoded(&Frame::Ping(1000))),
        false,
    );
    assert_eq!(text, "> PING written=1000");
    let text = shown(&mut links, 1500, input(&pong(1000)), false);
    assert_eq!(
        text,
        "< PONG echo=1000 arrived=70 written=90 round_trip_ms=0.480"
    );
    // The line's own time stays what it is.
    let line = links.lines(&record(1600, input(&pong(1000)))).pop();
    let json = line.unwrap().json(false);
    assert!(json.starts_with("{\"time\":1600,"), "{json}");
    let end = "\"arrived\":70,\"written\":90,\"round_trip_ms\":0.580}";
    assert!(json.ends_with(end), "{json}");
    // The peer's own answers have none, and neither has what answers nothing.
    let text = shown(&mut links, 1500, output(&pong(1000)), false);
    assert_eq!(text, "> PONG echo=1000 arrived=70 written=90");
    let text = shown(&mut links, 1500, input(&pong(1001)), false);
    assert_eq!(text, "< PONG echo=1001 arrived=70 written=90");
}

#[test]
fn a_message_has_its_life() {
    let mut links = connected();
    for (expires, expected) in [
        (Times::NEVER, "life=unlimited"),
        (300_500, "life_ms=300.000"),
        (501, "life_ms=0.001"),
        (500, "life_ms=0.000"),
        (3, "life_ms=0.000"),
    ] {
        let head = MessageHead {
            channel: 0,
            first: true,
            last: true,
            sequence: 4,
            total: None,
            times: Some(Times {
                accepted: 500,
                expires,
            }),
            length: 0,
        };
        let mut bytes = vec![0; head.encoded_len()];
        head.encode(&mut bytes);
        let text = shown(&mut links, 1, input(&bytes), false);
        let expected = format!("< MESSAGE video number=4 accepted=500 {expected} 0 bytes");
        assert_eq!(text, expected);
    }
}

#[test]
fn a_take_of_late_messages_alone_and_leases() {
    let mut links = connected();
    let take = Entry::Take {
        channel: 0,
        outcome: Some(Taken::Nothing),
    };
    assert_eq!(
        shown(&mut links, 1, take, true),
        ". take video outcome=late"
    );
    for name in ["lease-held", "lease-lapsed"] {
        let event = RecordedEvent::OnChannel {
            name: name.to_owned(),
            channel: 0,
        };
        let outcome = Some(Some(event));
        let text = shown(&mut links, 1, Entry::Event { outcome }, true);
        assert_eq!(text, format!(". event video event={name}"));
    }
}

/// Lives, leases and replies of a whole capture, as they were played.
#[test]
fn a_capture_that_was_kept_is_shown() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../capture/tests/captures/lives.capture"
    );
    let bytes = std::fs::read(path).unwrap();
    let mut links = Links::default();
    let records = Reader::new(&bytes).unwrap().map(Result::unwrap);
    let lines: Vec<Line> = records.flat_map(|record| links.lines(&record)).collect();
    let text: Vec<String> = lines
        .iter()
        .map(|line| line.render(1_000_000, true))
        .collect();
    let text = text.join("\n");
    for words in [
        " written=1000000 channel=\"video send Reliable max=16777216 reply=40\"",
        " written=1000000 arrived=1000000 channel=\"video receive any max=16777216 reply=256 times ",
        " partial=0\" round_trip_ms=0.000",
        " > MESSAGE video number=1 accepted=1000100 life_ms=5.000 20 bytes (left out)",
        " part=first length=3000 accepted=1000250 life_ms=5.000 476 bytes ",
        " life=unlimited ",
        " . take video outcome=late",
        " event=verdict number=3 verdict=expired",
        " event=verdict number=14 verdict=handled reply=yes 6 bytes (left out)",
        " > VERDICT video number=3 code=4294901764 reason=\"\"",
        " event=lease-held",
        " event=lease-lapsed",
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    for line in lines {
        assert!(line.json(true).is_ascii());
    }
}
