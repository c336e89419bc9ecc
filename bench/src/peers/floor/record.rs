//! TLS records through rustls's unbuffered API, for the floor.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use bytes::BytesMut;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};

use super::super::Failure;
use super::super::blocking::loopback;
use crate::tls::Configs;

/// The most plaintext in a record.
const RECORD: usize = 16 * 1024;

/// What a record of TLS 1.3 adds: its head, the type inside, and the tag.
const OVERHEAD: usize = 5 + 1 + 16;

/// Room for what a peer says during the handshake at once.
const HANDSHAKE: usize = 32 * 1024;

/// Either end of an unbuffered connection.
pub(super) trait Engine: Send + 'static {
    type Data;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Engine for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
}

impl Engine for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
}

/// A connection after its handshake.
pub(super) struct Records<E>(E);

/// An end of a connection, with its socket.
pub(super) type Client = (Records<UnbufferedClientConnection>, TcpStream);
pub(super) type Server = (Records<UnbufferedServerConnection>, TcpStream);

impl<E: Engine> Records<E> {
    /// Writes records with all of `plain` to the beginning of `out`, which grows if it has to, and
    /// tells their length.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<usize, Failure> {
        let most = plain.len() + plain.len().div_ceil(RECORD) * OVERHEAD;
        if out.len() < most {
            out.resize(most, 0);
        }
        match self.0.process(&mut []).state? {
            ConnectionState::WriteTraffic(mut traffic) => Ok(traffic.encrypt(plain, out)?),
            state => Err(format!("can't send in {state:?}").into()),
        }
    }

    /// Appends what the whole records in `cipher` contain to `plain`, and tells how many bytes they
    /// were.
    pub(super) fn open(
        &mut self,
        cipher: &mut [u8],
        plain: &mut BytesMut,
    ) -> Result<usize, Failure> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.0.process(&mut cipher[used..]);
            let more = match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    true
                }
                ConnectionState::WriteTraffic(_) => false,
                state => return Err(format!("nothing to read in {state:?}").into()),
            };
            used += discard;
            if !more {
                return Ok(used);
            }
        }
    }
}

/// Both ends of a new connection over loopback.
pub(super) fn connect(configs: &Configs) -> Result<(Client, Server), Failure> {
    let (mut client_socket, mut server_socket) = loopback()?;
    let mut client =
        UnbufferedClientConnection::new(configs.client.clone(), Configs::server_name()?)?;
    let mut server = UnbufferedServerConnection::new(configs.server.clone())?;
    thread::scope(|scope| {
        let accepting = scope.spawn(|| handshake(&mut server, &mut server_socket));
        handshake(&mut client, &mut client_socket)?;
        accepting
            .join()
            .map_err(|_| "the accepting thread panicked")?
    })?;
    let client = (Records(client), client_socket);
    let server = (Records(server), server_socket);
    Ok((client, server))
}

/// Shakes hands over a blocking socket.
fn handshake<E: Engine>(engine: &mut E, socket: &mut TcpStream) -> Result<(), Failure> {
    let mut input = vec![0; HANDSHAKE];
    let mut filled = 0;
    let mut output = Vec::new();
    loop {
        let UnbufferedStatus { discard, state } = engine.process(&mut input[..filled]);
        let mut blocked = false;
        match state? {
            ConnectionState::EncodeTlsData(mut data) => {
                let start = output.len();
                while let Err(EncodeError::InsufficientSize(needed)) =
                    data.encode(&mut output[start..])
                {
                    output.resize(start + needed.required_size, 0);
                }
            }
            ConnectionState::TransmitTlsData(data) => {
                socket.write_all(&output)?;
                output.clear();
                data.done();
            }
            ConnectionState::BlockedHandshake => blocked = true,
            // Nobody sends messages before both ends are done, so nothing is left in `input`.
            ConnectionState::WriteTraffic(_) => return Ok(()),
            state => return Err(format!("no handshake in {state:?}").into()),
        }
        input.copy_within(discard..filled, 0);
        filled -= discard;
        if blocked {
            match socket.read(&mut input[filled..])? {
                0 => return Err("the connection ended within the handshake".into()),
                count => filled += count,
            }
        }
    }
}
