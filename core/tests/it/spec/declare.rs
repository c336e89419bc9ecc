//! Channels that a listener gives to one peer once it knows which peer has connected.

use countersign_core::{
    ChannelConfig, Config, ConfigProblem, DeclareError, Dialect, Disconnect, EndReason, Event,
    Incoming, Incompatible, Instant, LinkState, Protocol, ReceiveChannel, Refusal, Request,
    SendChannel, TakeOver, refuse,
};

use crate::common::arriving::{self, accepted, accepted_after, declined};
use crate::common::bytes::{Entry, Greeting, coded, message};

const NOW: Instant = Instant::from_micros(1_000_000);

/// What the listener declares for every peer.
fn base(dialect: Dialect) -> Config {
    Config::new()
        .dialect(dialect)
        .channel(ReceiveChannel::new("reports"))
}

/// What it declares for one peer.
fn own() -> Vec<ChannelConfig> {
    vec![
        ReceiveChannel::new("commands").into(),
        SendChannel::new("video").into(),
    ]
}

fn arrived(dialect: Dialect) -> Incoming {
    arriving::arrived(NOW, &base(dialect), 1, None)
}

/// One whose peer's HELLO has these channels.
fn greeted(hello: &Greeting) -> Incoming {
    let mut incoming = arrived(Dialect::Countersign);
    incoming.handle_input(NOW, &hello.bytes());
    incoming
}

/// HELLO of the peer that has its own channels.
fn hello() -> Greeting {
    Greeting::hello(&[Entry::receive("video"), Entry::send("commands")])
}

fn said(from: &mut impl Protocol) -> Vec<u8> {
    arriving::said(NOW, from)
}

/// What is urgent goes first, wherever it was declared.
#[test]
fn a_channel_that_is_declared_for_a_peer_can_be_urgent() {
    let channels = vec![
        SendChannel::new("video").into(),
        SendChannel::new("stop").urgent().into(),
    ];
    let hello = Greeting::hello(&[Entry::receive("video"), Entry::receive("stop")]);
    let mut guest = greeted(&hello);
    guest.declare(channels).expect("makes sense");
    let mut link = accepted(NOW, guest);
    said(&mut link);
    for (name, payload) in [("video", "a picture"), ("stop", "stop")] {
        let channel = link.channel_id(name).expect("declared");
        link.send(NOW, channel, payload, None).expect("room");
    }
    let stop = message(1, 1, b"stop");
    assert_eq!(
        said(&mut link),
        [stop, message(0, 1, b"a picture")].concat()
    );
}

#[test]
fn a_peer_gets_channels_of_its_own() {
    // [HELLO-16] [HELLO-18]
    let mut guest = greeted(&hello());
    guest.declare(own()).expect("makes sense");
    let names: Vec<_> = guest
        .config()
        .channels()
        .iter()
        .map(ChannelConfig::name)
        .collect();
    assert_eq!(names, ["commands", "video"]);
    let mut link = accepted(NOW, guest);
    assert_eq!(link.channel_id("reports"), None);
    assert_eq!(link.poll_event(), Some(Event::Connected));
    let welcome = said(&mut link);
    assert_eq!(
        (welcome[0], welcome[16]),
        (0x02, 0),
        "WELCOME to a new session"
    );
    let (commands, video) = (
        link.channel_id("commands").expect("declared"),
        link.channel_id("video").expect("declared"),
    );
    // As HELLO numbers them: video is 0, commands is 1.
    link.handle_input(NOW, &message(1, 1, b"left"));
    assert_eq!(
        &link
            .take(NOW, commands)
            .expect("is here")
            .expect("is here")
            .payload[..],
        b"left"
    );
    link.send(NOW, video, &b"picture"[..], None)
        .expect("accepted");
    assert!(said(&mut link).ends_with(&message(0, 1, b"picture")));
}

#[test]
fn what_it_gets_must_fit() {
    // [REFUSE-2]
    let reports = Greeting::hello(&[Entry::send("reports")]);
    let mut guest = greeted(&reports);
    guest.declare(own()).expect("makes sense");
    let mut guest = declined(NOW, guest);
    let why = Incompatible::ChannelMissing {
        channel: "reports".to_owned(),
        here: true,
    };
    assert_eq!(guest.end_reason(), Some(&EndReason::Incompatible(why)));
    assert_eq!(said(&mut guest)[..4], [0x03, 0, 0, 0]);
}

fn problem_of(error: &DeclareError) -> Option<ConfigProblem> {
    match error {
        DeclareError::Config(error) => Some(error.problem),
        _ => None,
    }
}

