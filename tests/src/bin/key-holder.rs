//! A process that has a private key in every way in which the library takes one, and reports when
//! it has it and when it should no longer have it. At each of these moments it waits for a line, so
//! that another process can search its memory.
//!
//! `key-holder CASE FOLDER ARGUMENTS...`

#![allow(clippy::unwrap_used, reason = "a program for tests")]

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

use countersign_certs::{Algorithm, NewIdentity, Overwrite};
use countersign_core::{Config, ReceiveChannel, SendChannel};
use countersign_driver::Setup;
use countersign_endpoint::{Identity, Pins, Security};
use countersign_tests::memory;
use zeroize::Zeroizing;

/// Says what the memory should be like, and waits until it was looked at.
fn tell(what: &str) {
    println!("{what}");
    io::stdin().read_line(&mut String::new()).unwrap();
}

struct Files {
    folder: PathBuf,
    arguments: Vec<String>,
}

impl Files {
    fn path(&self, at: usize) -> PathBuf {
        self.folder.join(&self.arguments[at])
    }

    /// What is in a file, wiped when it is dropped.
    fn read(&self, at: usize) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(fs::read(self.path(at)).unwrap())
    }

    fn load(&self) -> Identity {
        Identity::from_pem_files(self.path(0), self.path(1)).unwrap()
    }
}

/// Two links with the same identity, which trust each other.
fn link(security: &Security) -> impl Sized + use<> {
    let send = Config::new().channel(SendChannel::new("data"));
    let receive = Config::new().channel(ReceiveChannel::new("data"));
    let [one, other] = [send, receive].map(|config| Setup::new(config, security.clone()).unwrap());
    memory::link(&one, &other)
}

fn secured(identity: &Identity) -> Security {
    let security = Security::tls(identity.clone(), identity.fingerprint());
    security.build().unwrap()
}

/// Makes a hole in the heap, as in every program that has run for a while: a value that is put into
/// it and grows has to move.
fn hole() -> impl Sized {
    let hole = vec![0_u8; 40_000];
    let edge = vec![0_u8; 64];
    drop(hole);
    edge
}

fn have(case: &str, files: &Files) {
    let _edge = hole();
    match case {
        // Read and forgotten, as nothing in the library does.
        "left" => {
            drop(fs::read(files.path(0)).unwrap());
            tell("held");
        }
        "files" => {
            let identity = files.load();
            tell("held");
            drop(identity);
        }
        "text" => {
            let (certificate, key) = (files.read(0), files.read(1));
            let identity = Identity::from_pem(&certificate, &key).unwrap();
            drop(key);
            tell("held");
            drop(identity);
        }
        "der" => {
            let (certificate, key) = (files.read(0), files.read(1));
            let identity = Identity::from_der(&certificate, &key).unwrap();
            drop(key);
            tell("held");
            drop(identity);
        }
        "link" => {
            let identity = files.load();
            let ends = link(&secured(&identity));
            drop(identity);
            tell("held");
            drop(ends);
        }
        "replaced" => {
            let security = secured(&files.load());
            let ends = link(&security);
            let next = Identity::from_pem_files(files.path(2), files.path(3)).unwrap();
            let fingerprint = next.fingerprint();
            security.replace(next, fingerprint).unwrap();
            drop(ends);
            // With its successor in force.
            tell("gone");
            drop(security);
        }
        "refused" => {
            let error = Identity::from_pem_files(files.path(0), files.path(1)).unwrap_err();
            tell("gone");
            eprintln!("{error}");
        }
        "refused der" => {
            let (certificate, key) = (files.read(0), files.read(1));
            let error = Identity::from_der(&certificate, &key).unwrap_err();
            drop(key);
            tell("gone");
            eprintln!("{error}");
        }
        "pins" => {
            let error = Pins::from_files([files.path(0)]).unwrap_err();
            tell("gone");
            eprintln!("{error}");
        }
        "generate" => {
            let algorithm = match files.arguments[0].as_str() {
                "p256" => Algorithm::P256,
                _ => Algorithm::Ed25519,
            };
            let new = NewIdentity::new("new").algorithm(algorithm);
            let generated = new.generate().unwrap();
            generated.write(&files.folder, Overwrite::No).unwrap();
            let clone = generated.clone();
            tell("held");
            drop((generated, clone));
        }
        _ => panic!("no such case: {case}"),
    }
    tell("gone");
}

fn main() {
    let mut arguments = env::args().skip(1);
    let case = arguments.next().unwrap();
    let files = Files {
        folder: arguments.next().unwrap().into(),
        arguments: arguments.collect(),
    };
    have(&case, &files);
}
