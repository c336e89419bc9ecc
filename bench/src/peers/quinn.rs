//! QUIC, by quinn: what `ldc-acked` and `ldc-pingpong` do, over one bidirectional stream.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use tokio::io::{Join, join};
use tokio::runtime::Runtime;

use super::tokio_tls::framed;
use super::{Contender, Failure, Measurement, check_counts, ldc_acked, ldc_pingpong};
use crate::tls::Configs;

/// How much of a stream may be under way, as in countersign: quinn's default is for 100 Mbit/s over
/// a long way.
const WINDOW: u32 = 16 << 20;

pub(super) struct Quinn {
    pub(super) configs: Configs,
    pub(super) runtime: Arc<Runtime>,
    pub(super) one_at_a_time: bool,
}

type Both = Join<RecvStream, SendStream>;

/// One end, and what has to stay while its stream is in use.
struct End {
    connection: Connection,
    _endpoint: Endpoint,
}

impl Contender for Quinn {
    fn name(&self) -> &'static str {
        if self.one_at_a_time {
            "quinn-pingpong"
        } else {
            "quinn"
        }
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        self.runtime.block_on(async {
            let (client, server) = self.connect().await?;
            let stream = both(client.connection.open_bi().await?);
            let start = Instant::now();
            let until = start + duration;
            let accepting = server.connection.clone();
            let receiving = tokio::spawn(receive(accepting, size, self.one_at_a_time));
            let client_messages = framed(stream, size);
            let measurement = if self.one_at_a_time {
                let sending = ldc_pingpong::send(client_messages, size, until);
                let times = tokio::spawn(sending).await??;
                check_counts(times.len() as u64, receiving.await??)?;
                Measurement::round_trips(times)
            } else {
                let sending = ldc_acked::send(client_messages, size, until);
                let (sent, end) = tokio::spawn(sending).await??;
                Measurement::throughput(sent, receiving.await??, start, end)
            };
            client.connection.close(0u8.into(), b"");
            server.connection.close(0u8.into(), b"");
            measurement
        })
    }
}

async fn receive(connection: Connection, size: usize, one_at_a_time: bool) -> Result<u64, Failure> {
    let messages = framed(both(connection.accept_bi().await?), size);
    if one_at_a_time {
        ldc_pingpong::receive(messages, size).await
    } else {
        ldc_acked::receive(messages, size).await
    }
}

fn both((send, receive): (SendStream, RecvStream)) -> Both {
    join(receive, send)
}

impl Quinn {
    async fn connect(&self) -> Result<(End, End), Failure> {
        let tls = QuicServerConfig::try_from(Arc::clone(&self.configs.server))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(transport());
        let server = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?;

        let tls = QuicClientConfig::try_from(Arc::clone(&self.configs.client))?;
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(transport());
        let mut client = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
        client.set_default_client_config(config);

        let connecting = client.connect(server.local_addr()?, Configs::NAME)?;
        let accepting = async {
            let incoming = server.accept().await.ok_or("the endpoint is closed")?;
            Ok::<_, Failure>(incoming.await?)
        };
        let connecting = async { Ok::<_, Failure>(connecting.await?) };
        let (connection, accepted) = tokio::try_join!(connecting, accepting)?;
        let end = |connection, endpoint| End {
            connection,
            _endpoint: endpoint,
        };
        Ok((end(connection, client), end(accepted, server)))
    }
}

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config.stream_receive_window(WINDOW.into());
    Arc::new(config)
}
