//! countersign on compio, each end with a runtime and a thread of its own.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use compio::runtime::Runtime;
use countersign_compio::{Link, connect, listen};
use tokio::sync::oneshot;

use super::countersign::Setups;
use super::countersign_tokio::{receive_batches, receive_each, send_batches, send_each};
use super::{Contender, Failure, Measurement, check_counts};

/// Many messages under way at once.
pub(super) struct Throughput(pub(super) Setups);

/// One message at a time.
pub(super) struct PingPong(pub(super) Setups);

impl Contender for Throughput {
    fn name(&self) -> &'static str {
        "countersign-compio"
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        let receive = async move |link| receive_batches(link, size).await;
        let send = async |link| {
            let start = Instant::now();
            let (sent, end) = send_batches(link, size, start + duration).await?;
            Ok((sent, start, end))
        };
        let ((sent, start, end), received) = both(&self.0.of_size(size)?, send, receive)?;
        Measurement::throughput(sent, received, start, end)
    }
}

impl Contender for PingPong {
    fn name(&self) -> &'static str {
        "countersign-compio-pingpong"
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        let receive = async move |link| receive_each(link, size).await;
        let send = async |link| send_each(link, size, Instant::now() + duration).await;
        let (times, received) = both(&self.0.of_size(size)?, send, receive)?;
        check_counts(times.len() as u64, received)?;
        Measurement::round_trips(times)
    }
}

/// Runs the receiver in another thread until the sender is done too.
fn both<R>(
    setups: &Setups,
    send: impl AsyncFnOnce(Link) -> Result<R, Failure>,
    receive: impl AsyncFnOnce(Link) -> Result<u64, Failure> + Send + 'static,
) -> Result<(R, u64), Failure> {
    let setup = setups.receiver.clone();
    let (address, listening) = mpsc::channel();
    let (done, until_done) = oneshot::channel::<()>();
    let receiving = thread::spawn(move || {
        Runtime::new()?.block_on(async {
            let listener = listen("127.0.0.1:0", setup).await?;
            address.send(listener.local_addr())?;
            let received = receive(listener.accept().await?).await?;
            // The link's end goes out only while its runtime is run.
            let _ = until_done.await;
            Ok::<_, Failure>(received)
        })
    });
    let address = listening.recv()?;
    let sent =
        Runtime::new()?.block_on(async { send(connect(address, &setups.sender).await?).await })?;
    drop(done);
    let received = receiving.join().map_err(|_| "the receiver panicked")??;
    Ok((sent, received))
}
