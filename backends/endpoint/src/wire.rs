//! One transport connection of a link, and the bytes on their way between the two.

use countersign_core::{Instant, Life};

use crate::buffer::Buffer;
use crate::endpoint::{Endpoint, LinkAccess, Written};
use crate::error::SecurityError;
use crate::peer::Peer;
use crate::security::Security;

/// What is to be done with the sending direction of a transport.
#[derive(Debug)]
pub enum ToSend<'a> {
    /// What is in this buffer is to be sent, one byte at least. Whoever has sent some of it removes
    /// that from its front, and says so to [`Wire::sent`]. Until then the next answer is this
    /// buffer again, untouched, so a transport that needs the memory may hold its content meanwhile
    /// and leave it empty.
    Bytes(&'a mut Buffer),
    /// There is nothing to send until something happens.
    Nothing,
    /// This end's direction is to be ended; [`Wire::shut`] takes note that it was.
    End,
}

/// An [`Endpoint`] with the bytes that are on their way, for whoever owns a transport: in a loop of
/// its own, or for a runtime. Still without I/O.
///
/// The owner of the transport
/// - while [`is_read_ended`](Self::is_read_ended) does not say otherwise, appends what there is to
///   [`input`](Self::input) and says how much came to [`received`](Self::received), or that
///   reading [`failed`](Self::failed);
/// - does what [`to_send`](Self::to_send) says, until that is nothing or the transport takes no
///   more, after whatever may have given the link something to say;
/// - calls [`Link::handle_timeout`](countersign_core::Link::handle_timeout) at
///   [`Link::poll_deadline`](countersign_core::Link::poll_deadline);
/// - calls [`recheck`](Self::recheck) when [`Security::watch`] tells that identity and trust were
///   replaced;
/// - drops the transport, and this, when [`is_over`](Self::is_over) says so, which it asks after
///   all of these and at the [`deadline`](Self::deadline);
/// - [releases](Self::release) memory before it waits.
///
/// # Bounds
/// Input that waits to be complete is shorter than [`MAX_RECORD`](crate::MAX_RECORD); output that
/// waits to be sent is at most about 64 KiB. What waits beyond that waits in the link, within the
/// bounds that its declaration names.
#[derive(Debug)]
pub struct Wire {
    endpoint: Endpoint,
    input: Buffer,
    output: Buffer,
    /// The output was handed out, and none of it is known to be sent: the transport may hold it.
    sending: bool,
    /// Our direction of the transport is to be ended.
    ending: bool,
    /// Our direction of the transport has ended, or can't be used any more.
    shut: bool,
    /// When to stop waiting for a peer that does not end its direction.
    linger: Option<Instant>,
}

impl Wire {
    /// Begins on a transport connection that has just been opened, or accepted: as
    /// [`Endpoint::new`].
    pub fn new(security: &Security, now: Instant, link: &mut impl LinkAccess) -> Self {
        Self {
            endpoint: Endpoint::new(security, now, link),
            input: Buffer::default(),
            output: Buffer::default(),
            sending: false,
            ending: false,
            shut: false,
            linger: None,
        }
    }

    /// Somebody else than the peer is no reason to give up: as [`Endpoint::expect_others`].
    pub fn expect_others(&mut self) {
        self.endpoint.expect_others();
    }

    /// Goes on for the link that has taken this connection over: as [`Endpoint::attach`].
    pub fn attach(&mut self, connection: u64) {
        self.endpoint.attach(connection);
    }

    /// Whether the link has gone on to another connection: as [`Endpoint::is_fenced`].
    pub fn is_fenced(&self, link: &mut impl LinkAccess) -> bool {
        self.endpoint.is_fenced(link)
    }

    /// Judges the peer again if identity and trust were replaced: as [`Endpoint::recheck`].
    pub fn recheck(&mut self, now: Instant, link: &mut impl LinkAccess) {
        self.endpoint.recheck(now, link);
    }

