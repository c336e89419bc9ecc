//! Each program does what it says, with its counterpart, over sockets and pipes.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]
#![cfg_attr(
    not(unix),
    allow(dead_code, unused_imports, reason = "Ctrl-C is a signal")
)]

mod cable;
mod program;

use std::fs;
use std::path::Path;

use countersign_certs::{NewIdentity, Overwrite};
use tempfile::TempDir;

use cable::Cable;
use program::Program;

/// A folder with an identity for each of these names.
fn identities(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let identity = NewIdentity::new(*name).generate().unwrap();
        identity.write(folder.path(), Overwrite::No).unwrap();
    }
    folder
}

/// The arguments that say who this end is, who the peer is, and where.
fn arguments(folder: &Path, own: &str, peers: &[&str], place: [&str; 2]) -> Vec<String> {
    let file = |name: String| folder.join(name).into_os_string().into_string().unwrap();
    let mut all: Vec<_> = place.map(str::to_owned).into();
    all.extend(["--cert".to_owned(), file(format!("{own}.crt"))]);
    all.extend(["--key".to_owned(), file(format!("{own}.key"))]);
    for peer in peers {
        all.extend(match peer.strip_suffix(".txt") {
            Some(_) => ["--peers".to_owned(), file((*peer).to_owned())],
            None => ["--peer".to_owned(), file(format!("{peer}.crt"))],
        });
    }
    all
}

const ANYWHERE: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// A program that listens, and where.
fn listening(binary: &str, arguments: &[String]) -> (Program, String) {
    let mut program = Program::start(binary, arguments);
    let line = program.line();
    let address = line.strip_prefix("listening on ").expect(&line).to_owned();
    (program, address)
}

fn server_and_client(server: &str, client: &str) {
    let folder = identities(&["server", "client"]);
    let arguments_of = |own, peer, place| arguments(folder.path(), own, &[peer], place);
    let (mut server, address) = listening(server, &arguments_of("server", "client", ANYWHERE));
    let mut arguments = arguments_of("client", "server", ["--connect", &address]);
    arguments.extend(["hello", "good\u{1b}bye"].map(str::to_owned));
    let client = Program::start(client, &arguments);
    assert_eq!(server.line(), "hello");
    assert_eq!(server.line(), r"good\u{1b}bye");
    assert_eq!(client.rest(), "hello: handled\ngood\u{1b}bye: handled\n");
    assert_eq!(server.rest(), "closed by the peer; messages: 2 received\n");
}

#[test]
fn client_and_server() {
    server_and_client(env!("CARGO_BIN_EXE_server"), env!("CARGO_BIN_EXE_client"));
}

#[test]
fn client_and_server_that_block() {
    let server = env!("CARGO_BIN_EXE_blocking-server");
    server_and_client(server, env!("CARGO_BIN_EXE_blocking-client"));
    server_and_client(server, env!("CARGO_BIN_EXE_client"));
}

#[test]
fn what_is_missing_is_told() {
    let client = Program::start(env!("CARGO_BIN_EXE_client"), &["--cert", "client.crt"]);
    let error = client.fails(2);
    for missing in [
        "--connect <CONNECT>",
        "--key <KEY>",
        "--peer <PEER>",
        "<MESSAGES>...",
    ] {
        assert!(error.contains(missing), "{error}");
    }
    let chat = Program::start(env!("CARGO_BIN_EXE_chat"), &["--cert", "ann.crt"]);
    let error = chat.fails(2);
    assert!(
        error.contains("<--listen <LISTEN>|--connect <CONNECT>>"),
        "{error}"
    );
}

#[test]
fn two_people_chat() {
    let folder = identities(&["ann", "bob"]);
    let chat = env!("CARGO_BIN_EXE_chat");
    let (mut ann, address) = listening(chat, &arguments(folder.path(), "ann", &["bob"], ANYWHERE));
    let place = ["--connect", &address];
    let mut bob = Program::start(chat, &arguments(folder.path(), "bob", &["ann"], place));
    assert_eq!([ann.line(), bob.line()], ["connected", "connected"]);
    ann.say("hello, Bob");
    assert_eq!(bob.line(), "> hello, Bob");
    bob.say("hello, Ann");
    bob.say("how are you?");
    assert_eq!(ann.line(), "> hello, Ann");
    assert_eq!(ann.line(), "> how are you?");
    ann.say("bye");
    ann.end_input();
    assert_eq!(bob.line(), "> bye");
    assert_eq!(
        ann.rest(),
        "closed by this end; down: 2 handled; up: 2 received\n"
    );
    // Bob's terminal is still there.
    assert_eq!(
        bob.rest(),
        "closed by the peer; up: 2 handled; down: 2 received\n"
    );
}

