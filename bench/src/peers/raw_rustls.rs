//! A rustls stream over a blocking socket: no messages and no acks, only bytes.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use super::blocking::{Client, connect};
use super::raw_tcp::{read_to_end, whole_messages, write_until};
use super::{Contender, Failure, Measurement};
use crate::tls::Configs;

pub(super) const NAME: &str = "raw-rustls";

pub(super) struct RawRustls(pub(super) Configs);

impl Contender for RawRustls {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        let (mut sender, mut receiver) = connect(&self.0)?;
        let start = Instant::now();
        let receiving = thread::spawn(move || read_to_end(&mut receiver));
        let sent = write_until(&mut sender, size, start + duration)?;
        close(&mut sender)?;
        let (bytes, end) = receiving
            .join()
            .map_err(|_| "the receiving thread panicked")??;
        Measurement::throughput(sent, whole_messages(bytes, size)?, start, end)
    }
}

fn close(sender: &mut Client) -> Result<(), Failure> {
    sender.conn.send_close_notify();
    sender.flush()?;
    sender.sock.shutdown(Shutdown::Write)?;
    Ok(())
}
