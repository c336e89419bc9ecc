//! The floor's loops on blocking sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::{Failure, batch};
use super::receiver::Receiver;
use super::record::Engine;
use super::sender::Sender;

pub(super) fn send<E: Engine>(
    mut sender: Sender<E>,
    mut socket: TcpStream,
    size: usize,
    until: Instant,
) -> Result<(u64, Instant), Failure> {
    let payload = Bytes::from(vec![0x5a; size]);
    while sender.sent == 0 || Instant::now() < until {
        for _ in 0..batch(size) {
            while !sender.has_room() {
                let count = socket.read(sender.space())?;
                sender.hear(count)?;
            }
            sender.put(payload.clone())?;
            while sender.is_full() {
                socket.write_all(sender.seal()?)?;
            }
        }
        if !sender.is_empty() {
            socket.write_all(sender.seal()?)?;
        }
        hear_what_is_there(&mut sender, &mut socket)?;
    }
    while !sender.is_acked() {
        let count = socket.read(sender.space())?;
        sender.hear(count)?;
    }
    let end = Instant::now();
    socket.shutdown(Shutdown::Write)?;
    Ok((sender.sent, end))
}

fn hear_what_is_there<E: Engine>(
    sender: &mut Sender<E>,
    socket: &mut TcpStream,
) -> Result<(), Failure> {
    socket.set_nonblocking(true)?;
    let read = socket.read(sender.space());
    socket.set_nonblocking(false)?;
    match read {
        Ok(count) => sender.hear(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn send_each<E: Engine>(
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
            socket.write_all(sender.seal()?)?;
        }
        while !sender.is_acked() {
            let count = socket.read(sender.space())?;
            sender.hear(count)?;
        }
        let after = Instant::now();
        times.push(after - before);
        before = after;
    }
    socket.shutdown(Shutdown::Write)?;
    Ok(times)
}

pub(super) fn receive<E: Engine>(
    mut receiver: Receiver<E>,
    mut socket: TcpStream,
    size: usize,
) -> Result<u64, Failure> {
    loop {
        let count = socket.read(receiver.space())?;
        if count == 0 {
            return Ok(receiver.handled());
        }
        receiver.hear(count)?;
        receiver.handle(size)?;
        if let Some(ack) = receiver.ack()? {
            socket.write_all(ack)?;
        }
    }
}
