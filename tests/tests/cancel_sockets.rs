//! Futures dropped at every moment, over the sockets of every backend whose methods are futures.

use countersign_tests::cancelling;
use countersign_tests::on_compio::CompioFutures;
use countersign_tests::on_tokio::TokioFutures;

cancelling!(tokio, TokioFutures::Threads);
cancelling!(tokio_in_one_thread, TokioFutures::OneThread);
cancelling!(compio, CompioFutures::Best);
#[cfg(unix)]
cancelling!(compio_polling, CompioFutures::Polling);
