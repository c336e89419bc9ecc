//! The ways to connect that are compared.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_tokio::{CloseMode, Setup};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::peers::{CHANNEL, Failure, Setups};
use crate::tls::Configs;

/// The way that others are compared with.
pub(super) const BASELINE: &str = "ldc";

const MESSAGE: usize = 64;

/// A way to connect, with somebody who listens already.
pub(super) trait Way {
    fn name(&self) -> &'static str;

    /// How long it took from before connecting until a message was known to have been handled.
    ///
    /// # Errors
    /// It was not.
    fn once(&self) -> Result<Duration, Failure>;
}

pub(super) fn all() -> Result<Vec<Box<dyn Way>>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let runtime = Arc::new(runtime);
    let setups = Setups::new()?;
    Ok(vec![
        Box::new(Ldc::listen(&runtime)?),
        Box::new(OnTokio::listen(&runtime, &setups)?),
        Box::new(OnStd::listen(&setups)?),
    ])
}

/// tokio-rustls with `LengthDelimitedCodec`; the answer is the ack.
struct Ldc {
    runtime: Arc<Runtime>,
    connector: TlsConnector,
    address: SocketAddr,
}

impl Ldc {
    fn listen(runtime: &Arc<Runtime>) -> Result<Self, Failure> {
        let configs = Configs::new()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(configs.server);
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // Whoever connects learns by its end what went wrong.
                tokio::spawn(answer(socket, acceptor.clone()));
            }
        });
        Ok(Self {
            runtime: Arc::clone(runtime),
            connector: configs.client.into(),
            address,
        })
    }

    async fn exchange(&self) -> Result<Duration, Failure> {
        let start = Instant::now();
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let stream = self
            .connector
            .connect(Configs::server_name()?, socket)
            .await?;
        let mut messages = Framed::new(stream, LengthDelimitedCodec::new());
        messages.send(Bytes::from(vec![0x5a; MESSAGE])).await?;
        let ack = messages.next().await.ok_or("no answer came")??;
        let time = start.elapsed();
        if ack[..] != (MESSAGE as u64).to_be_bytes() {
            return Err("another length came back".into());
        }
        SinkExt::<Bytes>::close(&mut messages).await?;
        Ok(time)
    }
}

async fn answer(socket: TcpStream, acceptor: TlsAcceptor) -> Result<(), Failure> {
    socket.set_nodelay(true)?;
    let stream = acceptor.accept(socket).await?;
    let mut messages = Framed::new(stream, LengthDelimitedCodec::new());
    while let Some(message) = messages.next().await {
        let length = message?.len() as u64;
        messages
            .send(Bytes::copy_from_slice(&length.to_be_bytes()))
            .await?;
    }
    Ok(())
}

impl Way for Ldc {
    fn name(&self) -> &'static str {
        BASELINE
    }

    fn once(&self) -> Result<Duration, Failure> {
        self.runtime.block_on(self.exchange())
    }
}

struct OnTokio {
    runtime: Arc<Runtime>,
    setup: Setup,
    address: SocketAddr,
}

impl OnTokio {
    fn listen(runtime: &Arc<Runtime>, setups: &Setups) -> Result<Self, Failure> {
        let receiver = setups.receiver.clone();
        let listener = runtime.block_on(countersign_tokio::listen("127.0.0.1:0", receiver))?;
        let address = listener.local_addr();
        runtime.spawn(async move {
            while let Ok(link) = listener.accept().await {
                tokio::spawn(receive(link));
            }
        });
        Ok(Self {
            runtime: Arc::clone(runtime),
            setup: setups.sender.clone(),
            address,
        })
    }

    async fn exchange(&self) -> Result<Duration, Failure> {
        let start = Instant::now();
        let link = countersign_tokio::connect(self.address, &self.setup).await?;
        let sender = link.sender(CHANNEL)?;
        let verdict = sender.send(vec![0x5a; MESSAGE]).await?.await;
        let time = start.elapsed();
        if !verdict.is_handled() {
            return Err(format!("a message was {verdict}").into());
        }
        link.close(CloseMode::Drain).await;
        Ok(time)
    }
}

async fn receive(link: countersign_tokio::Link) -> Result<(), Failure> {
    let mut receiver = link.receiver(CHANNEL)?;
    while receiver.recv().await?.is_some() {}
    Ok(())
}

impl Way for OnTokio {
    fn name(&self) -> &'static str {
        "countersign-tokio"
    }

    fn once(&self) -> Result<Duration, Failure> {
        self.runtime.block_on(self.exchange())
    }
}

struct OnStd {
    setup: Setup,
    address: SocketAddr,
}

impl OnStd {
    fn listen(setups: &Setups) -> Result<Self, Failure> {
        let listener = countersign_std::listen("127.0.0.1:0", setups.receiver.clone())?;
        let address = listener.local_addr();
        thread::spawn(move || {
            while let Ok(link) = listener.accept() {
                thread::spawn(move || receive_blocking(&link));
            }
        });
        Ok(Self {
            setup: setups.sender.clone(),
            address,
        })
    }
}

fn receive_blocking(link: &countersign_std::Link) -> Result<(), Failure> {
    let mut receiver = link.receiver(CHANNEL)?;
    while receiver.recv()?.is_some() {}
    Ok(())
}

impl Way for OnStd {
    fn name(&self) -> &'static str {
        "countersign-std"
    }

    fn once(&self) -> Result<Duration, Failure> {
        let start = Instant::now();
        let link = countersign_std::connect(self.address, &self.setup)?;
        let verdict = link.sender(CHANNEL)?.send(vec![0x5a; MESSAGE])?.wait();
        let time = start.elapsed();
        if !verdict.is_handled() {
            return Err(format!("a message was {verdict}").into());
        }
        link.close(CloseMode::Drain);
        Ok(time)
    }
}