#[cfg(unix)]
#[test]
fn an_echo_comes_back() {
    let folder = identities(&["server", "ann", "bob"]);
    let arguments_of = |own, peers: &[&str], place| arguments(folder.path(), own, peers, place);
    let echo = arguments_of("server", &["ann", "bob"], ANYWHERE);
    let (mut echo, address) = listening(env!("CARGO_BIN_EXE_echo"), &echo);
    let mut speakers = ["ann", "bob"].map(|name| {
        let arguments = arguments_of(name, &["server"], ["--connect", &address]);
        Program::start(env!("CARGO_BIN_EXE_chat"), &arguments)
    });
    for speaker in &mut speakers {
        assert_eq!(speaker.line(), "connected");
    }
    for speaker in &mut speakers {
        speaker.say("hello");
        assert_eq!(speaker.line(), "> hello");
    }
    for speaker in speakers {
        speaker.closes("closed by this end; up: 1 handled; down: 1 received\n");
        assert_eq!(
            echo.line(),
            "closed by the peer; up: 1 received; down: 1 handled"
        );
    }
    echo.interrupt();
    assert_eq!(echo.rest(), "");
}

#[cfg(unix)]
#[test]
fn each_peer_has_a_handler_by_its_name() {
    let folder = identities(&["server", "ann", "bob"]);
    fs::write(
        folder.path().join("peers.txt"),
        "Ann file:ann.crt\nBob file:bob.crt\n",
    )
    .unwrap();
    let arguments_of = |own, peer, place| arguments(folder.path(), own, &[peer], place);
    let server = arguments_of("server", "peers.txt", ANYWHERE);
    let (mut server, address) = listening(env!("CARGO_BIN_EXE_peers"), &server);
    let place = ["--connect", address.as_str()];
    let start = |name| {
        let chat = arguments_of(name, "server", place);
        let mut program = Program::start(env!("CARGO_BIN_EXE_chat"), &chat);
        assert_eq!(program.line(), "connected");
        program
    };
    let [mut ann, mut bob] = [start("ann"), start("bob")];
    ann.say("one");
    assert_eq!(ann.line(), "> Ann, that was your line 1");
    assert_eq!(server.line(), "Ann: one");
    bob.say("un");
    assert_eq!(bob.line(), "> Bob, that was your line 1");
    assert_eq!(server.line(), "Bob: un");
    // A program that is killed, and started again: what the server knows of the peer stays.
    ann.kill();
    let mut ann = start("ann");
    ann.say("two");
    assert_eq!(ann.line(), "> Ann, that was your line 2");
    assert_eq!(server.line(), "Ann: two");
    bob.closes("closed by this end; up: 1 handled; down: 1 received\n");
    assert_eq!(
        server.line(),
        "Bob: closed by the peer; up: 1 received; down: 1 handled"
    );
    // The server stops while a peer is there.
    server.interrupt();
    assert_eq!(
        server.rest(),
        "Ann: closed by this end: the program is about to end; up: 1 received; down: 1 handled\n"
    );
    drop(ann);
}

#[cfg(unix)]
#[test]
fn a_hub_drops_who_does_not_keep_up() {
    let folder = identities(&["hub", "ann", "bob", "cyd"]);
    let list = "Ann file:ann.crt\nBob file:bob.crt\nCyd file:cyd.crt\n";
    fs::write(folder.path().join("peers.txt"), list).unwrap();
    let arguments_of = |own, peer, place| arguments(folder.path(), own, &[peer], place);
    let hub = arguments_of("hub", "peers.txt", ANYWHERE);
    let (mut hub, address) = listening(env!("CARGO_BIN_EXE_hub"), &hub);
    let place = ["--connect", address.as_str()];
    let start = |name| {
        let chat = arguments_of(name, "hub", place);
        let mut program = Program::start(env!("CARGO_BIN_EXE_chat"), &chat);
        assert_eq!(program.line(), "connected");
        program
    };
    let mut ann = start("ann");
    assert_eq!(ann.line(), "> Ann is here");
    let mut bob = start("bob");
    for one in [&mut ann, &mut bob] {
        assert_eq!(one.line(), "> Bob is here");
    }
    let mut cyd = start("cyd");
    for one in [&mut ann, &mut bob, &mut cyd] {
        assert_eq!(one.line(), "> Cyd is here");
    }
    ann.say("hello");
    for other in [&mut bob, &mut cyd] {
        assert_eq!(other.line(), "> Ann: hello");
    }
    // Nobody at this end takes anything any more.
    cyd.kill();
    for number in 0..65 {
        ann.say(&number.to_string());
        assert_eq!(bob.line(), format!("> Ann: {number}"));
    }
    hub.until_prefix("Cyd is dropped: ");
    bob.closes("closed by this end; up: none; down: 68 received\n");
    assert_eq!(ann.line(), "> Bob has left");
    drop(hub);
}

/// Steers until the command has this verdict: on a slow machine it may expire before.
fn steer(operator: &mut Program, command: &str, verdict: &str) {
    loop {
        operator.say(command);
        let line = operator.line();
        if line == format!("{command}: {verdict}") {
            return;
        }
        assert_eq!(line, format!("{command}: expired"));
    }
}

