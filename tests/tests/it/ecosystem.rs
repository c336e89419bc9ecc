//! Receivers as streams and callbacks, senders as sinks: what they promise, and that the
//! combinators of others work with them.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use countersign_core::{
    CloseMode, Config, ReceiveChannel, Rejection, SendChannel, Verdict, reject,
};
use countersign_driver::{Link, MessageSink, Outgoing, Setup, SinkError};
use countersign_endpoint::Security;
use countersign_tests::memory::{End, link, poll_once, settle, turn};
use futures_util::stream::{FusedStream, iter};
use futures_util::{Sink, SinkExt, Stream, StreamExt};

fn setups(send: SendChannel, receive: ReceiveChannel) -> [Setup; 2] {
    let config = Config::new().single_connection();
    [config.clone().channel(send), config.channel(receive)]
        .map(|config| Setup::new(config, Security::plaintext()).unwrap())
}

fn pair(send: SendChannel, receive: ReceiveChannel) -> ([Link; 2], [End; 2]) {
    let [client, server] = setups(send, receive);
    link(&client, &server)
}

/// A link on which two messages wait for their verdicts at most.
fn narrow() -> ([Link; 2], [End; 2]) {
    let send = SendChannel::new("data").max_message(100).queue(2, 100);
    pair(send, ReceiveChannel::new("data").max_message(100))
}

fn manual() -> ([Link; 2], [End; 2]) {
    pair(
        SendChannel::new("data"),
        ReceiveChannel::new("data").manual(),
    )
}

/// Counts how often it is woken.
#[derive(Default)]
struct Task(AtomicU64);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn next<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    poll_once(&mut stream.next())
}

/// Gives the sink a message, for which it must be ready.
fn give(sink: &mut MessageSink, message: &'static str) {
    assert!(matches!(ready(sink), Poll::Ready(Ok(()))));
    Pin::new(sink).start_send(message.into()).unwrap();
}

fn ready(sink: &mut MessageSink) -> Poll<Result<(), SinkError>> {
    Pin::new(sink).poll_ready(&mut Context::from_waker(Waker::noop()))
}

fn flush(sink: &mut MessageSink) -> Poll<Result<(), SinkError>> {
    poll_once(&mut sink.flush())
}