#[test]
fn channels_that_make_no_sense_change_nothing() {
    // [REFUSE-13]
    for (channels, problem) in [
        (vec![], ConfigProblem::NoChannels),
        ([own(), own()].concat(), ConfigProblem::NameTaken),
    ] {
        let mut guest = greeted(&hello());
        let before = guest.clone();
        let error = guest.declare(channels).expect_err("makes no sense");
        assert_eq!(problem_of(&error), Some(problem));
        assert!(guest == before);
        // The channels that the peer gets instead are not compared with its own.
        let words = Refusal::new(refuse::MISCONFIGURED, error.to_string());
        guest.refuse(NOW, &words);
        let expected = coded(0x03, 0xFFFF, 8, words.text.as_bytes());
        assert_eq!(said(&mut guest), expected);
    }
    let mut guest = arrived(Dialect::TlsStream);
    let error = guest.declare(own()).expect_err("one channel");
    assert_eq!(problem_of(&error), Some(ConfigProblem::ManyTlsStream));
}

#[test]
fn where_nobody_waits_nothing_changes() {
    let new = Incoming::new(&base(Dialect::Countersign), [1; 16]).expect("fits");
    let early = arrived(Dialect::Countersign);
    let mut refused = greeted(&hello());
    refused.refuse(NOW, &Refusal::new(refuse::APPLICATION, "no"));
    let declined = declined(NOW, greeted(&hello()));
    let mut lost = greeted(&hello());
    lost.handle_lost(NOW, Disconnect::Transport);
    for mut incoming in [new, early, refused, declined, lost] {
        let before = incoming.clone();
        assert_eq!(incoming.declare(own()), Err(DeclareError::NoRequest));
        assert!(incoming == before);
    }
}

#[test]
fn the_words_of_an_application_need_no_channels_that_fit() {
    // [REFUSE-9] [REFUSE-12]
    let words = Refusal::new(refuse::APPLICATION + 9, "not on Sundays");
    let reports = Greeting::hello(&[Entry::send("reports")]);
    for greeting in [&hello(), &reports] {
        let mut guest = greeted(greeting);
        guest.refuse(NOW, &words);
        assert_eq!(
            guest.end_reason(),
            Some(&EndReason::TurnedAway(words.clone()))
        );
        let expected = coded(0x03, 0xFFFF, words.code, words.text.as_bytes());
        assert_eq!(said(&mut guest), expected);
    }
    // To wait for room heals no declaration: what counts is the one for this peer.
    for (channels, busy) in [
        (own(), true),
        (vec![SendChannel::new("video").into()], false),
    ] {
        let mut guest = greeted(&hello());
        guest.declare(channels).expect("makes sense");
        guest.refuse(NOW, &Refusal::busy("full"));
        let told = matches!(guest.end_reason(), Some(EndReason::TurnedAway(_)));
        assert_eq!(told, busy);
        assert_eq!(said(&mut guest)[8..10], [0, if busy { 5 } else { 3 }]);
    }
}

#[test]
fn a_session_goes_on_with_them() {
    // [RESUME-2] [REFUSED-2]
    let mut link = greeted(&hello());
    link.declare(own()).expect("makes sense");
    let mut link = accepted(NOW, link);
    said(&mut link);
    link.handle_input(NOW, &message(1, 1, b"left"));
    let commands = link.channel_id("commands").expect("declared");
    assert!(link.take(NOW, commands).is_ok());
    let session = link.session();
    let naming = || Greeting::naming(session, &hello().entries);
    link.handle_lost(NOW, Disconnect::Transport);
    // The connection has the channels that every peer has; the link knows its own.
    let mut guest = greeted(&naming());
    assert_eq!(guest.request(), Some(Request::Resume(session)));
    assert_eq!(link.take_over(NOW, &mut guest), TakeOver::Done);
    assert_eq!((link.state(), link.resumes()), (LinkState::Open, 1));

    // A peer that returns too late learns what became of its messages, by the channels' names.
    link.handle_lost(NOW, Disconnect::Abandoned);
    let mut guest = greeted(&naming());
    guest.declare(own()).expect("makes sense");
    let welcome = said(&mut accepted_after(NOW, guest, Some(&link.gone_session())));
    assert_eq!(welcome[16], 3, "too old");
    let handled = 1_u64.to_be_bytes();
    assert!(
        welcome.windows(8).any(|field| field == handled),
        "1 was handled"
    );
}

#[test]
fn in_the_tlsstream_dialect_its_mode_may_be_another() {
    // [STREAM-4]
    let mut guest = arrived(Dialect::TlsStream);
    assert_eq!(guest.request(), Some(Request::New));
    guest
        .declare(vec![SendChannel::new("video").into()])
        .expect("makes sense");
    let mut link = accepted(NOW, guest);
    assert_eq!(link.state(), LinkState::Open);
    let video = link.channel_id("video").expect("declared");
    link.send(NOW, video, &b"hello"[..], None)
        .expect("accepted");
    assert_eq!(said(&mut link), b"5!hello");
}