    /// Who the peer has proved to be: as [`Endpoint::peer`].
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.endpoint.peer()
    }

    /// Why the connection could not be secured or is no longer, if that is so.
    #[must_use]
    pub fn failure(&self) -> Option<&SecurityError> {
        self.endpoint.failure()
    }

    /// The cipher suite in use, for people to read.
    #[must_use]
    pub fn cipher(&self) -> Option<&'static str> {
        self.endpoint.cipher()
    }

    // Receiving.

    /// Whether nothing that still arrives would be looked at: there is no need to read.
    #[must_use]
    pub fn is_read_ended(&self) -> bool {
        self.endpoint.is_read_ended()
    }

    /// Where what arrives is to be appended. It holds less than [`MAX_RECORD`](crate::MAX_RECORD)
    /// bytes; 16 KiB more at a time is a good measure.
    pub fn input(&mut self) -> &mut Buffer {
        &mut self.input
    }

    /// So many bytes were appended to [`input`](Self::input); none mean that the peer has ended
    /// its direction.
    pub fn received(&mut self, now: Instant, count: usize, link: &mut impl LinkAccess) {
        if count == 0 {
            self.endpoint.read_eof(now, link);
            return;
        }
        let consumed = self.endpoint.read(now, self.input.filled_mut(), link);
        self.input.consume(consumed);
    }

    /// Reading has failed: the transport is of no more use.
    pub fn failed(&mut self, now: Instant, link: &mut impl LinkAccess) {
        self.shut = true;
        self.endpoint.failed(now, link);
    }

    // Sending.

    /// What to send, if anything: bytes that were not sent before, or else what the link has to say
    /// now. Asks the link for nothing while there are such bytes.
    pub fn to_send(&mut self, now: Instant, link: &mut impl LinkAccess) -> ToSend<'_> {
        if self.shut {
            return ToSend::Nothing;
        }
        while !self.sending && self.output.is_empty() {
            let mut scratch = Buffer::default();
            let written = self
                .endpoint
                .write(now, &mut self.output, &mut scratch, link);
            scratch.release();
            match written {
                // Output may stay empty here: what there is to say can come with the next call
                // only, an alert that ends the connection, say. An empty write would look like a
                // dead transport.
                Written::Some => {}
                Written::Nothing => return ToSend::Nothing,
                Written::End => {
                    self.ending = true;
                    return ToSend::End;
                }
            }
        }
        self.sending = true;
        ToSend::Bytes(&mut self.output)
    }

    /// Some of what was to be sent was sent, and removed from the buffer.
    pub fn sent(&mut self) {
        self.sending = false;
    }

    /// This end's direction was ended, or can't be.
    pub fn shut(&mut self) {
        self.shut = true;
    }

    /// Sending has failed: nothing more goes out. What the peer still had to say, an alert perhaps,
    /// may wait to be read and tell more than the error, so reading goes on to its end.
    pub fn cannot_send(&mut self) {
        let length = self.output.filled().len();
        self.output.consume(length);
        self.sending = false;
        self.shut = true;
    }

    /// Whether output of the link would not go out now: the transport has to take other bytes
    /// first, or none any more.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.sending || self.ending || self.shut
    }

    // The end.

    /// When to ask [`is_over`](Self::is_over) again if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.linger
    }

    /// Whether the link has no more use for this connection: it waits for the next one, or has
    /// one, or has ended.
    ///
    /// A link that has ended still leaves the peer
    /// [`Patience::linger`](countersign_core::Patience::linger) to end the connection too: closing
    /// with unread input would make the operating system reset it, and the peer might never read
    /// our last words.
    pub fn is_over(&mut self, now: Instant, link: &mut impl LinkAccess) -> bool {
        if self.endpoint.is_fenced(link) {
            return true;
        }
        match link.with(|link| (link.life(), link.config().waits().linger)) {
            (Life::Offline | Life::Connecting, _) => true,
            (Life::Ended, linger) => {
                let sent = !self.sending && self.output.is_empty();
                let said = self.shut || (sent && self.endpoint.is_over());
                let until = *self.linger.get_or_insert(now + linger);
                (said && self.endpoint.is_read_ended()) || now >= until
            }
            _ => false,
        }
    }

    /// Lets go of memory that is not needed while nothing moves.
    pub fn release(&mut self) {
        self.input.release();
        self.output.release();
    }
}
