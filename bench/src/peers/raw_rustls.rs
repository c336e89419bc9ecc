//! A rustls stream over a blocking socket: no messages and no acks, only bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, ServerConnection, StreamOwned};

use super::{Contender, Failure, Measurement, batch};
use crate::tls::Configs;

pub(super) const NAME: &str = "raw-rustls";

/// What the receiver reads into at once.
const READ_BUFFER: usize = 256 * 1024;

pub(super) struct RawRustls {
    configs: Configs,
}

impl RawRustls {
    pub(super) fn new(configs: Configs) -> Self {
        Self { configs }
    }

    fn connect(&self) -> Result<(Sender, Receiver), Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut client_socket = TcpStream::connect(listener.local_addr()?)?;
        let (mut server_socket, _) = listener.accept()?;
        client_socket.set_nodelay(true)?;
        server_socket.set_nodelay(true)?;
        let mut client =
            ClientConnection::new(self.configs.client.clone(), Configs::server_name()?)?;
        let mut server = ServerConnection::new(self.configs.server.clone())?;
        thread::scope(|scope| {
            let accepting = scope.spawn(|| server.complete_io(&mut server_socket));
            client.complete_io(&mut client_socket)?;
            accepting
                .join()
                .map_err(|_| "the accepting thread panicked")??;
            Ok::<_, Failure>(())
        })?;
        Ok((
            StreamOwned::new(client, client_socket),
            StreamOwned::new(server, server_socket),
        ))
    }
}

type Sender = StreamOwned<ClientConnection, TcpStream>;
type Receiver = StreamOwned<ServerConnection, TcpStream>;

impl Contender for RawRustls {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        let (mut sender, mut receiver) = self.connect()?;
        let start = Instant::now();
        let receiving = thread::spawn(move || read_to_end(&mut receiver));
        let sent = send(&mut sender, size, start + duration)?;
        let (bytes, end) = receiving
            .join()
            .map_err(|_| "the receiving thread panicked")??;
        if bytes % size as u64 != 0 {
            return Err(format!("{bytes} bytes arrived, not a multiple of {size}").into());
        }
        Measurement::throughput(sent, bytes / size as u64, start, end)
    }
}

fn send(sender: &mut Sender, size: usize, until: Instant) -> Result<u64, Failure> {
    let payload = vec![0x5a; size];
    let mut sent = 0;
    while Instant::now() < until {
        for _ in 0..batch(size) {
            sender.write_all(&payload)?;
            sent += 1;
        }
    }
    sender.conn.send_close_notify();
    sender.flush()?;
    sender.sock.shutdown(Shutdown::Write)?;
    Ok(sent)
}

fn read_to_end(receiver: &mut Receiver) -> Result<(u64, Instant), Failure> {
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
