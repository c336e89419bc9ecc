//! A blocking TCP socket: bytes without encryption, and nobody knows who the peer is. What the
//! network alone costs.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use super::blocking::loopback;
use super::{Contender, Failure, Measurement, batch};

/// What the receiver reads into at once.
const READ_BUFFER: usize = 256 * 1024;

pub(super) struct RawTcp;

impl Contender for RawTcp {
    fn name(&self) -> &'static str {
        "raw-tcp"
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        let (mut sender, mut receiver) = loopback()?;
        let start = Instant::now();
        let receiving = thread::spawn(move || read_to_end(&mut receiver));
        let sent = write_until(&mut sender, size, start + duration)?;
        sender.shutdown(Shutdown::Write)?;
        let (bytes, end) = receiving
            .join()
            .map_err(|_| "the receiving thread panicked")??;
        Measurement::throughput(sent, whole_messages(bytes, size)?, start, end)
    }
}

/// Writes messages, at least one, each with a call to `write_all`, and counts them.
pub(super) fn write_until(
    sender: &mut impl Write,
    size: usize,
    until: Instant,
) -> Result<u64, Failure> {
    let payload = vec![0x5a; size];
    let mut sent = 0;
    while sent == 0 || Instant::now() < until {
        for _ in 0..batch(size) {
            sender.write_all(&payload)?;
            sent += 1;
        }
    }
    Ok(sent)
}

/// How many bytes came, and when the last one had.
pub(super) fn read_to_end(receiver: &mut impl Read) -> Result<(u64, Instant), Failure> {
    let mut buffer = vec![0; READ_BUFFER];
    let mut bytes = 0;
    loop {
        match receiver.read(&mut buffer) {
            Ok(0) => return Ok((bytes, Instant::now())),
            Ok(count) => bytes += count as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// # Errors
/// The last message is not whole.
pub(super) fn whole_messages(bytes: u64, size: usize) -> Result<u64, Failure> {
    let size = size as u64;
    if bytes.is_multiple_of(size) {
        Ok(bytes / size)
    } else {
        Err(format!("{bytes} bytes arrived, not a multiple of {size}").into())
    }
}
