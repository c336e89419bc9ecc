//! The `tlsstream` dialect between two of our own ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use countersign_core::{
    CloseMode, Config, ConfigProblem, Dialect, EndReason, ReceiveChannel, SendChannel, SendError,
    Verdict,
};

use super::{both_ways, one};
use crate::backend::Receipt;
use crate::pair::payload;
use crate::{Direction, Ends, Pair, Transport};

scenarios! {
    SECURED_OR_PLAIN {
        sizes: "tlsstream has no sessions",
        closed_by_the_sender: "tlsstream has no sessions",
        closed_by_the_receiver: "tlsstream has no sessions",
        empty_messages_are_refused: "tlsstream has no sessions",
        declarations_that_can_not_be: "tlsstream has no sessions",
        confirmation_withheld: "tlsstream has no sessions",
        a_cut_in_the_middle: "tlsstream has no sessions",
        a_dropped_receiver_closes: "tlsstream has no sessions",
        dialects_that_differ: "tlsstream has no sessions",
    }
}

fn send() -> Config {
    one(SendChannel::new("data")).dialect(Dialect::TlsStream)
}

fn receive() -> Config {
    one(ReceiveChannel::new("data")).dialect(Dialect::TlsStream)
}

/// Messages of all sizes, from either end.
fn sizes(pair: &Pair) {
    let lengths = [
        1,
        2,
        9,
        10,
        11,
        16_377,
        16_378,
        16_379,
        16_384,
        65_536,
        1 << 20,
        16 << 20,
    ];
    both_ways(pair, &send(), &receive(), |from, to| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        let receipts: Vec<_> = lengths
            .iter()
            .map(|length| sender.give(payload(*length, *length)))
            .collect();
        for length in lengths {
            assert!(
                receiver.take() == payload(length, length),
                "{length} bytes, changed"
            );
        }
        for receipt in receipts {
            assert!(receipt.wait().is_handled());
        }
    });
}

/// An orderly close, asked for by the end that sends, after what it has accepted.
fn closed_by_the_sender(pair: &Pair) {
    both_ways(pair, &send(), &receive(), |from, to| {
        let sender = from.sender("data").unwrap();
        for _ in 0..20 {
            let _ = sender.give("message");
        }
        let mut receiver = to.receiver("data").unwrap();
        from.start_close(CloseMode::Drain);
        assert_eq!(receiver.take_all().len(), 20);
        let (ours, theirs) = (from.ended(), to.ended());
        assert!(ours.is_orderly() && theirs.is_orderly(), "{ours}; {theirs}");
        assert_eq!(ours.verdicts().to_string(), "20 handled");
        assert_eq!(theirs.channels[0].delivered, 20);
    });
}

/// An orderly close, asked for by the end that receives.
fn closed_by_the_receiver(pair: &Pair) {
    both_ways(pair, &send(), &receive(), |from, to| {
        let mut receiver = to.receiver("data").unwrap();
        let receipt = from.sender("data").unwrap().give("message");
        assert_eq!(receiver.take(), "message");
        assert!(receipt.wait().is_handled());
        let report = to.close(CloseMode::Drain);
        assert!(report.is_orderly(), "{report}");
        let report = from.ended();
        assert!(report.is_orderly(), "{report}");
        assert!(receiver.recv().unwrap().is_none());
        let refused = from
            .sender("data")
            .unwrap()
            .send("more".into())
            .err()
            .unwrap();
        assert_eq!(refused.why(), SendError::Ended);
    });
}

/// A message without content can't be carried.
fn empty_messages_are_refused(pair: &Pair) {
    both_ways(pair, &send(), &receive(), |from, _to| {
        let refused = from.sender("data").unwrap().send("".into()).err().unwrap();
        assert_eq!(refused.why(), SendError::Empty);
        assert!(refused.to_string().contains("tlsstream"), "{refused}");
    });
}

/// `Manual` can't be declared, nor a second channel.
fn declarations_that_can_not_be(pair: &Pair) {
    let problem = |config: Config| {
        countersign_driver::Setup::new(config.single_connection(), pair.client_security())
            .err()
            .unwrap()
            .problem
    };
    let manual = one(ReceiveChannel::new("data").manual()).dialect(Dialect::TlsStream);
    assert_eq!(problem(manual), ConfigProblem::ManualTlsStream);
    let two = send().channel(ReceiveChannel::new("back"));
    assert_eq!(problem(two), ConfigProblem::ManyTlsStream);
}

