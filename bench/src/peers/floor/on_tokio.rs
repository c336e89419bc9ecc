//! The floor's loops on tokio: those on blocking sockets, with `await`.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::{Failure, batch};
use super::receiver::Receiver;
use super::record::Engine;
use super::sender::Sender;

pub(super) async fn send<E: Engine>(
    mut sender: Sender<E>,
    mut socket: TcpStream,
    size: usize,
    until: Instant,
) -> Result<(u64, Instant), Failure> {
    let payload = Bytes::from(vec![0x5a; size]);
    while sender.sent == 0 || Instant::now() < until {
        for _ in 0..batch(size) {
            while !sender.has_room() {
                let count = socket.read(sender.space()).await?;
                sender.hear(count)?;
            }
            sender.put(payload.clone())?;
            while sender.is_full() {
                socket.write_all(sender.seal()?).await?;
            }
        }
        if !sender.is_empty() {
            socket.write_all(sender.seal()?).await?;
        }
        match socket.try_read(sender.space()) {
            Ok(count) => sender.hear(count)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    while !sender.is_acked() {
        let count = socket.read(sender.space()).await?;
        sender.hear(count)?;
    }
    let end = Instant::now();
    socket.shutdown().await?;
    Ok((sender.sent, end))
}

pub(super) async fn send_each<E: Engine>(
    mut sender: Sender<E>,
    mut socket: TcpStream,
    size: usize,
    until: Instant,
) -> Result<Vec<Duration>, Failure> {
    let payload = Bytes::from(vec![0x5a; size]);
    let mut times = Vec::new();
    let mut before = Instant::now();
    while times.is_empty() || before < until {
        sender.put(payload.clone())?;
        while !sender.is_empty() {
            socket.write_all(sender.seal()?).await?;
        }
        while !sender.is_acked() {
            let count = socket.read(sender.space()).await?;
            sender.hear(count)?;
        }
        let after = Instant::now();
        times.push(after - before);
        before = after;
    }
    socket.shutdown().await?;
    Ok(times)
}

pub(super) async fn receive<E: Engine>(
    mut receiver: Receiver<E>,
    mut socket: TcpStream,
    size: usize,
) -> Result<u64, Failure> {
    loop {
        let count = socket.read(receiver.space()).await?;
        if count == 0 {
            return Ok(receiver.handled());
        }
        receiver.hear(count)?;
        receiver.handle(size)?;
        if let Some(ack) = receiver.ack()? {
            socket.write_all(ack).await?;
        }
    }
}
