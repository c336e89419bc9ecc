//! The receiving direction of a secure stream.

use std::io;
use std::task::{Context, Poll, ready};

use countersign_endpoint::{Buffer, Connection, Peer, Received, Security, SecurityError, Watch};

use super::ConnectionAccess;
use super::setup::io_error;
use crate::transport::Transport;

/// The receiving direction: data that has arrived and was not read yet.
///
/// The transport is not read while there is data, so memory holds at most the result of one read:
/// 65 KiB of ciphertext and 65 KiB of plaintext. Both buffers are released as soon as they are
/// empty.
#[derive(Debug)]
pub struct Reading {
    /// Ciphertext; between calls part of a record at most, or nothing.
    input: Buffer,
    /// Plaintext, for the application.
    plain: Buffer,
    /// `input` holds bytes that were read before the stream was secured, not processed yet.
    preloaded: bool,
    peer: Option<Peer>,
    /// The peer has ended its direction in order.
    ended: bool,
    /// The transport has reached its end.
    exhausted: bool,
    failure: Option<SecurityError>,
    /// Notifies when identity and trust are replaced.
    watch: Watch,
}

impl Reading {
    /// Makes the receiving direction of a stream with this security.
    pub(super) fn new(security: &Security) -> Self {
        Self {
            input: Buffer::default(),
            plain: Buffer::default(),
            preloaded: false,
            peer: None,
            ended: false,
            exhausted: false,
            failure: None,
            watch: security.watch(),
        }
    }

