//! Lists of peers: what a line may contain, what is wrong with one, and which peer has which name
//! afterwards.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;

use crate::common::{self, End, security, shake};
use countersign_certs::fixtures;
use countersign_endpoint::{
    Fingerprint, Pin, Pins, Reason, Received, Security, SecurityFiles, SetupError,
};

fn print(number: usize) -> Fingerprint {
    let mut key = [7; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    Fingerprint(key)
}

/// The names, and how many pins each has.
fn peers(pins: &Pins) -> Vec<(Option<&str>, usize)> {
    let peers = pins.peers();
    peers.map(|peer| (peer.name(), peer.pins().len())).collect()
}

#[test]
fn a_line_is_a_peer() {
    let [a, b, c, d] = [1, 2, 3, 4].map(print);
    let list = format!(
        "\u{feff}# who may come\r\n\n  robot-7\t{a}   {b} # until the new key is everywhere\r\n\
         #robot-8 {c}\nrob\u{f6}ter#8 {c}\n\nstation {d}"
    );
    let pins = Pins::from_list(list.as_bytes()).unwrap();
    assert_eq!(
        peers(&pins),
        [
            (Some("robot-7"), 2),
            (Some("rob\u{f6}ter#8"), 1),
            (Some("station"), 1)
        ]
    );
    assert!(pins.fingerprints().eq([a, b, c, d]));
    assert_eq!([a, b].map(|key| pins.name_of(key)), [Some("robot-7"); 2]);
    assert_eq!(pins.name_of(print(9)), None);
}

#[test]
fn a_line_may_name_files() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new, other) = (
        fixtures::good("robot"),
        fixtures::good("robot"),
        fixtures::good("other"),
    );
    let both = format!("{}{}\n", old.certificate_pem(), new.fingerprint());
    fs::write(folder.path().join("robot.crt"), both).unwrap();
    fs::create_dir(folder.path().join("more keys")).unwrap();
    let path = folder.path().join("more keys/other.crt");
    fs::write(path, other.certificate_pem()).unwrap();
    let list = folder.path().join("peers");
    fs::write(
        &list,
        "robot file:robot.crt\nother file:\"more keys/other.crt\"\n",
    )
    .unwrap();
    let pins = Pins::from_list_file(&list).unwrap();
    assert_eq!(peers(&pins), [(Some("robot"), 2), (Some("other"), 1)]);
    assert_eq!(pins.name_of(new.fingerprint()), Some("robot"));
    assert!(
        pins.find(old.certificate_der())
            .is_some_and(Pin::is_certificate)
    );

    fs::write(&list, "robot file:robot.crt\n\nother file:missing.crt\n").unwrap();
    let error = Pins::from_list_file(&list).unwrap_err().to_string();
    assert!(error.starts_with(&list.display().to_string()), "{error}");
    let says = |words: &str| error.contains(words);
    assert!(
        says("line 3: ") && says("missing.crt: no such file"),
        "{error}"
    );
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let [a, b] = [1, 2].map(print);
    let hex = "ab".repeat(32);
    for (line, words) in [
        (format!("{a}"), "begins with the peer's name"),
        (format!("{a} robot"), "begins with the peer's name"),
        ("file:robot.crt".to_owned(), "begins with the peer's name"),
        ("robot".to_owned(), "`robot` has no pin"),
        ("robot # later".to_owned(), "`robot` has no pin"),
        (format!("robot {hex}"), "not of what"),
        ("robot robot.crt".to_owned(), "`file:PATH`"),
        ("robot file:".to_owned(), "names no file"),
        ("robot sha256:12".to_owned(), "this one has 2"),
        (format!("robot {a} friend"), "`friend` is no pin"),
        (format!("-robot {a}"), "can't name a peer"),
        (format!("{hex} {a}"), "can't name a peer"),
        (format!("{} {a}", "r".repeat(65)), "can't name a peer"),
        (
            format!("ro\u{1b}[2Jbot {a}"),
            r"`ro\u{1b}[2Jbot` can't name",
        ),
        (format!("ro\u{202e}bot {a}"), r"`ro\u{202e}bot` can't name"),
        (format!("robot \"{a}"), "quotation mark"),
        (format!("first {a}"), "the peer in line 2"),
        (format!("robot {b}"), "the peer in line 2"),
        ("-----BEGIN CERTIFICATE-----".to_owned(), "names files"),
        (format!("robot {a}{}", more(64)), "at most 64"),
    ] {
        let list = format!("# ours\nfirst {b}\n{line}\n");
        let error = Pins::from_list(list.as_bytes()).unwrap_err();
        assert!(
            matches!(error, SetupError::BadPeer { line: 3, .. }),
            "{error:?}"
        );
        let error = error.to_string();
        assert!(
            error.contains("line 3: ") && error.contains(words),
            "{error}"
        );
    }
    assert!(Pins::from_list(format!("{} {a}", "r".repeat(64)).as_bytes()).is_ok());
    let error = Pins::from_list(b"robot \xff").unwrap_err().to_string();
    assert!(error.contains("line 1: it is not text"), "{error}");
    assert!(matches!(
        Pins::from_list(b"# nobody\n"),
        Err(SetupError::EmptyPeerList { .. })
    ));
}

