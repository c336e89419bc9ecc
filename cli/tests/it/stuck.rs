//! Signals to a receiver whose output nobody reads.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::io::{PipeReader, pipe as os_pipe};

use crate::common::{Identities, Running, countersign, pipe, wait_until_full};
use crate::size::leaves_out;

/// A receiver that is in the middle of a write that does not end, its sender, and the pipe between it and
/// nobody.
fn stuck(identities: &Identities, more: &[&str]) -> (Running, Running, PipeReader) {
    let (reader, writer) = os_pipe().unwrap();
    let watched = writer.try_clone().unwrap();
    let flags = identities.flags("robot", "operator");
    let mut command = countersign(pipe("recv", ["--listen", "127.0.0.1:0"], &flags, more));
    command.stdout(writer);
    let mut receiver = Running::spawn(command);
    // One message that no pipe holds: when it is full, the rest is still to be written.
    let more = ["--retry", "never", "--split", "whole"];
    let mut sender = identities.connect(&receiver, "send", &more);
    sender.feed(&vec![b'x'; 4 << 20]);
    wait_until_full(&watched, &mut receiver.child);
    drop(watched);
    (receiver, sender, reader)
}

const TAKES_NO_MORE: &str = "error: standard output takes no more, so not everything that came was";

#[test]
fn the_first_signal_ends_it_within_the_time_of_a_close() {
    if leaves_out("a close that takes all of its time") {
        return;
    }
    let identities = Identities::new();
    let (receiver, sender, _reader) = stuck(&identities, &[]);
    receiver.signal("TERM");
    let received = receiver.finish();
    received.expect(143, TAKES_NO_MORE);
    received.expect(143, "received ");
    // The close comes to a standstill; why the receiver closes has come.
    sender
        .finish()
        .expect(1, "the peer broke off: it was ended by SIGTERM");
}

#[test]
fn a_link_that_has_ended_is_not_waited_for() {
    let identities = Identities::new();
    let (receiver, mut sender, _reader) = stuck(&identities, &["-v", "--retain", "0s"]);
    sender.kill();
    sender.finish();
    receiver.signal("TERM");
    receiver.finish().expect(143, TAKES_NO_MORE);
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let identities = Identities::new();
    let (receiver, mut sender, _reader) = stuck(&identities, &["-v"]);
    receiver.signal("INT");
    receiver.wait_for_log("asked to stop", 1);
    receiver.signal("TERM");
    let received = receiver.finish();
    received.expect(143, "asked to stop");
    assert!(!received.stderr.contains("received"), "{}", received.stderr);
    sender.kill();
    sender.finish();
}
