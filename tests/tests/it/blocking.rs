//! The std backend's iterators, and its callbacks in the caller's thread and in others.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use countersign_core::{
    ChannelConfig, CloseMode, Config, ReceiveChannel, Rejection, SendChannel, Verdict, reject,
};
use countersign_endpoint::Security;
use countersign_std::{Link, Receipt, Setup, connect, listen};
use countersign_tests::pair::loopback;
use countersign_tests::watch;

fn setup(channel: impl Into<ChannelConfig>) -> Setup {
    let config = Config::new().channel(channel).single_connection();
    Setup::new(config, Security::plaintext()).unwrap()
}

/// A link from a sending opener to a receiving acceptor.
fn pair(receive: ReceiveChannel) -> [Link; 2] {
    let listener = listen(loopback(), setup(receive)).unwrap();
    let address = listener.local_addr();
    let opening = thread::spawn(move || connect(address, &setup(SendChannel::new("data"))));
    let accepted = listener.incoming().next().unwrap().unwrap();
    [opening.join().unwrap().unwrap(), accepted]
}

fn auto() -> [Link; 2] {
    pair(ReceiveChannel::new("data"))
}

fn manual() -> [Link; 2] {
    pair(ReceiveChannel::new("data").manual())
}

fn picky(message: &[u8]) -> Result<(), Rejection> {
    match message {
        b"bad" => Err(Rejection {
            code: 7,
            reason: "bad".to_owned(),
        }),
        _ => Ok(()),
    }
}

#[test]
fn a_listener_is_an_iterator_of_links() {
    watch(|| {
        let listener = listen(loopback(), setup(ReceiveChannel::new("data"))).unwrap();
        let address = listener.local_addr();
        let opening = thread::spawn(move || {
            let client = setup(SendChannel::new("data"));
            [0; 3].map(|_| connect(address, &client).unwrap())
        });
        let accepted: Vec<_> = listener.incoming().take(3).map(Result::unwrap).collect();
        assert_eq!(accepted.len(), 3);
        // Dropping the openers' ends closes the links, though they may have had more to send.
        opening.join().unwrap();
        for link in &accepted {
            let end = link.ended().end.unwrap();
            assert!(end.reason().is_closed() && !end.is_orderly(), "{end}");
        }
        listener.close();
        assert!(listener.incoming().next().is_none());
    });
}

#[test]
fn receivers_are_iterators() {
    watch(|| {
        let [from, to] = auto();
        let mut receiver = to.receiver("data").unwrap();
        let sender = from.sender("data").unwrap();
        for message in ["1", "2", "3", "4"] {
            let _receipt = sender.send(message).unwrap();
        }
        assert_eq!(receiver.iter().next().unwrap().unwrap(), "1");
        let mut got = Vec::new();
        for message in &mut receiver {
            got.push(message.unwrap());
            if got.len() == 2 {
                break;
            }
        }
        from.start_close(CloseMode::Drain);
        for message in receiver {
            got.push(message.unwrap());
        }
        assert_eq!(got, ["2", "3", "4"]);
        assert!(from.ended().is_orderly());
    });
}

#[test]
fn an_iterator_tells_an_error_once() {
    watch(|| {
        let [from, to] = manual();
        let mut receiver = to.manual_receiver("data").unwrap();
        let receipt = from.sender("data").unwrap().send("1").unwrap();
        receiver.next().unwrap().unwrap().handled();
        assert!(receipt.wait().is_handled());
        from.abandon();
        assert!(receiver.next().unwrap().is_err());
        assert!(receiver.iter().next().is_none());
        assert!(receiver.recv().is_err());
    });
}

#[test]
fn callbacks_run_until_the_end() {
    watch(|| {
        let [from, to] = manual();
        let mut receiver = to.manual_receiver("data").unwrap();
        let sender = from.sender("data").unwrap();
        let sending = thread::spawn(move || {
            let verdicts = ["good", "bad", "good"].map(|message| sender.send(message).unwrap());
            let verdicts = verdicts.map(Receipt::wait);
            assert!(from.close(CloseMode::Drain).is_orderly());
            verdicts
        });
        let mut count = 0;
        let ended = receiver.on_message(|message| {
            count += 1;
            picky(message)
        });
        ended.unwrap();
        assert_eq!(count, 3);
        let [one, two, three] = sending.join().unwrap();
        assert!(one.is_handled() && three.is_handled());
        assert_eq!(two, Verdict::Rejected(picky(b"bad").unwrap_err()));
    });
}

#[test]
fn callbacks_run_in_threads_of_their_own() {
    watch(|| {
        let [from, to] = auto();
        let receiver = to.receiver("data").unwrap();
        let names = receiver.on_message_in_thread("commands", |message| {
            assert_eq!(thread::current().name(), Some("commands"));
            assert_eq!(message, "forward");
        });
        let receipt = from.sender("data").unwrap().send("forward").unwrap();
        assert!(receipt.wait().is_handled());
        assert!(from.close(CloseMode::Drain).is_orderly());
        let (_receiver, ended) = names.unwrap().join().unwrap();
        ended.unwrap();
    });
}

#[test]
fn a_thread_whose_callback_panics_rejects_the_rest() {
    watch(|| {
        let [from, to] = manual();
        let receiver = to.manual_receiver("data").unwrap();
        let thread = receiver.on_message_in_thread("panics", |_| panic!("as it should"));
        let sender = from.sender("data").unwrap();
        let receipts = ["1", "2"].map(|message| sender.send(message).unwrap());
        assert!(thread.unwrap().join().is_err());
        let codes = receipts.map(|receipt| match receipt.wait() {
            Verdict::Rejected(why) => why.code,
            other => panic!("{other}"),
        });
        assert_eq!(codes, [reject::DROPPED, reject::NO_RECEIVER]);
    });
}

#[test]
fn a_receiver_goes_on_after_a_panic() {
    watch(|| {
        let [from, to] = auto();
        let mut receiver = to.receiver("data").unwrap();
        let sender = from.sender("data").unwrap();
        let receipts = ["1", "2"].map(|message| sender.send(message).unwrap());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            receiver.on_message(|_| panic!("as it should"))
        }));
        assert!(panicked.is_err());
        assert_eq!(receiver.recv().unwrap().unwrap(), "2");
        assert!(
            receipts
                .into_iter()
                .all(|receipt| receipt.wait().is_handled())
        );
    });
}