/// `count` pins of one peer.
fn more(count: usize) -> String {
    (100..100 + count)
        .map(|number| format!(" {}", print(number)))
        .collect()
}

#[test]
fn a_list_has_as_many_peers_as_there_may_be_pins() {
    let line = |number: usize| format!("robot-{number} {}\n", print(number));
    let list: String = (0..Pins::LIMIT).map(line).collect();
    let pins = Pins::from_list(list.as_bytes()).unwrap();
    assert_eq!(pins.peers().count(), Pins::LIMIT);
    assert_eq!(pins.name_of(print(40_000)), Some("robot-40000"));
    let error = Pins::from_list(format!("{list}{}", line(Pins::LIMIT)).as_bytes()).unwrap_err();
    let SetupError::BadPeer { line, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(line, Pins::LIMIT + 1);
}

#[test]
fn names_are_one_peers_each() {
    let [a, b, c] = [1, 2, 3].map(|number| Pins::from(print(number)));
    let named = |pins: &Pins, name: &str| pins.clone().named(name).unwrap();
    let (robot, other) = (named(&a, "robot"), named(&b, "other"));
    // A key in common makes one of two, under the name that there is.
    let both = a.and(&robot).unwrap().and(&other).unwrap();
    assert_eq!(peers(&both), [(Some("robot"), 1), (Some("other"), 1)]);
    for [one, two] in [[&robot, &named(&b, "robot")], [&robot, &named(&a, "other")]] {
        let error = one.and(two).unwrap_err();
        assert!(matches!(error, SetupError::AmbiguousPeer { .. }), "{error}");
    }
    for name in [
        "",
        "two words",
        "#",
        "-",
        "sha256:",
        "file:x",
        "new\nline",
        "\u{301}",
    ] {
        let error = c.clone().named(name).unwrap_err();
        assert!(matches!(error, SetupError::BadPeerName { .. }), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    assert!(both.named("all").is_err());
}

/// Both ends know each other among thousands of peers, and a stranger is reported without naming
/// them all.
#[test]
fn a_peer_is_found_among_thousands() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let line = |number: usize| format!("robot-{number} {}\n", print(number));
    let crowd: String = (0..20_000).map(line).collect();
    let list = format!("{crowd}ours {}\n", robot.fingerprint());
    let pins = Pins::from_list(list.as_bytes()).unwrap();
    let on_station = security(&station, pins);
    let on_robot = security(
        &robot,
        Pins::from(station.fingerprint()).named("station").unwrap(),
    );
    for (connecting, accepting) in [(&on_robot, &on_station), (&on_station, &on_robot)] {
        let (left, right) = shake(connecting, accepting, usize::MAX);
        assert!(left.error.is_none() && right.error.is_none());
    }
    assert_eq!(
        on_station.name_of(robot.fingerprint()).as_deref(),
        Some("ours")
    );
    assert_eq!(
        on_robot.name_of(station.fingerprint()).as_deref(),
        Some("station")
    );

    let stranger = security(&fixtures::good("robot"), station.fingerprint());
    let (_, refuses) = shake(&stranger, &on_station, usize::MAX);
    let error = refuses.error.unwrap();
    let Reason::PinMismatch {
        expected, pinned, ..
    } = error.reason()
    else {
        panic!("{error}")
    };
    assert_eq!((expected.len(), *pinned), (Reason::SHOWN, 20_001));
    assert!(error.to_string().contains("one of 19998 more"), "{error}");
}

#[test]
fn a_connection_tells_who_is_there() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let list = format!("robot {}\n", robot.fingerprint());
    let on_station = security(&station, Pins::from_list(list.as_bytes()).unwrap());
    let on_robot = security(&robot, station.fingerprint());
    let mut known = None;
    let (mut client, mut server) = (
        End::connect(&on_robot),
        countersign_endpoint::Connection::accept(&on_station).unwrap(),
    );
    let mut inbox = Vec::new();
    while known.is_none() {
        inbox.extend(common::Node::depart(&mut client));
        let read = server.read(&mut inbox, &mut |received| {
            if let Received::Secured { peer, .. } = received {
                known = peer;
            }
        });
        inbox.drain(..read.unwrap());
        let mut wire = vec![0; server.pending_len()];
        server.write_pending(&mut wire);
        common::Node::arrive(&mut client, &wire);
    }
    let peer = known.unwrap();
    assert_eq!(peer.name(), Some("robot"));
    assert_eq!(peer.fingerprint(), robot.fingerprint());
    assert_eq!(peer.to_string(), format!("robot ({})", robot.fingerprint()));
}

#[test]
fn a_list_that_is_read_again_takes_effect_with_the_identity() {
    let folder = tempfile::tempdir().unwrap();
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let path = |name: &str| folder.path().join(name);
    fs::write(path("station.crt"), station.certificate_pem()).unwrap();
    fs::write(path("station.key"), station.key_pem()).unwrap();
    let write = |list: String| fs::write(path("peers"), list).unwrap();
    let (a, b) = (print(1), robot.fingerprint());
    write(format!("robot {a}\ndrone {}\n", print(2)));
    let files = SecurityFiles::new(path("station.crt"), path("station.key"))
        .peer_list(path("peers"))
        .peer_pins(Pins::from(print(3)).named("fixed").unwrap());
    let (own, pins) = files.read().unwrap();
    assert_eq!(
        peers(&pins),
        [(Some("robot"), 1), (Some("drone"), 1), (Some("fixed"), 1)]
    );
    let security = Security::tls(own, pins).build().unwrap();

    write(format!("robot {a} {b}\n"));
    let replaced = files.reload(&security).unwrap();
    let names = |pins: &[countersign_endpoint::NamedPin]| -> Vec<String> {
        pins.iter()
            .map(|pin| pin.name.as_deref().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&replaced.added), ["robot"]);
    assert_eq!(names(&replaced.removed), ["drone"]);
    let line = replaced.to_string();
    assert!(line.contains(&format!("added robot {b}")), "{line}");
    assert!(
        line.contains(&format!("removed drone {}", print(2))),
        "{line}"
    );
    assert_eq!(security.name_of(b).as_deref(), Some("robot"));

    // Another name for the same peer.
    write(format!("robot-7 {b}\n"));
    files.reload(&security).unwrap();
    assert_eq!(security.name_of(b).as_deref(), Some("robot-7"));
    assert_eq!(security.name_of(a), None);

    write(format!("robot-7 {b}\nrobot-8\n"));
    let error = files.reload(&security).unwrap_err();
    assert!(
        matches!(error, SetupError::BadPeer { line: 2, .. }),
        "{error}"
    );
    assert_eq!(security.name_of(b).as_deref(), Some("robot-7"));

    // Many new peers are not all named in one line.
    let many: String = (10..30)
        .map(|number| format!("robot-{number} {}\n", print(number)))
        .collect();
    write(many);
    let line = files.reload(&security).unwrap().to_string();
    assert!(line.contains(" and 12 more"), "{line}");
}
