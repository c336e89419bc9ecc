//! countersign on blocking sockets and threads, with its defaults: every message acknowledged.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_std::{CloseMode, Link, VerdictKind, connect, listen};

use super::countersign::{CHANNEL, Setups};
use super::{Contender, Failure, Measurement, batch, check_counts, check_length};

/// Many messages under way at once.
pub(super) struct Throughput(pub(super) Setups);

/// One message at a time.
pub(super) struct PingPong(pub(super) Setups);

impl Contender for Throughput {
    fn name(&self) -> &'static str {
        "countersign-std"
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        let (sender, receiver) = connect_both(&self.0.of_size(size)?)?;
        let start = Instant::now();
        let receiving = thread::spawn(move || receive_batches(&receiver, size));
        let (sent, end) = send_batches(&sender, size, start + duration)?;
        let received = receiving.join().map_err(|_| "the receiver panicked")??;
        Measurement::throughput(sent, received, start, end)
    }
}

impl Contender for PingPong {
    fn name(&self) -> &'static str {
        "countersign-std-pingpong"
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        let (sender, receiver) = connect_both(&self.0.of_size(size)?)?;
        let receiving = thread::spawn(move || receive_each(&receiver, size));
        let times = send_each(&sender, size, Instant::now() + duration)?;
        let received = receiving.join().map_err(|_| "the receiver panicked")??;
        check_counts(times.len() as u64, received)?;
        Measurement::round_trips(times)
    }
}

fn connect_both(setups: &Setups) -> Result<(Link, Link), Failure> {
    let listener = listen("127.0.0.1:0", setups.receiver.clone())?;
    let sender = connect(listener.local_addr(), &setups.sender)?;
    Ok((sender, listener.accept()?))
}

fn send_batches(link: &Link, size: usize, until: Instant) -> Result<(u64, Instant), Failure> {
    let payload = Bytes::from(vec![0x5a; size]);
    let sender = link.sender(CHANNEL)?;
    let mut messages = VecDeque::new();
    let mut sent = 0;
    while sent == 0 || Instant::now() < until {
        messages.resize(batch(size), payload.clone());
        sent += messages.len() as u64;
        // The report at the end tells whether all were handled.
        drop(sender.send_batch(&mut messages)?);
    }
    let report = link.close(CloseMode::Drain);
    let end = Instant::now();
    check_counts(sent, report.verdicts()[VerdictKind::Handled])?;
    Ok((sent, end))
}

fn receive_batches(link: &Link, size: usize) -> Result<u64, Failure> {
    let mut receiver = link.receiver(CHANNEL)?;
    let mut messages = Vec::new();
    let mut received = 0;
    while receiver.recv_batch(&mut messages, 1024)? > 0 {
        for message in messages.drain(..) {
            check_length(size, message.len())?;
            received += 1;
        }
    }
    Ok(received)
}

fn send_each(link: &Link, size: usize, until: Instant) -> Result<Vec<Duration>, Failure> {
    let payload = Bytes::from(vec![0x5a; size]);
    let sender = link.sender(CHANNEL)?;
    let mut times = Vec::new();
    let mut before = Instant::now();
    while times.is_empty() || before < until {
        let verdict = sender.send(payload.clone())?.wait();
        if !verdict.is_handled() {
            return Err(format!("a message was {verdict}").into());
        }
        let after = Instant::now();
        times.push(after - before);
        before = after;
    }
    link.close(CloseMode::Drain);
    Ok(times)
}

fn receive_each(link: &Link, size: usize) -> Result<u64, Failure> {
    let mut receiver = link.receiver(CHANNEL)?;
    let mut handled = 0;
    while let Some(message) = receiver.recv()? {
        check_length(size, message.len())?;
        handled += 1;
    }
    Ok(handled)
}