    /// Adds bytes that the caller has read from the transport already.
    pub(super) fn preload(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.input.space(bytes.len())[..bytes.len()].copy_from_slice(bytes);
            self.input.commit(bytes.len());
            self.preloaded = true;
        }
    }

    pub(super) fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Receives once, and decrypts. Data goes to `take`, which returns how many bytes it has taken;
    /// the rest goes to `plain`.
    pub(super) fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
        access: &mut impl ConnectionAccess,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<()>> {
        if self.watch.poll_changed(context).is_ready()
            && let Err(error) = access.with(Connection::recheck)
        {
            return Poll::Ready(Err(self.fail(error)));
        }
        if !self.preloaded {
            let received = ready!(self.poll_fetch(context, transport))?;
            if received == 0 {
                return Poll::Ready(self.end(access));
            }
            // A blocking transport may have waited for long.
            if let Err(error) = access.with(Connection::recheck) {
                return Poll::Ready(Err(self.fail(error)));
            }
        }
        self.preloaded = false;
        Poll::Ready(self.decrypt(access, take))
    }

    /// Reads from the transport, as the only place that does. Returns how many bytes were read;
    /// zero at its end.
    fn poll_fetch(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
    ) -> Poll<io::Result<usize>> {
        let fetched = transport.poll_read(context, &mut self.input);
        match fetched {
            Poll::Ready(Ok(count)) => self.exhausted |= count == 0,
            // An idle stream holds no memory.
            Poll::Pending | Poll::Ready(Err(_)) => self.input.release(),
        }
        fetched
    }

    /// Handles the end of the transport, in order or not.
    fn end(&mut self, access: &mut impl ConnectionAccess) -> io::Result<()> {
        self.discard_input();
        match access.with(Connection::read_eof) {
            Ok(()) => {
                self.ended = true;
                Ok(())
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    fn decrypt(
        &mut self,
        access: &mut impl ConnectionAccess,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> io::Result<()> {
        let (input, plain) = (&mut self.input, &mut self.plain);
        let (ended, peer) = (&mut self.ended, &mut self.peer);
        let mut deliver = |incoming: Received<'_>| match incoming {
            Received::Secured {
                peer: presented, ..
            } => *peer = presented,
            Received::End => *ended = true,
            Received::Data(data) => {
                let taken = if plain.is_empty() { take(data) } else { 0 };
                let rest = &data[taken..];
                if !rest.is_empty() {
                    plain.space(rest.len())[..rest.len()].copy_from_slice(rest);
                    plain.commit(rest.len());
                }
            }
        };
        let result = access.with(|connection| connection.read(input.filled_mut(), &mut deliver));
        match result {
            Ok(consumed) => {
                self.input.consume(consumed);
                // An application that only writes from now on does not call this again.
                self.input.release();
                if self.ended {
                    self.discard_input();
                }
                Ok(())
            }
            // Data delivered before is still read before the error is reported.
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&mut self, error: SecurityError) -> io::Error {
        self.discard_input();
        self.failure = Some(error.clone());
        io_error(error)
    }

    fn discard_input(&mut self) {
        let length = self.input.filled().len();
        self.input.consume(length);
        self.input.release();
    }

    /// Passes data to `take`, which returns how many bytes it has taken: at least one. At the end,
    /// returns `Ready` without having called `take`.
    ///
    /// # Errors
    ///
    /// As for [`SecureStream::poll_read`](super::SecureStream::poll_read).
    pub fn poll_read_with(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
        access: &mut impl ConnectionAccess,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.plain.is_empty() {
                let taken = take(self.plain.filled());
                self.consume(taken);
                return Poll::Ready(Ok(()));
            }
            if let Some(outcome) = self.outcome() {
                return Poll::Ready(outcome);
            }
            let mut taken = 0;
            let mut counting = |data: &[u8]| {
                let more = take(data);
                taken += more;
                more
            };
            let received = ready!(self.poll_receive(context, transport, access, &mut counting));
            if taken > 0 {
                // An error of the security layer is reported by the next call.
                return Poll::Ready(Ok(()));
            }
            if received.is_err() && self.plain.is_empty() {
                return Poll::Ready(received);
            }
        }
    }

    /// Waits for data or the end, without taking anything: [`Reading::data`] is empty at the end.
    ///
    /// # Errors
    ///
    /// As for [`SecureStream::poll_read`](super::SecureStream::poll_read).
    pub fn poll_data(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
        access: &mut impl ConnectionAccess,
    ) -> Poll<io::Result<()>> {
        while self.plain.is_empty() {
            if let Some(outcome) = self.outcome() {
                return Poll::Ready(outcome);
            }
            let received = ready!(self.poll_receive(context, transport, access, &mut |_| 0));
            if received.is_err() && self.plain.is_empty() {
                return Poll::Ready(received);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Returns the end or the failure of the stream, once there is no more data.
    fn outcome(&self) -> Option<io::Result<()>> {
        match &self.failure {
            Some(failure) => Some(Err(io_error(failure.clone()))),
            None => self.ended.then_some(Ok(())),
        }
    }

    /// Returns the data that [`Reading::poll_data`] has waited for; empty at the end.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.plain.filled()
    }

    /// Discards the first `count` bytes of [`Reading::data`].
    pub fn consume(&mut self, count: usize) {
        self.plain.consume(count);
        self.plain.release();
    }

    /// Discards data until the peer has ended its direction, or, after a failure, until the
    /// transport has ended. Yields after each read.
    pub(super) fn poll_discard(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
        access: &mut impl ConnectionAccess,
    ) -> Poll<io::Result<()>> {
        let length = self.plain.filled().len();
        self.consume(length);
        if self.ended || (self.failure.is_some() && self.exhausted) {
            return Poll::Ready(self.outcome().unwrap_or(Ok(())));
        }
        if self.failure.is_some() {
            // The data is of no interest, but closing a transport with unread bytes resets it, and
            // a reset overtakes the alert that tells the peer why.
            let fetched = ready!(self.poll_fetch(context, transport));
            self.discard_input();
            self.exhausted |= fetched.is_err();
        } else {
            let received = self.poll_receive(context, transport, access, &mut <[u8]>::len);
            if let Err(error) = ready!(received)
                && self.failure.is_none()
            {
                return Poll::Ready(Err(error));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
