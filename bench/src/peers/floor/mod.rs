//! The floor: the least that acknowledged messages take, written by hand for this one purpose over
//! rustls's unbuffered API. Messages are kept until they are acknowledged and handed out as `Bytes`;
//! but nobody connects again, nothing is sent twice, and no limit is checked.
//!
//! A message has a head of 12 bytes: its type, its length and the end of its number. An ack has the
//! same length, and tells how many messages were handled so far.

use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::{Contender, Failure, Measurement, check_counts};
use crate::tls::Configs;

mod on_std;
mod on_tokio;
mod receiver;
mod record;
mod sender;

const HEAD: usize = 12;

/// The types of frames.
const MESSAGE: u8 = 1;
const ACK: u8 = 2;

/// The floor on blocking sockets, with a thread for each end.
pub(super) struct OnStd {
    pub(super) configs: Configs,
    pub(super) one_at_a_time: bool,
}

/// The floor on tokio, with a task for each end.
pub(super) struct OnTokio {
    pub(super) configs: Configs,
    pub(super) runtime: Arc<Runtime>,
    pub(super) one_at_a_time: bool,
}

impl Contender for OnStd {
    fn name(&self) -> &'static str {
        if self.one_at_a_time {
            "floor-std-pingpong"
        } else {
            "floor-std"
        }
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        let ((client, client_socket), (server, server_socket)) = record::connect(&self.configs)?;
        let sender = sender::Sender::new(client);
        let receiver = receiver::Receiver::new(server);
        let start = Instant::now();
        let until = start + duration;
        let receiving = thread::spawn(move || on_std::receive(receiver, server_socket, size));
        let joined = || receiving.join().map_err(|_| "the receiver panicked")?;
        if self.one_at_a_time {
            let times = on_std::send_each(sender, client_socket, size, until)?;
            check_counts(times.len() as u64, joined()?)?;
            return Measurement::round_trips(times);
        }
        let (sent, end) = on_std::send(sender, client_socket, size, until)?;
        Measurement::throughput(sent, joined()?, start, end)
    }
}

impl Contender for OnTokio {
    fn name(&self) -> &'static str {
        if self.one_at_a_time {
            "floor-tokio-pingpong"
        } else {
            "floor-tokio"
        }
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        let ((client, client_socket), (server, server_socket)) = record::connect(&self.configs)?;
        let sender = sender::Sender::new(client);
        let receiver = receiver::Receiver::new(server);
        self.runtime.block_on(async {
            let client_socket = asynchronous(client_socket)?;
            let server_socket = asynchronous(server_socket)?;
            let start = Instant::now();
            let until = start + duration;
            let receiving = tokio::spawn(on_tokio::receive(receiver, server_socket, size));
            if self.one_at_a_time {
                let sending = on_tokio::send_each(sender, client_socket, size, until);
                let times = tokio::spawn(sending).await??;
                check_counts(times.len() as u64, receiving.await??)?;
                return Measurement::round_trips(times);
            }
            let sending = on_tokio::send(sender, client_socket, size, until);
            let (sent, end) = tokio::spawn(sending).await??;
            Measurement::throughput(sent, receiving.await??, start, end)
        })
    }
}

fn asynchronous(socket: TcpStream) -> Result<tokio::net::TcpStream, Failure> {
    socket.set_nonblocking(true)?;
    Ok(tokio::net::TcpStream::from_std(socket)?)
}
