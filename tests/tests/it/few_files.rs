//! A listener whose process has no more files to give goes on when there are some again.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use countersign_core::{Config, SendChannel};
use countersign_driver::Setup;
use countersign_endpoint::Security;
use countersign_tests::watch;

/// The most files that the process may have; some of them are for itself.
const FILES: usize = 40;

fn goes_on(backend: &'static str) {
    watch(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_few-files"));
        let command = command.arg(backend).arg(FILES.to_string());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address: SocketAddr = lines.next().unwrap().unwrap().parse().unwrap();
        let config = Config::new().channel(SendChannel::new("data"));
        let setup = Setup::new(config, Security::plaintext()).unwrap();

        let before = countersign_std::connect(address, &setup).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "accepted");
        // More than it has files for. They send nothing, and are dropped before their handshakes
        // have run out of time.
        let strangers: Vec<_> = (0..2 * FILES)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        wait_until_used_up(process.id());
        drop(strangers);
        let after = countersign_std::connect(address, &setup).unwrap();
        let mut more = lines.map(Result::unwrap);
        assert_eq!(more.next().unwrap(), "accepted");
        drop((before, after));
        assert!(process.wait().unwrap().success());
    });
}

/// Waits until the process has all the files that it may have, but for a few: an accepted
/// connection may take more than one.
fn wait_until_used_up(process: u32) {
    let files = format!("/proc/{process}/fd");
    while fs::read_dir(&files).unwrap().count() < FILES - 3 {
        thread::yield_now();
    }
}

#[test]
fn on_tokio() {
    goes_on("tokio");
}

#[test]
fn on_std() {
    goes_on("std");
}
