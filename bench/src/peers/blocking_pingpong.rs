//! What one would write by hand first: a rustls stream over a blocking socket, one message at a time
//! with its length before it, and an ack of eight bytes.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::blocking::{Client, Server, connect};
use super::{Contender, Failure, Measurement, check_counts, check_length};
use crate::tls::Configs;

pub(super) struct BlockingPingPong(pub(super) Configs);

impl Contender for BlockingPingPong {
    fn name(&self) -> &'static str {
        "blocking-pingpong"
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        let (sender, receiver) = connect(&self.0)?;
        let receiving = thread::spawn(move || receive(receiver, size));
        let times = send(sender, size, Instant::now() + duration)?;
        let received = receiving.join().map_err(|_| "the receiver panicked")??;
        check_counts(times.len() as u64, received)?;
        Measurement::round_trips(times)
    }
}

fn send(mut stream: Client, size: usize, until: Instant) -> Result<Vec<Duration>, Failure> {
    // The length and the message in one write, and so in one record where it fits.
    let mut frame = u32::try_from(size)?.to_be_bytes().to_vec();
    frame.resize(frame.len() + size, 0x5a);
    let mut times = Vec::new();
    let mut before = Instant::now();
    while times.is_empty() || before < until {
        stream.write_all(&frame)?;
        stream.flush()?;
        let mut ack = [0; 8];
        stream.read_exact(&mut ack)?;
        let after = Instant::now();
        times.push(after - before);
        check_counts(times.len() as u64, u64::from_be_bytes(ack))?;
        before = after;
    }
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(times)
}

fn receive(mut stream: Server, size: usize) -> Result<u64, Failure> {
    let mut message = vec![0; size];
    let mut handled = 0u64;
    loop {
        let mut length = [0; 4];
        match stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(handled),
            Err(error) => return Err(error.into()),
        }
        check_length(size, u32::from_be_bytes(length) as usize)?;
        stream.read_exact(&mut message)?;
        handled += 1;
        stream.write_all(&handled.to_be_bytes())?;
        stream.flush()?;
    }
}
