//! A listener in a process that may not have many files: it prints its address, accepts two links,
//! and reports each.
//!
//! `few-files tokio|std FILES`

#![allow(clippy::unwrap_used, reason = "a program for tests")]

use std::env;
use std::net::SocketAddr;

use countersign_core::{Config, ReceiveChannel};
use countersign_driver::{AcceptError, Setup};
use countersign_endpoint::Security;

fn tell_address(address: SocketAddr) {
    println!("{address}");
}

/// Reports a link. Returns false for a connection that did not become one.
fn tell<L>(accepted: &Result<L, AcceptError>) -> bool {
    match accepted {
        Ok(_) => println!("accepted"),
        Err(error) => eprintln!("{error}"),
    }
    accepted.is_ok()
}

fn main() {
    let arguments: Vec<_> = env::args().collect();
    let files = arguments[2].parse().unwrap();
    rlimit::setrlimit(rlimit::Resource::NOFILE, files, files).unwrap();
    let config = Config::new().channel(ReceiveChannel::new("data"));
    let setup = Setup::new(config, Security::plaintext()).unwrap();
    match arguments[1].as_str() {
        "tokio" => {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = countersign_tokio::listen("127.0.0.1:0", setup)
                    .await
                    .unwrap();
                tell_address(listener.local_addr());
                let mut links = Vec::new();
                while links.len() < 2 {
                    let accepted = listener.accept().await;
                    if tell(&accepted) {
                        links.extend(accepted);
                    }
                }
                // Their peers may not know yet that they have links.
                for link in links {
                    link.ended().await;
                }
            });
        }
        "std" => {
            let listener = countersign_std::listen("127.0.0.1:0", setup).unwrap();
            tell_address(listener.local_addr());
            let mut links = Vec::new();
            while links.len() < 2 {
                let accepted = listener.accept();
                if tell(&accepted) {
                    links.extend(accepted);
                }
            }
            for link in links {
                drop(link.ended());
            }
        }
        other => panic!("no backend '{other}'"),
    }
}
