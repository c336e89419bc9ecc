//! Receivers as streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_core::Bytes;
use futures_core::{FusedStream, Stream};

use crate::error::RecvError;
use crate::receiver::{Delivery, ManualReceiver, Receiver};

/// The messages, and between those of two sessions the border as an error; then the error of a link
/// that did not end in order, or whose peer does not say that all is well, once, then `None`.
///
/// Cancel-safe: a message is taken only when it is given. What is taken by
/// [`Receiver::recv`] does not come here, and the other way round.
impl Stream for Receiver {
    type Item = Result<Bytes, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.0.poll_next(context);
        next.map(|next| next.map(|taken| taken.map(|message| message.payload)))
    }
}

impl FusedStream for Receiver {
    fn is_terminated(&self) -> bool {
        self.0.is_over()
    }
}

/// The messages, and between those of two sessions the border as an error; then the error of a link
/// that did not end in order, or whose peer does not say that all is well, once, then `None`.
///
/// Cancel-safe: a message is taken only when it is given. What is taken by
/// [`ManualReceiver::recv`] does not come here, and the other way round.
impl Stream for ManualReceiver {
    type Item = Result<Delivery, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.0.poll_next(context);
        next.map(|next| next.map(|taken| taken.map(|message| self.deliver(message))))
    }
}

impl FusedStream for ManualReceiver {
    fn is_terminated(&self) -> bool {
        self.0.is_over()
    }
}
