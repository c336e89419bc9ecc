//! The peer's direction of a secure stream.

use std::io;
use std::task::{Context, Poll, ready};

use countersign_endpoint::{Buffer, Connection, Peer, Received, Security, SecurityError, Watch};

use super::ConnectionAccess;
use super::setup::io_error;
use crate::driver::Transport;

/// The peer's direction: what has arrived and was not read yet.
///
/// Nothing is asked of the transport while there is something to read, so at most what one call of
/// the transport gave is in memory: 65 KiB as it came and 65 KiB decrypted. Both are given back as
/// soon as they are empty.
#[derive(Debug)]
pub struct Reading {
    /// As it came; between calls a part of a record at most, or nothing.
    input: Buffer,
    /// Decrypted, for the application.
    plain: Buffer,
    /// Bytes that came before the stream was secured are in `input` and not looked at yet.
    preloaded: bool,
    peer: Option<Peer>,
    /// The peer has ended its direction in order.
    ended: bool,
    /// Nothing more comes from the transport.
    exhausted: bool,
    failure: Option<SecurityError>,
    /// Tells when identity and trust are replaced.
    watch: Watch,
}

impl Reading {
    /// Of a stream that is secured by this.
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

    /// Bytes that somebody has read from the transport already.
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

    /// Receives once, and decrypts. Data goes to `take`, which says how much of it it has taken,
    /// and from there on to `plain`.
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
            // A transport that blocks may have waited for long.
            if let Err(error) = access.with(Connection::recheck) {
                return Poll::Ready(Err(self.fail(error)));
            }
        }
        self.preloaded = false;
        Poll::Ready(self.decrypt(access, take))
    }

    /// The one place that reads from the transport. How many bytes came; none at its end.
    fn poll_fetch(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
    ) -> Poll<io::Result<usize>> {
        let fetched = transport.poll_read(context, &mut self.input);
        match fetched {
            Poll::Ready(Ok(count)) => self.exhausted |= count == 0,
            // While nothing comes, nothing is held.
            Poll::Pending | Poll::Ready(Err(_)) => self.input.release(),
        }
        fetched
    }

    /// The transport has ended, in order or not.
    fn end(&mut self, access: &mut impl ConnectionAccess) -> io::Result<()> {
        self.forget_input();
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
                // Whoever only writes from now on does not come by again.
                self.input.release();
                if self.ended {
                    self.forget_input();
                }
                Ok(())
            }
            // What was delivered before is still read before the error shows.
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&mut self, error: SecurityError) -> io::Error {
        self.forget_input();
        self.failure = Some(error.clone());
        io_error(error)
    }

    fn forget_input(&mut self) {
        let length = self.input.filled().len();
        self.input.consume(length);
        self.input.release();
    }

    /// Hands what there is to `take`, which says how much of it it has taken: at least a byte.
    /// Ready without having called it at the end.
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
            if let Some(over) = self.over() {
                return Poll::Ready(over);
            }
            let mut taken = 0;
            let mut counting = |data: &[u8]| {
                let more = take(data);
                taken += more;
                more
            };
            let received = ready!(self.poll_receive(context, transport, access, &mut counting));
            if taken > 0 {
                // An error of the security layer is kept for the next call.
                return Poll::Ready(Ok(()));
            }
            if received.is_err() && self.plain.is_empty() {
                return Poll::Ready(received);
            }
        }
    }

    /// Waits for data or the end, without taking anything: [`Reading::data`] tells which.
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
            if let Some(over) = self.over() {
                return Poll::Ready(over);
            }
            let received = ready!(self.poll_receive(context, transport, access, &mut |_| 0));
            if received.is_err() && self.plain.is_empty() {
                return Poll::Ready(received);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// How nothing more comes, if that is so.
    fn over(&self) -> Option<io::Result<()>> {
        match &self.failure {
            Some(failure) => Some(Err(io_error(failure.clone()))),
            None => self.ended.then_some(Ok(())),
        }
    }

    /// What [`Reading::poll_data`] has waited for; empty at the end.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.plain.filled()
    }

    /// Forgets the first `count` bytes of [`Reading::data`].
    pub fn consume(&mut self, count: usize) {
        self.plain.consume(count);
        self.plain.release();
    }

    /// Throws away what comes until the peer has ended its direction, or after a failure the
    /// transport has. Gives others their turn after every piece.
    pub(super) fn poll_discard(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
        access: &mut impl ConnectionAccess,
    ) -> Poll<io::Result<()>> {
        let length = self.plain.filled().len();
        self.consume(length);
        if self.ended || (self.failure.is_some() && self.exhausted) {
            return Poll::Ready(self.over().unwrap_or(Ok(())));
        }
        if self.failure.is_some() {
            // No longer of interest, but a transport with unread bytes in it is reset when it is
            // closed, and a reset overtakes the alert that tells the peer why.
            let fetched = ready!(self.poll_fetch(context, transport));
            self.forget_input();
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
