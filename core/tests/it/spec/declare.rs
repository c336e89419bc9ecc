//! Channels that a listener gives to one peer, when it knows who has come.

use countersign_core::{
    ChannelConfig, Config, ConfigProblem, DeclareError, Dialect, Disconnect, EndReason, Event,
    Incompatible, Instant, Life, Link, Output, Refusal, Role, TakeOver, Visit, refuse,
};

use crate::common::bytes::{Entry, Greeting, coded, message};

const NOW: Instant = Instant::from_micros(1_000_000);

/// What the listener declares for everybody.
fn base(dialect: Dialect) -> Config {
    Config::new()
        .dialect(dialect)
        .channel(ChannelConfig::receive("reports"))
}

/// What it declares for one peer.
fn own() -> Vec<ChannelConfig> {
    vec![
        ChannelConfig::receive("commands"),
        ChannelConfig::send("video"),
    ]
}

fn visitor(dialect: Dialect) -> Link {
    let mut link = Link::new(&base(dialect), Role::Acceptor, [1; 16]).expect("fits");
    link.ask_to_admit();
    link.handle_opened(NOW).expect("offline");
    link.handle_secured(NOW, None).expect("securing");
    link
}

/// One whose peer's HELLO has these channels.
fn visited(hello: &Greeting) -> Link {
    let mut link = visitor(Dialect::Countersign);
    link.handle_input(NOW, &hello.bytes());
    link
}

/// HELLO of the peer that has channels of its own.
fn hello() -> Greeting {
    Greeting::hello(&[Entry::receive("video"), Entry::send("commands")])
}

fn said(link: &mut Link) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Output::Written(length) = link.poll_output(NOW, &mut buffer) {
        all.extend_from_slice(&buffer[..length]);
    }
    all
}

#[test]
fn a_peer_gets_channels_of_its_own() {
    // [HELLO-16] [HELLO-18]
    let mut guest = visited(&hello());
    guest.declare(own()).expect("makes sense");
    let names: Vec<_> = guest
        .config()
        .channels()
        .iter()
        .map(ChannelConfig::name)
        .collect();
    assert_eq!(names, ["commands", "video"]);
    assert_eq!(guest.channel_id("reports"), None);
    guest.admit(NOW, None);
    assert_eq!(guest.poll_event(), Some(Event::Connected));
    let welcome = said(&mut guest);
    assert_eq!(
        (welcome[0], welcome[16]),
        (0x02, 0),
        "WELCOME to a new session"
    );
    let (commands, video) = (
        guest.channel_id("commands").expect("declared"),
        guest.channel_id("video").expect("declared"),
    );
    // As HELLO numbers them: video is 0, commands is 1.
    guest.handle_input(NOW, &message(1, 1, b"left"));
    assert_eq!(
        &guest
            .take(NOW, commands)
            .expect("is here")
            .expect("is here")
            .payload[..],
        b"left"
    );
    guest
        .send(NOW, video, &b"picture"[..], None)
        .expect("accepted");
    assert!(said(&mut guest).ends_with(&message(0, 1, b"picture")));
}

#[test]
fn what_it_gets_must_fit() {
    // [REFUSE-2]
    let reports = Greeting::hello(&[Entry::send("reports")]);
    let mut guest = visited(&reports);
    guest.declare(own()).expect("makes sense");
    guest.admit(NOW, None);
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
        let mut guest = visited(&hello());
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
    let mut guest = visitor(Dialect::TlsStream);
    let error = guest.declare(own()).expect_err("one channel");
    assert_eq!(problem_of(&error), Some(ConfigProblem::ManyTlsStream));
}

