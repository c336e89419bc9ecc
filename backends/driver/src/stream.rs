//! Receivers as streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_core::Bytes;
use futures_core::{FusedStream, Stream};

use crate::error::RecvError;
use crate::receiver::{Delivery, ManualReceiver, Receiver};

/// Yields the messages, and between those of two sessions the border as an error; at the end, once,
/// the error of a link that did not end in order, or whose peer's close reason is not 'all is
/// well'.
///
/// Cancel-safe: a message is taken only when the stream yields it. A message taken by
/// [`Receiver::recv`] is not yielded here, and the other way round.
impl Stream for Receiver {
    type Item = Result<Bytes, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.0.poll_next(context);
        next.map(|next| next.map(|taken| taken.map(|message| message.payload)))
    }
}

impl FusedStream for Receiver {
    fn is_terminated(&self) -> bool {
        self.0.is_finished()
    }
}

/// Yields the messages, and between those of two sessions the border as an error; at the end, once,
/// the error of a link that did not end in order, or whose peer's close reason is not 'all is
/// well'.
///
/// Cancel-safe: a message is taken only when the stream yields it. A message taken by
/// [`ManualReceiver::recv`] is not yielded here, and the other way round.
impl Stream for ManualReceiver {
    type Item = Result<Delivery, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.0.poll_next(context);
        next.map(|next| next.map(|taken| taken.map(|message| self.deliver(message))))
    }
}

impl FusedStream for ManualReceiver {
    fn is_terminated(&self) -> bool {
        self.0.is_finished()
    }
}
