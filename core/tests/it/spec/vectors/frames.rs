//! Valid frames: bytes to fields and back.

use countersign_core::wire::{
    ChannelEntry, CloseHead, Decoder, Frame, FrameType, GreetingHead, MessageHead, Piece, Pong,
    SessionOutcome, Times, encode_close, encode_greeting,
};
use countersign_core::{Mode, Policy};

use super::{Vector, bytes, parse, read};
use crate::common::Cut;
use crate::common::bytes::to_hex;

#[test]
fn bytes_give_fields() {
    for vector in read("frames.txt") {
        let input = bytes(vector.get("bytes"));
        for cut in [Cut::Whole, Cut::Bytes] {
            let expected: Vec<&String> = vector
                .lines
                .iter()
                .filter(|line| !line.starts_with("bytes:"))
                .collect();
            assert_eq!(
                expected,
                decode(&input, cut).iter().collect::<Vec<_>>(),
                "{} {cut:?}",
                vector.name
            );
        }
    }
}

#[test]
fn fields_give_bytes() {
    for vector in read("frames.txt") {
        let expected = bytes(vector.get("bytes"));
        assert_eq!(
            to_hex(&encode(&vector)),
            to_hex(&expected),
            "{}",
            vector.name
        );
    }
}

/// The lines of the only frame in `input`.
fn decode(input: &[u8], cut: Cut) -> Vec<String> {
    let mut decoder = Decoder::new(16_384);
    let mut lines = Vec::new();
    let mut payload = None;
    for mut piece in cut.pieces(input) {
        while let Some(piece) = decoder.next(&mut piece).expect("a valid frame") {
            match piece {
                Piece::Message { head, data } => {
                    lines.extend(message_lines(&head));
                    payload = Some(data.to_vec());
                }
                Piece::More(data) => payload.as_mut().expect("begun").extend(data),
                Piece::Frame(frame) => lines.extend(frame_lines(&frame)),
            }
        }
    }
    assert!(decoder.is_between_frames());
    lines.extend(payload.map(|payload| line("payload", to_hex(&payload))));
    lines
}

fn line(key: &str, value: impl core::fmt::Display) -> String {
    format!("{key}: {value}").trim_end().to_owned()
}

fn message_lines(head: &MessageHead) -> Vec<String> {
    let mut lines = vec![
        line("type", "MESSAGE"),
        line("channel", head.channel),
        line("first", head.first),
        line("last", head.last),
        line("number", head.sequence),
    ];
    lines.extend(head.total.map(|total| line("total", total)));
    if let Some(times) = head.times {
        lines.push(line("accepted", times.accepted));
        lines.push(line("expires", times.expires));
    }
    lines
}

fn frame_lines(frame: &Frame<'_>) -> Vec<String> {
    let name = format!("{:?}", frame.kind()).to_uppercase();
    let mut lines = vec![line("type", name)];
    let mut put = |key: &str, value: &dyn core::fmt::Display| lines.push(line(key, value));
    match *frame {
        Frame::Hello(greeting) | Frame::Welcome(greeting) => {
            put("version_min", &greeting.head.version_min);
            put("version_max", &greeting.head.version_max);
            put("outcome", &format!("{:?}", greeting.head.outcome));
            put("attempt", &greeting.head.attempt.to_string());
            put("frame_limit", &greeting.head.frame_limit);
            put("session", &to_hex(&greeting.head.session));
            put("time", &greeting.head.time);
            put("arrived", &greeting.head.arrived);
            for entry in greeting.channels() {
                put("channel", &entry_line(&entry));
            }
        }
        Frame::Refuse {
            channel,
            code,
            again,
            text,
        } => {
            put("channel", &channel);
            put("code", &code);
            put("again", &again);
            put("text", &text);
        }
        Frame::Skip { channel, through } => {
            put("channel", &channel);
            put("through", &through);
        }
        Frame::Ack { channel, handled } => {
            put("channel", &channel);
            put("handled", &handled);
        }
        Frame::Reject {
            channel,
            sequence,
            code,
            reason,
        } => {
            put("reply", &false);
            put("channel", &channel);
            put("number", &sequence);
            put("code", &code);
            put("reason", &reason);
        }
        Frame::Reply {
            channel,
            sequence,
            reply,
        } => {
            put("reply", &true);
            put("channel", &channel);
            put("number", &sequence);
            put("content", &to_hex(reply));
        }
        Frame::Noted { channel, sequence } => {
            put("channel", &channel);
            put("number", &sequence);
        }
        Frame::Ping(time) => put("time", &time),
        Frame::Pong(pong) => {
            put("echo", &pong.echo);
            put("arrived", &pong.arrived);
            put("time", &pong.time);
        }
        Frame::Close { head, list } => {
            put("code", &head.code);
            put("again", &head.again);
            put("text", &head.text);
            for (channel, last) in list.entries() {
                put("last", &format!("{channel} {last}"));
            }
        }
        Frame::Done => {}
        Frame::Abort { code, text } => {
            put("code", &code);
            put("text", &text);
        }
    }
    lines
}

