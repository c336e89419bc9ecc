//! What the contenders on tokio-rustls share: the runtime, connecting, and the codec.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::Failure;
use crate::tls::Configs;

/// How much a framed stream reads at once, and how much it collects before it writes: the least
/// and the most. Small messages gained nothing from more than the least when it was tried.
const BUFFER: RangeInclusive<usize> = 64 * 1024..=256 * 1024;

/// How long an ack is.
const ACK: usize = size_of::<u64>();

/// A runtime with two workers, and both ends' TLS.
#[derive(Clone)]
pub(super) struct TokioTls {
    pub(super) runtime: Arc<Runtime>,
    configs: Configs,
}

/// What messages go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(super) type Messages<T> = Framed<T, LengthDelimitedCodec>;
pub(super) type ClientStream = client::TlsStream<TcpStream>;
pub(super) type ServerStream = server::TlsStream<TcpStream>;
pub(super) type Client = Messages<ClientStream>;
pub(super) type Server = Messages<ServerStream>;

impl TokioTls {
    pub(super) fn new(configs: Configs) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Arc::new(runtime),
            configs,
        })
    }

    /// Both ends of a new connection over loopback, for messages of up to `size` bytes.
    pub(super) async fn connect(&self, size: usize) -> Result<(Client, Server), Failure> {
        let (client, server) = self.streams().await?;
        Ok((framed(client, size), framed(server, size)))
    }

    /// Both ends of a new connection over loopback.
    pub(super) async fn streams(&self) -> Result<(ClientStream, ServerStream), Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let client_socket = TcpStream::connect(listener.local_addr()?).await?;
        let (server_socket, _) = listener.accept().await?;
        client_socket.set_nodelay(true)?;
        server_socket.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.configs.client));
        let acceptor = TlsAcceptor::from(Arc::clone(&self.configs.server));
        Ok(tokio::try_join!(
            connector.connect(Configs::server_name()?, client_socket),
            acceptor.accept(server_socket),
        )?)
    }
}

/// A stream as messages of up to `size` bytes.
pub(super) fn framed<T: Stream>(stream: T, size: usize) -> Messages<T> {
    let codec = LengthDelimitedCodec::builder()
        .max_frame_length(size.max(ACK))
        .new_codec();
    let buffer = size.clamp(*BUFFER.start(), *BUFFER.end());
    let mut framed = Framed::with_capacity(stream, codec, buffer);
    framed.set_backpressure_boundary(buffer);
    framed
}
