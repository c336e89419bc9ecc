//! Messages as calls: what was sent, and what the peer replied.

use std::fmt;

use countersign_core::{Bytes, NotHandled};

use crate::error::SendError;
use crate::sender::{Outgoing, Sender};

/// Why a request has no reply.
#[derive(Clone)]
#[non_exhaustive]
pub enum RequestError {
    /// The message was not sent.
    NotSent(SendError),
    /// The message was sent, and its verdict is another than `Handled`.
    NotHandled(NotHandled),
}

countersign_core::debug_as_display!(RequestError);

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => error.fmt(f),
            Self::NotHandled(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotSent(error) => error.source(),
            Self::NotHandled(error) => error.source(),
        }
    }
}

impl From<SendError> for RequestError {
    fn from(error: SendError) -> Self {
        Self::NotSent(error)
    }
}

impl From<NotHandled> for RequestError {
    fn from(error: NotHandled) -> Self {
        Self::NotHandled(error)
    }
}

impl Sender {
    /// Sends a message and waits for its verdict: for those who think in calls. Returns the peer's
    /// reply ([`Delivery::handled_with`](crate::Delivery::handled_with)), or `None` if it has
    /// handled the message without one.
    ///
    /// A message that is good for a limited time ([`Outgoing::expires_in`]) is not handled after
    /// that, and its request fails with the verdict `Expired`. That is known once the peer has said
    /// so, which takes a connection: a caller that does not wait for one puts its own time limit
    /// around this future.
    ///
    /// Not cancel-safe for the answer: a future that is dropped may have sent the message. To keep
    /// the receipt, [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// [`RequestError::NotSent`] as for [`send`](Self::send); [`RequestError::NotHandled`] with the
    /// verdict.
    ///
    /// ```
    /// # use countersign_driver::{Outgoing, RequestError, Sender};
    /// # use std::time::Duration;
    /// # async fn example(commands: &Sender) -> Result<(), RequestError> {
    /// let question = Outgoing::from("where are you?").expires_in(Duration::from_secs(1));
    /// if let Some(reply) = commands.request(question).await? {
    ///     println!("{} bytes", reply.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn request(
        &self,
        message: impl Into<Outgoing>,
    ) -> Result<Option<Bytes>, RequestError> {
        let receipt = self.send(message).await?;
        Ok(receipt.await.into_reply()?)
    }
}