fn not_handled(flushed: Poll<Result<(), SinkError>>) -> (u64, Verdict) {
    match flushed {
        Poll::Ready(Err(SinkError::NotHandled { sequence, verdict })) => (sequence, verdict),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_ends_with_the_orderly_end() {
    let ([from, to], mut ends) = narrow();
    let mut receiver = to.receiver("data").unwrap();
    assert!(next(&mut receiver).is_pending());
    let sender = from.sender("data").unwrap();
    let _receipts = ["1", "2"].map(|message| sender.try_send(message).unwrap());
    from.start_close(CloseMode::Drain);
    settle(&mut ends);
    assert!(matches!(next(&mut receiver), Poll::Ready(Some(Ok(message))) if message == "1"));
    assert!(matches!(next(&mut receiver), Poll::Ready(Some(Ok(message))) if message == "2"));
    settle(&mut ends);
    assert!(!receiver.is_terminated());
    for _ in 0..2 {
        assert!(matches!(next(&mut receiver), Poll::Ready(None)));
        assert!(receiver.is_terminated());
    }
}

#[test]
fn a_stream_tells_an_error_once() {
    let ([from, to], mut ends) = manual();
    let mut receiver = to.manual_receiver("data").unwrap();
    let _receipt = from.sender("data").unwrap().try_send("1").unwrap();
    settle(&mut ends);
    from.abandon();
    settle(&mut ends);
    // What arrived before comes first.
    assert!(matches!(next(&mut receiver), Poll::Ready(Some(Ok(message))) if *message == *b"1"));
    assert!(matches!(next(&mut receiver), Poll::Ready(Some(Err(_)))));
    assert!(receiver.is_terminated());
    assert!(matches!(next(&mut receiver), Poll::Ready(None)));
    // Other ways of receiving report the error again.
    assert!(receiver.try_recv().is_err());
}

#[test]
fn a_stream_gives_its_place_back() {
    let ([from, to], mut ends) = narrow();
    let mut receiver = to.receiver("data").unwrap();
    let [former, latter] = [Arc::<Task>::default(), Arc::default()];
    for task in [&former, &latter] {
        let waker = Waker::from(task.clone());
        let polled = Pin::new(&mut receiver).poll_next(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    assert_eq!(Arc::strong_count(&former), 1);
    let _receipt = from.sender("data").unwrap().try_send("1").unwrap();
    settle(&mut ends);
    assert_eq!(
        [former, latter.clone()].map(|task| task.0.load(Ordering::SeqCst)),
        [0, 1]
    );
    assert!(matches!(next(&mut receiver), Poll::Ready(Some(Ok(_)))));
    let waker = Waker::from(latter.clone());
    let polled = Pin::new(&mut receiver).poll_next(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    drop((waker, receiver));
    assert_eq!(Arc::strong_count(&latter), 1);
}

#[test]
fn a_sink_keeps_what_clones_of_its_sender_leave_no_room_for() {
    let ([from, to], mut ends) = narrow();
    let sender = from.sender("data").unwrap();
    let mut receiver = to.receiver("data").unwrap();
    let mut sink = sender.sink();
    assert!(matches!(ready(&mut sink), Poll::Ready(Ok(()))));
    let _others = ["1", "2"].map(|message| sender.try_send(message).unwrap());
    // It was ready, so it must take the message.
    Pin::new(&mut sink).start_send("3".into()).unwrap();
    assert!(ready(&mut sink).is_pending());
    let error = Pin::new(&mut sink).start_send("4".into()).unwrap_err();
    let SinkError::NotSent(error) = error else {
        panic!("{error}");
    };
    assert!(error.is_blocked());
    assert_eq!(error.into_message(), "4");
    let task = Arc::<Task>::default();
    let waker = Waker::from(task.clone());
    let polled = Pin::new(&mut sink).poll_ready(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    settle(&mut ends);
    for expected in ["1", "2"] {
        assert_eq!(receiver.try_recv().unwrap().unwrap(), expected);
    }
    settle(&mut ends);
    assert!(task.0.load(Ordering::SeqCst) > 0, "there is room");
    assert!(matches!(ready(&mut sink), Poll::Ready(Ok(()))));
    settle(&mut ends);
    assert_eq!(receiver.try_recv().unwrap().unwrap(), "3");
    assert!(receiver.try_recv().unwrap().is_none());
}

#[test]
fn a_dropped_sink_gives_its_place_back() {
    let ([from, _to], _ends) = narrow();
    let sender = from.sender("data").unwrap();
    let _others = ["1", "2"].map(|message| sender.try_send(message).unwrap());
    let mut sink = sender.into_sink();
    Pin::new(&mut sink).start_send("3".into()).unwrap();
    let task = Arc::<Task>::default();
    let waker = Waker::from(task.clone());
    let polled = Pin::new(&mut sink).poll_ready(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    drop((waker, sink));
    assert_eq!(Arc::strong_count(&task), 1);
}

#[test]
fn a_flush_waits_for_every_verdict() {
    let ([from, to], mut ends) = manual();
    let mut receiver = to.manual_receiver("data").unwrap();
    let mut sink = from.sender("data").unwrap().into_sink();
    assert!(matches!(flush(&mut sink), Poll::Ready(Ok(()))));
    give(&mut sink, "1");
    give(&mut sink, "2");
    settle(&mut ends);
    let taken = [0, 1].map(|_| receiver.try_recv().unwrap().unwrap());
    for message in taken {
        assert!(flush(&mut sink).is_pending());
        message.handled();
        settle(&mut ends);
    }
    assert!(matches!(flush(&mut sink), Poll::Ready(Ok(()))));
}

#[test]
fn a_flush_names_the_first_message_that_was_not_handled_once() {
    let ([from, to], mut ends) = manual();
    let mut receiver = to.manual_receiver("data").unwrap();
    let mut sink = from.sender("data").unwrap().into_sink();
    for message in ["1", "2", "3"] {
        give(&mut sink, message);
    }
    settle(&mut ends);
    let [one, two, three] = [0; 3].map(|_| receiver.try_recv().unwrap().unwrap());
    three.reject(3, "third");
    settle(&mut ends);
    assert!(flush(&mut sink).is_pending());
    two.reject(2, "second");
    one.handled();
    settle(&mut ends);
    let (code, reason) = (2, "second".to_owned());
    let second = Verdict::Rejected(Rejection { code, reason });
    let flushed = not_handled(flush(&mut sink));
    assert_eq!(flushed, (2, second));
    // The sink goes on, and is not held to what it has told.
    give(&mut sink, "4");
    settle(&mut ends);
    receiver.try_recv().unwrap().unwrap().handled();
    settle(&mut ends);
    assert!(matches!(flush(&mut sink), Poll::Ready(Ok(()))));
}

#[test]
fn what_others_send_is_not_a_sinks_business() {
    let ([from, to], mut ends) = manual();
    let mut receiver = to.manual_receiver("data").unwrap();
    let sender = from.sender("data").unwrap();
    let (mut sink, mut other) = (sender.sink(), sender.sink());
    give(&mut sink, "1");
    give(&mut other, "2");
    settle(&mut ends);
    let [one, two] = [0; 2].map(|_| receiver.try_recv().unwrap().unwrap());
    drop(one);
    settle(&mut ends);
    assert_eq!(not_handled(flush(&mut sink)).0, 1);
    assert!(flush(&mut other).is_pending());
    two.handled();
    settle(&mut ends);
    assert!(matches!(flush(&mut other), Poll::Ready(Ok(()))));
}

#[test]
fn superseded_is_no_error_to_a_sink_and_expired_is() {
    let send = SendChannel::new("data").latest().in_flight(1);
    let ([from, to], mut ends) = pair(send, ReceiveChannel::new("data"));
    let mut receiver = to.receiver("data").unwrap();
    let mut sink = from.sender("data").unwrap().into_sink();
    give(&mut sink, "1");
    settle(&mut ends);
    for message in ["2", "3"] {
        give(&mut sink, message);
    }
    for expected in ["1", "3"] {
        assert_eq!(receiver.try_recv().unwrap().unwrap(), expected);
        settle(&mut ends);
    }
    assert_eq!(
        from.report().verdicts().to_string(),
        "2 handled, 1 superseded"
    );
    assert!(matches!(flush(&mut sink), Poll::Ready(Ok(()))));
    // An earlier one that was superseded does not hide a later one that expired.
    for message in ["4", "5"] {
        give(&mut sink, message);
    }
    let late = Outgoing::from("6").expires(Instant::now() - Duration::from_secs(1));
    Pin::new(&mut sink).start_send(late).unwrap();
    settle(&mut ends);
    assert_eq!(not_handled(flush(&mut sink)), (6, Verdict::Expired));
}

#[test]
fn a_sink_gives_back_what_the_link_does_not_take() {
    let ([from, _to], mut ends) = narrow();
    let sender = from.sender("data").unwrap();
    let _others = ["1", "2"].map(|message| sender.try_send(message).unwrap());
    let mut sink = sender.sink();
    let large = vec![0; 101];
    let error = Pin::new(&mut sink).start_send(large.into()).unwrap_err();
    let SinkError::NotSent(error) = error else {
        panic!("{error}");
    };
    assert_eq!(error.into_message().len(), 101);
    give(&mut sink, "kept");
    from.abandon();
    settle(&mut ends);
    let Poll::Ready(Err(SinkError::NotSent(error))) = flush(&mut sink) else {
        panic!("the link has ended");
    };
    assert!(error.link().is_some());
    assert_eq!(error.into_message(), "kept");
    // Nothing else went through the sink.
    assert!(matches!(flush(&mut sink), Poll::Ready(Ok(()))));
}

#[test]
fn closing_a_sink_leaves_the_link_as_it_is() {
    let ([from, to], mut ends) = narrow();
    let mut receiver = to.receiver("data").unwrap();
    let mut sink = from.sender("data").unwrap().into_sink();
    give(&mut sink, "1");
    assert!(poll_once(&mut sink.close()).is_pending());
    settle(&mut ends);
    assert_eq!(receiver.try_recv().unwrap().unwrap(), "1");
    settle(&mut ends);
    assert!(matches!(poll_once(&mut sink.close()), Poll::Ready(Ok(()))));
    assert!(from.end_reason().is_none());
    give(&mut sink, "2");
    settle(&mut ends);
    assert_eq!(receiver.try_recv().unwrap().unwrap(), "2");
}

#[test]
fn a_stream_can_be_forwarded_into_a_sink() {
    let ([from, to], mut ends) = narrow();
    let mut receiver = to.receiver("data").unwrap();
    let messages = (0..50).map(|number| Ok(Outgoing::from(format!("{number}"))));
    let mut forwarding = iter(messages).forward(from.sender("data").unwrap().into_sink());
    let mut got = Vec::new();
    while poll_once(&mut forwarding).is_pending() {
        settle(&mut ends);
        while let Poll::Ready(Some(message)) = next(&mut receiver) {
            got.push(message.unwrap());
        }
        settle(&mut ends);
    }
    let expected: Vec<_> = (0..50).map(|number| format!("{number}")).collect();
    assert_eq!(got, expected);
    assert_eq!(from.report().verdicts().to_string(), "50 handled");
}

#[test]
fn a_panicking_callback_loses_only_its_own_message() {
    let ([from, to], mut ends) = narrow();
    let mut receiver = to.receiver("data").unwrap();
    let sender = from.sender("data").unwrap();
    let receipts = ["1", "2"].map(|message| sender.try_send(message).unwrap());
    settle(&mut ends);
    let mut calls = Vec::new();
    let mut calling = Box::pin(receiver.on_message(|message| {
        calls.push(message.clone());
        assert_ne!(message, "1", "the callback panics");
    }));
    let panicked = catch_unwind(AssertUnwindSafe(|| poll_once(&mut calling)));
    assert!(panicked.is_err());
    drop(calling);
    // The receiver goes on with the next.
    let mut calling = Box::pin(receiver.on_message(|message| calls.push(message)));
    assert!(poll_once(&mut calling).is_pending());
    drop(calling);
    settle(&mut ends);
    assert_eq!(calls, ["1", "2"]);
    assert!(receipts.iter().all(|r| r.verdict().unwrap().is_handled()));
}

#[test]
fn what_waits_behind_a_panic_is_rejected_with_the_receiver() {
    let ([from, to], mut ends) = narrow();
    let mut receiver = to.receiver("data").unwrap();
    let sender = from.sender("data").unwrap();
    let receipts = ["1", "2"].map(|message| sender.try_send(message).unwrap());
    settle(&mut ends);
    let mut task = Box::pin(async move { receiver.on_message(|_| panic!("as it should")).await });
    assert!(catch_unwind(AssertUnwindSafe(|| poll_once(&mut task))).is_err());
    drop(task);
    settle(&mut ends);
    let [one, two] = receipts.map(|receipt| receipt.verdict().unwrap());
    assert!(one.is_handled());
    assert!(matches!(two, Verdict::Rejected(why) if why.code == reject::NO_RECEIVER));
}

#[test]
fn a_callback_of_a_manual_receiver_decides() {
    let ([from, to], mut ends) = manual();
    let mut receiver = to.manual_receiver("data").unwrap();
    let sender = from.sender("data").unwrap();
    let receipts = ["good", "bad", "worse", "good"].map(|m| sender.try_send(m).unwrap());
    settle(&mut ends);
    let bad = || Rejection {
        code: 7,
        reason: "bad".to_owned(),
    };
    let mut calling = Box::pin(receiver.on_message(|message| match &message[..] {
        b"bad" => Err(bad()),
        b"worse" => panic!("as it should"),
        _ => Ok(()),
    }));
    assert!(catch_unwind(AssertUnwindSafe(|| poll_once(&mut calling))).is_err());
    drop(calling);
    let mut numbers = Vec::new();
    let mut calling = Box::pin(receiver.on_message(|message| {
        numbers.push(message.sequence());
        Ok(())
    }));
    assert!(poll_once(&mut calling).is_pending());
    drop(calling);
    from.start_close(CloseMode::Drain);
    settle(&mut ends);
    assert_eq!(numbers, [4]);
    let verdicts = receipts.map(|receipt| receipt.verdict().unwrap());
    assert!(verdicts[0].is_handled() && verdicts[3].is_handled());
    assert_eq!(verdicts[1], Verdict::Rejected(bad()));
    let Verdict::Rejected(why) = &verdicts[2] else {
        panic!("{}", verdicts[2]);
    };
    assert_eq!(why.code, reject::DROPPED);
    let mut calling = Box::pin(receiver.on_message(|_| Ok(())));
    assert!(matches!(poll_once(&mut calling), Poll::Ready(Ok(()))));
}

#[test]
fn a_callback_may_wait() {
    let ([from, to], mut ends) = manual();
    let mut receiver = to.manual_receiver("data").unwrap();
    let sender = from.sender("data").unwrap();
    let receipts = ["1", "2"].map(|message| sender.try_send(message).unwrap());
    settle(&mut ends);
    let got = RefCell::new(Vec::new());
    let mut calling = Box::pin(receiver.on_message_async(|message| {
        let (payload, got) = (message.payload().clone(), &got);
        async move {
            turn().await;
            got.borrow_mut().push(payload);
            Ok(())
        }
    }));
    assert!(poll_once(&mut calling).is_pending());
    assert!(poll_once(&mut calling).is_pending());
    // Dropped with the second message in the callback's hands.
    drop(calling);
    settle(&mut ends);
    assert_eq!(*got.borrow(), ["1"]);
    let [one, two] = receipts.map(|receipt| receipt.verdict().unwrap());
    assert!(one.is_handled());
    assert!(matches!(two, Verdict::Rejected(why) if why.code == reject::DROPPED));
}

/// What a runtime with several threads asks of a task.
fn spawnable<F: Future<Output = ()> + Send + 'static>(future: F) -> F {
    future
}

#[test]
fn callbacks_can_be_tasks() {
    let ([from, to], mut ends) = narrow();
    let mut receiver = to.receiver("data").unwrap();
    let total = Arc::<AtomicU64>::default();
    let sum = total.clone();
    let mut task = Box::pin(spawnable(async move {
        let ended = receiver.on_message_async(|message| {
            let sum = sum.clone();
            async move {
                turn().await;
                sum.fetch_add(message.len() as u64, Ordering::SeqCst);
            }
        });
        ended.await.unwrap();
    }));
    let _receipt = from.sender("data").unwrap().try_send("four").unwrap();
    from.start_close(CloseMode::Drain);
    settle(&mut ends);
    while poll_once(&mut task).is_pending() {
        settle(&mut ends);
    }
    assert_eq!(total.load(Ordering::SeqCst), 4);
    assert!(from.end_reason().unwrap().is_orderly());
}

#[test]
fn callbacks_of_manual_receivers_can_be_tasks() {
    let ([from, to], mut ends) = manual();
    let mut receiver = to.manual_receiver("data").unwrap();
    let mut task = Box::pin(spawnable(async move {
        let ended = receiver.on_message_async(|message| {
            let payload = message.payload().clone();
            async move {
                turn().await;
                let (code, reason) = (payload.len() as u32, String::new());
                Err(Rejection { code, reason })
            }
        });
        ended.await.unwrap();
    }));
    let receipt = from.sender("data").unwrap().try_send("four").unwrap();
    from.start_close(CloseMode::Drain);
    settle(&mut ends);
    while poll_once(&mut task).is_pending() {
        settle(&mut ends);
    }
    let verdict = receipt.verdict().unwrap();
    assert!(matches!(verdict, Verdict::Rejected(why) if why.code == 4));
}