#[test]
fn where_nobody_waits_nothing_changes() {
    let early = visitor(Dialect::Countersign);
    let mut open = visited(&Greeting::hello(&[Entry::send("reports")]));
    open.admit(NOW, None);
    let mut ended = visited(&hello());
    ended.refuse(NOW, &Refusal::new(refuse::APPLICATION, "no"));
    let opener = Link::new(&base(Dialect::Countersign), Role::Opener, [1; 16]).expect("fits");
    for mut link in [early, open, ended, opener] {
        let before = link.clone();
        assert_eq!(link.declare(own()), Err(DeclareError::NobodyWaits));
        assert!(link == before);
    }
}

#[test]
fn channels_in_use_stay() {
    // Otherwise what was sent on one would get no verdict.
    let mut sends = Link::new(
        &Config::new().channel(ChannelConfig::send("video")),
        Role::Acceptor,
        [1; 16],
    )
    .expect("fits");
    let video = sends.channel_id("video").expect("declared");
    sends
        .send(NOW, video, &b"early"[..], None)
        .expect("accepted");
    sends.ask_to_admit();
    sends.handle_opened(NOW).expect("offline");
    sends.handle_secured(NOW, None).expect("securing");
    sends.handle_input(NOW, &hello().bytes());
    let mut abandons = visited(&hello());
    let reports = abandons.channel_id("reports").expect("declared");
    abandons.abandon(NOW, reports).expect("receives");
    for mut link in [sends, abandons] {
        assert_eq!(link.visit(), Some(Visit::New));
        let before = link.clone();
        assert_eq!(link.declare(own()), Err(DeclareError::InUse));
        assert!(link == before);
    }
}

#[test]
fn the_words_of_an_application_need_no_channels_that_fit() {
    // [REFUSE-9] [REFUSE-12]
    let words = Refusal::new(refuse::APPLICATION + 9, "not on Sundays");
    let reports = Greeting::hello(&[Entry::send("reports")]);
    for greeting in [&hello(), &reports] {
        let mut guest = visited(greeting);
        guest.refuse(NOW, &words);
        assert_eq!(
            guest.end_reason(),
            Some(&EndReason::TurnedAway(words.clone()))
        );
        let expected = coded(0x03, 0xFFFF, words.code, words.text.as_bytes());
        assert_eq!(said(&mut guest), expected);
    }
    // To wait for room heals no declaration: what counts is the one for this peer.
    for (channels, busy) in [(own(), true), (vec![ChannelConfig::send("video")], false)] {
        let mut guest = visited(&hello());
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
    let mut link = visited(&hello());
    link.declare(own()).expect("makes sense");
    link.admit(NOW, None);
    said(&mut link);
    link.handle_input(NOW, &message(1, 1, b"left"));
    let commands = link.channel_id("commands").expect("declared");
    assert!(link.take(NOW, commands).is_ok());
    let session = link.session();
    let naming = || Greeting::naming(session, &hello().entries);
    link.handle_lost(NOW, Disconnect::Transport);
    // The visitor has the channels of everybody; the link knows its own.
    let mut guest = visited(&naming());
    assert_eq!(guest.visit(), Some(Visit::Returns(session)));
    assert_eq!(link.take_over(NOW, &mut guest), TakeOver::Done);
    assert_eq!((link.life(), link.resumes()), (Life::Open, 1));

    // One that comes too late is told what had become of its messages, by the channels' names.
    link.handle_lost(NOW, Disconnect::Abandoned);
    let mut guest = visited(&naming());
    guest.declare(own()).expect("makes sense");
    guest.admit(NOW, Some(&link.gone_session()));
    let welcome = said(&mut guest);
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
    let mut guest = visitor(Dialect::TlsStream);
    assert_eq!(guest.visit(), Some(Visit::New));
    guest
        .declare(vec![ChannelConfig::send("video")])
        .expect("makes sense");
    guest.admit(NOW, None);
    assert_eq!(guest.life(), Life::Open);
    let video = guest.channel_id("video").expect("declared");
    guest
        .send(NOW, video, &b"hello"[..], None)
        .expect("accepted");
    assert_eq!(said(&mut guest), b"5!hello");
}
