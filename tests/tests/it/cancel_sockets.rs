//! Futures dropped at every moment, over the sockets of every backend whose methods are futures.

use countersign_tests::cancelling;
use countersign_tests::on_async_std::AsyncStd;
use countersign_tests::on_compio::CompioFutures;
use countersign_tests::on_futures_io::Tasks;
use countersign_tests::on_smol::Smol;
use countersign_tests::on_tokio::TokioFutures;

cancelling!(tokio, TokioFutures::Threads);
cancelling!(tokio_in_one_thread, TokioFutures::OneThread);
cancelling!(smol, Smol);
cancelling!(async_std, AsyncStd);
cancelling!(futures_io, Tasks::in_threads());
cancelling!(futures_io_in_one_thread, Tasks::in_one_thread());
cancelling!(compio, CompioFutures::Best);
#[cfg(unix)]
cancelling!(compio_polling, CompioFutures::Polling);
