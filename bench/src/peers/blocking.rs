//! What the contenders on blocking sockets share: both ends of a connection over loopback.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use rustls::{ClientConnection, ServerConnection, StreamOwned};

use super::Failure;
use crate::tls::Configs;

pub(super) type Client = StreamOwned<ClientConnection, TcpStream>;
pub(super) type Server = StreamOwned<ServerConnection, TcpStream>;

/// Both ends of a new TCP connection.
pub(super) fn loopback() -> Result<(TcpStream, TcpStream), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

/// Both ends of a new TLS connection, after its handshake.
pub(super) fn connect(configs: &Configs) -> Result<(Client, Server), Failure> {
    let (mut client_socket, mut server_socket) = loopback()?;
    let mut client = ClientConnection::new(configs.client.clone(), Configs::server_name()?)?;
    let mut server = ServerConnection::new(configs.server.clone())?;
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