fn entry_line(entry: &ChannelEntry<'_>) -> String {
    let mode = match entry.mode {
        Mode::Send => "send",
        Mode::Receive => "receive",
    };
    let policy = entry
        .policy
        .map_or("any".to_owned(), |policy| policy.to_string());
    format!(
        "mode={mode} policy={policy} wants_times={} max_reply={} max_message={} window_messages={} \
         window_bytes={} handled={} received={} partial={} name={}",
        entry.wants_times,
        entry.max_reply,
        entry.max_message,
        entry.window_messages,
        entry.window_bytes,
        entry.handled,
        entry.received,
        entry.partial,
        entry.name
    )
}

fn encode(vector: &Vector) -> Vec<u8> {
    let mut out = vec![0; 1 << 14];
    let reply = vector.all("content").next().map(bytes);
    let written = match vector.get("type") {
        "HELLO" => greeting(FrameType::Hello, vector, &mut out),
        "WELCOME" => greeting(FrameType::Welcome, vector, &mut out),
        "MESSAGE" => message(vector, &mut out),
        "CLOSE" => {
            let last: Vec<(u16, u64)> = vector
                .all("last")
                .map(|last| last.split_once(' ').expect("two figures"))
                .map(|(channel, last)| (parse(channel), parse(last)))
                .collect();
            let head = CloseHead {
                code: vector.number("code"),
                again: vector.number("again"),
                text: vector.get("text"),
            };
            encode_close(&head, last.into_iter(), &mut out).expect("long enough")
        }
        kind => plain(kind, vector, reply.as_deref())
            .encode(&mut out)
            .expect("long enough"),
    };
    out.truncate(written);
    out
}

fn plain<'a>(kind: &str, vector: &'a Vector, reply: Option<&'a [u8]>) -> Frame<'a> {
    let channel = || vector.number("channel");
    let sequence = || vector.number("number");
    match kind {
        "REFUSE" => Frame::Refuse {
            channel: channel(),
            code: vector.number("code"),
            again: vector.number("again"),
            text: vector.get("text"),
        },
        "SKIP" => Frame::Skip {
            channel: channel(),
            through: vector.number("through"),
        },
        "ACK" => Frame::Ack {
            channel: channel(),
            handled: vector.number("handled"),
        },
        "VERDICT" => match reply {
            Some(reply) => Frame::Reply {
                channel: channel(),
                sequence: sequence(),
                reply,
            },
            None => Frame::Reject {
                channel: channel(),
                sequence: sequence(),
                code: vector.number("code"),
                reason: vector.get("reason"),
            },
        },
        "NOTED" => Frame::Noted {
            channel: channel(),
            sequence: sequence(),
        },
        "PING" => Frame::Ping(vector.number("time")),
        "PONG" => Frame::Pong(Pong {
            echo: vector.number("echo"),
            arrived: vector.number("arrived"),
            time: vector.number("time"),
        }),
        "DONE" => Frame::Done,
        "ABORT" => Frame::Abort {
            code: vector.number("code"),
            text: vector.get("text"),
        },
        other => panic!("no frame is called {other}"),
    }
}

fn message(vector: &Vector, out: &mut [u8]) -> usize {
    let payload = bytes(vector.get("payload"));
    let head = MessageHead {
        channel: vector.number("channel"),
        first: vector.number("first"),
        last: vector.number("last"),
        sequence: vector.number("number"),
        total: vector.all("total").next().map(parse),
        times: vector.all("accepted").next().map(|accepted| Times {
            accepted: parse(accepted),
            expires: vector.number("expires"),
        }),
        length: payload.len(),
    };
    head.encode(out);
    let at = head.encoded_len();
    out[at..at + payload.len()].copy_from_slice(&payload);
    at + payload.len()
}

fn greeting(kind: FrameType, vector: &Vector, out: &mut [u8]) -> usize {
    let head = GreetingHead {
        version_min: vector.number("version_min"),
        version_max: vector.number("version_max"),
        outcome: match vector.get("outcome") {
            "New" => SessionOutcome::New,
            "Resumed" => SessionOutcome::Resumed,
            "NotKnown" => SessionOutcome::NotKnown,
            "TooOld" => SessionOutcome::TooOld,
            other => panic!("no outcome is called {other}"),
        },
        attempt: vector.number("attempt"),
        frame_limit: vector.number("frame_limit"),
        session: bytes(vector.get("session")).try_into().expect("16 bytes"),
        time: vector.number("time"),
        arrived: vector.number("arrived"),
    };
    let entries: Vec<ChannelEntry<'_>> = vector.all("channel").map(entry).collect();
    encode_greeting(kind, &head, entries.into_iter(), out).expect("long enough")
}

fn entry(line: &str) -> ChannelEntry<'_> {
    let field = |key: &str| {
        let found = line
            .split(' ')
            .find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
        found.expect("a field")
    };
    ChannelEntry {
        mode: match field("mode") {
            "send" => Mode::Send,
            _ => Mode::Receive,
        },
        policy: match field("policy") {
            "reliable" => Some(Policy::Reliable),
            "latest" => Some(Policy::Latest),
            _ => None,
        },
        name: field("name"),
        wants_times: parse(field("wants_times")),
        max_reply: parse(field("max_reply")),
        max_message: parse(field("max_message")),
        window_messages: parse(field("window_messages")),
        window_bytes: parse(field("window_bytes")),
        handled: parse(field("handled")),
        received: parse(field("received")),
        partial: parse(field("partial")),
    }
}
