//! What takes time plays back to the same: lives of messages, leases, and replies.

#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::time::Duration;

use crate::common::{
    LONGEST_REPLY, MARKER, Pair, Sink, VIDEO, left_behind, lives, paced, payload, records,
};
use countersign_capture::{
    Capture, Data, Entry, Options, Part, Record, RecordedEvent, ReplayError, Taken, replay,
};
use countersign_core::{ChannelConfig, Config, ReceiveChannel, SendChannel, SessionLoss};

/// Captures what `scenario` does, in each way to capture it, and plays it back.
fn each(scenario: fn(&Capture, usize), check: impl Fn(&[Record], bool)) {
    for payloads in [false, true] {
        for cut in [1, 7, usize::MAX] {
            let sink = Sink::default();
            let capture = Capture::to(sink.clone(), Options::new().payloads(payloads)).unwrap();
            scenario(&capture, cut);
            capture.finish().unwrap();
            let bytes = sink.bytes();
            assert!(replay(&bytes).unwrap().complete);
            // The shortest payload with anything in it has five bytes.
            let holds = bytes.windows(4).any(|window| window == &MARKER[..4]);
            assert_eq!(holds, payloads);
            check(&records(&bytes), payloads);
        }
    }
}

/// What a capture has of so many bytes.
fn data(length: usize, payloads: bool) -> Data {
    let part = match payloads {
        true => Part::Bytes(payload(length).to_vec()),
        false => Part::LeftOut(length as u64),
    };
    Data((length > 0).then_some(part).into_iter().collect())
}

fn taken(records: &[Record]) -> Vec<Taken> {
    let taken = records.iter().filter_map(|record| match record.entry {
        Entry::Take { outcome, .. } => outcome,
        _ => None,
    });
    taken.collect()
}

fn events(records: &[Record]) -> impl Iterator<Item = &RecordedEvent> {
    records.iter().filter_map(|record| match &record.entry {
        Entry::Event { outcome } => outcome.as_ref()?.as_ref(),
        _ => None,
    })
}

/// The number, the verdict and the reply of each verdict that was reported by itself.
fn verdicts(records: &[Record]) -> Vec<(u64, &str, Option<Data>)> {
    let verdict = |event| match event {
        &RecordedEvent::Verdict {
            sequence,
            ref kind,
            ref reply,
            ..
        } => Some((sequence, kind.as_str(), reply.clone())),
        _ => None,
    };
    events(records).filter_map(verdict).collect()
}

#[test]
fn messages_that_are_late_when_they_would_be_taken() {
    use Taken::{Message, Nothing};

    each(lives, |records, _| {
        // Three are dropped before the sixth, and two before nothing.
        let found = taken(records);
        let expected = [
            Message(1, 20),
            Message(2, 3000),
            Message(6, 10),
            Nothing,
            Message(10, 5),
        ];
        assert_eq!(found[..5], expected);
        let mut expired: Vec<u64> = verdicts(records)
            .iter()
            .filter(|(_, kind, _)| *kind == "expired")
            .map(|(number, ..)| *number)
            .collect();
        expired.sort_unstable();
        assert_eq!(expired, [3, 4, 5, 7, 8, 9]);
    });
    each(left_behind, |records, _| {
        let border = Taken::SessionBorder(SessionLoss::TooOld);
        assert_eq!(taken(records), [Message(2, 5), border, border]);
    });
}

#[test]
fn leases_that_are_held_and_lapse() {
    each(lives, |records, _| {
        let changes: String = events(records)
            .filter_map(|event| event.name().strip_prefix("lease-"))
            .map(|change| &change[..1])
            .collect();
        // Each change is told once, and the lease lapses with the link.
        assert!(changes.contains("hlhlh"), "{changes}");
        assert!(!changes.contains("hh") && !changes.contains("ll"));
        assert!(changes.ends_with('l'), "{changes}");
    });
}

#[test]
fn replies_and_how_long_they_may_be() {
    each(lives, |records, payloads| {
        let reply = |length| Some(data(length, payloads));
        let handled: Vec<_> = records
            .iter()
            .filter_map(|record| match &record.entry {
                Entry::Handle { reply, outcome, .. } => {
                    let outcome = outcome.as_ref()?.as_ref();
                    Some((reply.clone()?, outcome.map_err(String::as_str).copied()))
                }
                _ => None,
            })
            .collect();
        let longest = data(LONGEST_REPLY, payloads);
        let too_long = data(LONGEST_REPLY + 1, payloads);
        let expected = [
            (data(0, payloads), Ok(())),
            (data(6, payloads), Ok(())),
            (longest.clone(), Ok(())),
            (too_long, Err("reply-too-long")),
            (longest.clone(), Ok(())),
            (longest, Ok(())),
        ];
        assert_eq!(handled, expected);
        // The last two have come twice, and are reported once.
        let verdicts = verdicts(records);
        let expected = [
            (13, "handled", reply(0)),
            (14, "handled", reply(6)),
            (15, "handled", reply(LONGEST_REPLY)),
            (16, "rejected", None),
            (17, "handled", reply(LONGEST_REPLY)),
            (18, "handled", reply(LONGEST_REPLY)),
        ];
        assert!(verdicts.ends_with(&expected), "{verdicts:?}");
    });
}

#[test]
fn a_latency_budget() {
    each(paced, |records, _| {
        let Entry::New { config, .. } = &records[0].entry else {
            panic!("a link begins");
        };
        assert_eq!(config.get_latency_budget(), Some(Duration::from_millis(20)));
        assert!(!config.is_single_session());
        let urgent: Vec<_> = config
            .channels()
            .iter()
            .map(ChannelConfig::is_urgent)
            .collect();
        assert_eq!(urgent, [false, true]);
    });
}

#[test]
fn a_reply_that_was_changed_shows_in_a_replay() {
    let sink = Sink::default();
    let capture = Capture::to(sink.clone(), Options::new().payloads(true)).unwrap();
    lives(&capture, usize::MAX);
    capture.finish().unwrap();
    let bytes = sink.bytes();
    for (call, at) in [
        (&b"\x66handle\x00\x0e\x46MARKER"[..], 10),
        (b"\x65event\x85\x67verdict\x00\x0e\x67handled\x46", 26),
    ] {
        let mut windows = bytes.windows(call.len());
        let found = windows.position(|window| window == call).unwrap();
        let mut other = bytes.clone();
        other[found + at] ^= 1;
        assert!(matches!(replay(&other), Err(ReplayError::Differs(_))));
    }
}

/// Whether there may be events does not depend on calls that are not recorded.
#[test]
fn taking_from_an_abandoned_channel() {
    let sink = Sink::default();
    let capture = Capture::to(sink.clone(), Options::new()).unwrap();
    let configs = [
        Config::new().channel(SendChannel::new("video")),
        Config::new().channel(ReceiveChannel::new("video")),
    ];
    let mut pair = Pair::new(&capture, &configs);
    pair.connect();
    pair.settle();
    let expires = Some(pair.now + Duration::from_secs(1));
    pair.ends[0]
        .send(pair.now, VIDEO, payload(5), expires)
        .unwrap();
    pair.settle();
    pair.ends[1].abandon(pair.now, VIDEO).unwrap();
    pair.settle();
    assert_eq!(pair.ends[1].take(pair.now, VIDEO), Ok(None));
    pair.settle();
    capture.finish().unwrap();
    assert!(replay(&sink.bytes()).unwrap().complete);
}
