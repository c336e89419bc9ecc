//! A future that waited and was dropped leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use countersign_core::{Bytes, CloseMode, Config, ReceiveChannel, SendChannel};
use countersign_driver::Setup;
use countersign_tests::memory::{connecting, link, settle};
use countersign_tests::on_tokio::Tokio;
use countersign_tests::{Pair, Transport};

#[derive(Default)]
struct Task(AtomicU64);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Task {
    fn woken(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

fn setups() -> [Setup; 2] {
    let pair = Pair {
        client: &Tokio,
        server: &Tokio,
        transport: Transport::Plain,
    };
    let send = SendChannel::new("data").max_message(100).queue(1, 100);
    let receive = ReceiveChannel::new("data").max_message(100);
    [
        pair.client_setup(Config::new().channel(send)),
        pair.server_setup(Config::new().channel(receive)),
    ]
}

/// Polls a future as a separate task, which it must leave waiting.
fn wait_as<F: Future>(task: &Arc<Task>, future: F) {
    let waker = Waker::from(task.clone());
    let polled = pin!(future).poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

#[test]
fn dropped_futures_leave_no_wakers() {
    const TASKS: usize = 1000;
    let [client, server] = setups();
    let ([from, to], mut ends) = link(&client, &server);
    let sender = from.sender("data").unwrap();
    let mut receiver = to.receiver("data").unwrap();
    let _full = sender.try_send("full").unwrap();
    let tasks: Vec<_> = (0..TASKS).map(|_| Arc::<Task>::default()).collect();
    for task in &tasks {
        wait_as(task, from.ended());
        wait_as(task, from.event());
        wait_as(task, sender.send("more"));
        let mut batch = [Bytes::from("more")].into();
        wait_as(task, sender.send_batch(&mut batch));
        wait_as(task, receiver.recv());
        wait_as(task, receiver.recv_batch(&mut Vec::new(), 1));
        assert_eq!(Arc::strong_count(task), 1, "a dropped future's waker stays");
    }
    from.start_close(CloseMode::Drain);
    settle(&mut ends);
    assert!(tasks.iter().all(|task| task.woken() == 0));
}

#[test]
fn a_connection_that_is_given_up_leaves_no_waker() {
    let [client, server] = setups();
    let ([opening, _accepting], _ends) = connecting(&client, &server);
    let task = Arc::<Task>::default();
    wait_as(&task, opening);
    // Giving it up ends the link, and may wake those that waited for it.
    assert_eq!(Arc::strong_count(&task), 1);
}

#[test]
fn a_future_that_moves_between_tasks_wakes_the_last_one() {
    let [client, server] = setups();
    let ([from, to], mut ends) = link(&client, &server);
    let mut receiver = to.receiver("data").unwrap();
    let mut receiving = Box::pin(receiver.recv());
    let [former, latter] = [Arc::<Task>::default(), Arc::default()];
    for task in [&former, &latter, &former, &latter] {
        let waker = Waker::from(task.clone());
        let polled = receiving.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    assert_eq!(Arc::strong_count(&former), 1);
    let _receipt = from.sender("data").unwrap().try_send("message").unwrap();
    settle(&mut ends);
    assert_eq!((former.woken(), latter.woken()), (0, 1));
    let waker = Waker::from(latter.clone());
    let polled = receiving.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(matches!(polled, Poll::Ready(Ok(Some(message))) if message == "message"));
    drop(receiving);
    drop(waker);
    assert_eq!(Arc::strong_count(&latter), 1);
}

#[test]
fn all_who_wait_for_the_same_are_woken() {
    let [client, server] = setups();
    let ([from, _to], mut ends) = link(&client, &server);
    let tasks: Vec<_> = (0..10).map(|_| Arc::<Task>::default()).collect();
    let mut waiting: Vec<_> = tasks.iter().map(|_| Box::pin(from.ended())).collect();
    for (task, future) in tasks.iter().zip(&mut waiting) {
        let waker = Waker::from(task.clone());
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    // One of them goes; the others are none the worse for it.
    drop(waiting.swap_remove(0));
    from.start_close(CloseMode::Drain);
    settle(&mut ends);
    assert_eq!(tasks[0].woken(), 0);
    assert!(tasks[1..].iter().all(|task| task.woken() > 0));
}