#[cfg(unix)]
#[test]
fn an_operator_steers_a_robot_through_a_cable_that_is_cut() {
    let folder = identities(&["robot", "operator"]);
    let arguments_of = |own, peer, place| arguments(folder.path(), own, &[peer], place);
    let robot = arguments_of("robot", "operator", ANYWHERE);
    let (mut robot, address) = listening(env!("CARGO_BIN_EXE_robot"), &robot);
    let cable = Cable::to(&address);
    let place = ["--connect", cable.address()];
    let operator = arguments_of("operator", "robot", place);
    let mut operator = Program::start(env!("CARGO_BIN_EXE_operator"), &operator);
    assert_eq!(operator.line(), "connected");
    assert_eq!(operator.line(), "the first picture has 8000 bytes");
    steer(&mut operator, "forward", "handled");
    robot.until("forward");
    steer(
        &mut operator,
        "fly",
        "rejected with code 1: no such command",
    );

    cable.cut();
    let lost = operator.line();
    assert!(lost.starts_with("connection lost: "), "{lost}");
    robot.until("motors off");
    steer(&mut operator, "left", "expired");
    cable.mend();
    assert_eq!(operator.line(), "connected again");
    steer(&mut operator, "right", "handled");
    robot.until("right");

    operator.end_input();
    let report = operator.rest();
    assert!(
        report.starts_with("closed by this end; commands: 2 handled, 1 rejected"),
        "{report}"
    );
    assert!(report.ends_with(" pictures seen\n"), "{report}");
    robot.until_prefix("stop: closed by the peer; commands: 3 received");
    robot.interrupt();
    assert_eq!(robot.rest(), "");
}

#[test]
fn a_file_arrives_in_bounded_memory() {
    let folder = identities(&["server", "client"]);
    let path = |name| {
        folder
            .path()
            .join(name)
            .into_os_string()
            .into_string()
            .unwrap()
    };
    let (original, copy) = (path("original"), path("copy"));
    let bytes: Vec<_> = (0..4_000_001_u32).flat_map(u32::to_be_bytes).collect();
    fs::write(&original, &bytes).unwrap();

    let mut arguments_of = arguments(folder.path(), "server", &["client"], ANYWHERE);
    arguments_of.push(copy.clone());
    let (mut receiver, address) = listening(env!("CARGO_BIN_EXE_receive-file"), &arguments_of);
    let bound = receiver.line();
    let bound = bound.split(' ').find_map(|word| word.parse::<usize>().ok());
    assert!(bound.unwrap() < bytes.len() / 2, "{bound:?}");
    let place = ["--connect", &address];
    let mut arguments_of = arguments(folder.path(), "client", &["server"], place);
    arguments_of.push(original);
    let sender = Program::start(env!("CARGO_BIN_EXE_send-file"), &arguments_of);
    assert_eq!(sender.rest(), "closed by this end; file: 247 handled\n");
    let report = "closed by the peer; file: 247 received\n16000004 bytes received\n";
    assert_eq!(receiver.rest(), report);
    assert!(fs::read(copy).unwrap() == bytes);
}

#[test]
fn a_file_that_cannot_be_written_fails_at_both_ends() {
    let folder = identities(&["server", "client"]);
    let mut receiver = arguments(folder.path(), "server", &["client"], ANYWHERE);
    receiver.push(folder.path().join("missing/copy").display().to_string());
    let (receiver, address) = listening(env!("CARGO_BIN_EXE_receive-file"), &receiver);
    let place = ["--connect", &address];
    let mut sender = arguments(folder.path(), "client", &["server"], place);
    sender.push(folder.path().join("client.crt").display().to_string());
    let sender = Program::start(env!("CARGO_BIN_EXE_send-file"), &sender);
    for failed in [sender.fails(1), receiver.fails(1)] {
        assert!(failed.contains("Error: "), "{failed}");
    }
}

#[test]
fn messages_go_over_a_pair_of_pipes() {
    let folder = identities(&["robot", "station"]);
    let (from_station, to_robot) = std::io::pipe().unwrap();
    let (from_robot, to_station) = std::io::pipe().unwrap();
    let serial = env!("CARGO_BIN_EXE_serial");
    let arguments_of = |own, peer| arguments(folder.path(), own, &[peer], ["", ""]).split_off(2);
    let robot = arguments_of("robot", "station");
    let robot = Program::over(serial, &robot, from_station, to_station);
    let mut station = arguments_of("station", "robot");
    station.extend(["forward", "stop"].map(str::to_owned));
    let station = Program::over(serial, &station, from_robot, to_robot);
    let report = "closed by this end; messages: 2 handled\n";
    assert_eq!(
        station.told(),
        format!("forward: handled\nstop: handled\n{report}")
    );
    assert_eq!(
        robot.told(),
        "forward\nstop\nclosed by the peer; messages: 2 received\n"
    );
}