/// A receiver that holds no more withholds its confirmation until the application takes one.
fn confirmation_withheld(pair: &Pair) {
    let receiving = one(ReceiveChannel::new("data").window(1, 16 << 20));
    let receiving = receiving.dialect(Dialect::TlsStream);
    both_ways(pair, &send(), &receiving, |from, to| {
        let sender = from.sender("data").unwrap();
        let receipts = [sender.give("one"), sender.give("two")];
        let taken = AtomicBool::new(false);
        let mut receiver = to.receiver("data").unwrap();
        thread::scope(|scope| {
            let [first, second] = receipts;
            let waiting = scope.spawn(|| {
                assert!(first.wait().is_handled());
                assert!(taken.load(Ordering::SeqCst), "nothing was taken yet");
            });
            taken.store(true, Ordering::SeqCst);
            assert_eq!(receiver.take(), "one");
            waiting.join().unwrap();
            assert_eq!(receiver.take(), "two");
            assert!(second.wait().is_handled());
        });
    });
}

/// With one message in flight, what breaks off leaves one unknown and the rest withdrawn.
fn a_cut_in_the_middle(pair: &Pair) {
    let (ends, proxy) = pair.link_through(send(), receive());
    let Ends { client, server } = ends;
    let begun = proxy.passed(Direction::Up) + 5000;
    proxy.allow(Direction::Up, begun);
    let sender = client.sender("data").unwrap();
    let receipts = [sender.give(payload(100_000, 0)), sender.give("next")];
    proxy.wait_for(Direction::Up, begun);
    proxy.cut();
    let [first, second] = receipts.map(Receipt::wait);
    assert_eq!((first, second), (Verdict::Unknown, Verdict::Withdrawn));
    for report in [client.ended(), server.ended()] {
        assert!(
            matches!(report.end.as_ref().unwrap().reason(), EndReason::Lost(_)),
            "{report}"
        );
    }
    assert!(server.receiver("data").unwrap().recv().is_err());
}

/// Dropping the receiver closes the link: this dialect has no way to reject.
fn a_dropped_receiver_closes(pair: &Pair) {
    both_ways(pair, &send(), &receive(), |from, to| {
        drop(to.receiver("data").unwrap());
        let report = from.ended();
        assert!(report.is_orderly(), "{report}");
        assert!(to.ended().is_orderly());
    });
}

/// An opener of one dialect and an acceptor of the other.
fn dialects_that_differ(pair: &Pair) {
    let native = || one(ReceiveChannel::new("data"));
    let listener = pair.listen(native());
    let error = match pair.connect(listener.address(), send()) {
        Err(error) => error,
        Ok(link) => {
            // In plain there is nothing to find out before something is said.
            let _ = link.sender("data").unwrap().send("hello, robot".into());
            link.ended().end.unwrap()
        }
    };
    // In TLS the acceptor leaves without a word, and may do so before anything was sent.
    let in_tls = pair.transport == Transport::Tls;
    assert!(in_tls || !error.is_orderly(), "{error}");
    let refused = listener.accept().err().expect("no link");
    assert!(!refused.error().can_retry(), "{refused}");

    let listener = pair.listen(receive());
    thread::scope(|scope| {
        let accepting = scope.spawn(|| match listener.accept() {
            Err(refused) => refused.error().clone(),
            Ok(link) => link.ended().end.unwrap(),
        });
        let error = pair
            .connect(listener.address(), one(SendChannel::new("data")))
            .err()
            .expect("no link");
        let refused = accepting.join().unwrap();
        // In TLS the opener breaks off without close_notify: with it, this dialect would have an
        // orderly end. In plain the acceptor leaves, which has no word for it.
        let in_tls = pair.transport == Transport::Tls;
        assert!(!refused.is_orderly(), "{refused}");
        assert_eq!(error.can_retry(), !in_tls, "{error}");
        assert_eq!(
            error.to_string().contains("same dialect"),
            in_tls,
            "{error}"
        );
    });
}
