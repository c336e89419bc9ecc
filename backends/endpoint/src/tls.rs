//! rustls's unbuffered API behind the methods of [`Connection`](crate::Connection).
//!
//! The requirements of that API explain the structure of this file:
//! - Output is encoded in the middle of reading, so it is kept in `pending` until it is requested.
//! - After an error, further calls return the alert, as long as `wants_write` returns true. Without
//!   that check the call would go on to parse input that no longer exists.
//! - It remembers positions in the input while a handshake message spans records. Any call with
//!   input that differs from that of the last call makes it panic; `held` is the input of the last
//!   call.

use std::mem;
use std::ops::DerefMut;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::PeerId;
use rustls::Error;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, UnbufferedConnectionCommon, UnbufferedStatus,
};

use crate::certificate::Facts;

use crate::error::{PlainProtocol, Reason, SecurityError};
use crate::fingerprint::Fingerprint;
use crate::peer::Peer;
use crate::received::{MAX_RECORD, Received};
use crate::settings::{CertificateRequest, Side, Tls};
use crate::translate::{FirstBytes, RECORD_HEADER, protocol, recognise, translate};
use crate::watch::{Current, Store};

/// The largest piece of plaintext in one record (RFC 8446, section 5.1).
const MAX_FRAGMENT: usize = 16_384;
/// The overhead of a record: its header, the inner content type, and the tag of any of TLS 1.3's
/// AEADs.
const RECORD_OVERHEAD: usize = RECORD_HEADER + 1 + 16;
/// A key update by this end and a response to the peer's, 27 bytes each, may precede data.
const KEY_UPDATES: usize = 2 * (RECORD_OVERHEAD + 5);
/// An alert: its level and its number.
const ALERT: usize = 2;

/// The common interface of rustls's two sides, for which rustls has no trait.
pub(crate) trait Engine: DerefMut<Target = UnbufferedConnectionCommon<Self::Data>> {
    type Data;

    /// The peer's side.
    const PEER: Side;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Engine for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    const PEER: Side = Side::Accepting;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Engine for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    const PEER: Side = Side::Connecting;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

/// One TLS connection.
pub(crate) struct TlsConnection<E> {
    engine: E,
    settings: Arc<Tls>,
    store: Arc<Store>,
    /// The generation of the trust that the peer was last verified against.
    verified_generation: u64,
    /// The wall-clock time at which the peer was accepted.
    secured_at: UnixTime,
    /// Whether the peer has requested this end's certificate, if it must.
    request: Option<Arc<CertificateRequest>>,
    /// The peer's id when it was accepted.
    peer_id: Option<PeerId>,
    /// Encoded output that was not requested yet.
    pending: Vec<u8>,
    /// The unconsumed input, while there are records in it that rustls has already processed.
    held: Vec<u8>,
    /// How many bytes the last `read` left.
    left: usize,
    /// The first bytes were recognised as TLS.
    recognised: bool,
    /// The first byte is one with which no TLS connection begins.
    suspicious: bool,
    secured: bool,
    /// `close` was called.
    closed: bool,
    /// `close` was called, and the close_notify is still to be sent.
    close_due: bool,
    peer_ended: bool,
    failure: Option<SecurityError>,
}

/// The identity of a peer that is still trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recheck {
    /// The same peer as before.
    Same,
    /// Another peer, since the pins are grouped differently.
    Other,
}

/// The outcome of a call of rustls.
enum Step {
    /// There may be more to do.
    Again,
    /// Nothing more to do without more input.
    Idle,
    /// There is data, and `Secured` has to be announced first.
    Announce,
    /// The peer ended its direction.
    End,
}

impl<E: Engine> TlsConnection<E> {
    pub(crate) fn new(
        engine: E,
        settings: Arc<Tls>,
        store: Arc<Store>,
        generation: u64,
        request: Option<Arc<CertificateRequest>>,
    ) -> Result<Self, SecurityError> {
        let mut connection = Self {
            engine,
            settings,
            store,
            verified_generation: generation,
            secured_at: UnixTime::since_unix_epoch(Duration::ZERO),
            request,
            peer_id: None,
            pending: Vec::new(),
            held: Vec::new(),
            left: 0,
            recognised: false,
            suspicious: false,
            secured: false,
            closed: false,
            close_due: false,
            peer_ended: false,
            failure: None,
        };
        connection.process(&mut [], &mut |_| {})?;
        Ok(connection)
    }

    pub(crate) fn read(
        &mut self,
        ciphertext: &mut [u8],
        deliver: &mut dyn FnMut(Received<'_>),
    ) -> Result<usize, SecurityError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if ciphertext.len() < self.left {
            // Without the bytes that were left rustls would panic.
            return Ok(0);
        }
        if !self.recognised {
            match recognise(ciphertext) {
                FirstBytes::TooFew => {
                    self.suspicious = ciphertext
                        .first()
                        .is_some_and(|kind| !matches!(kind, 21 | 22));
                    return Ok(0);
                }
                FirstBytes::Tls => self.recognised = true,
                // No alert, which a peer without TLS could not read.
                FirstBytes::Plain(seems) => return Err(self.fail(Reason::NotTls { seems }.into())),
            }
        }
        let consumed = self.process(ciphertext, deliver)?;
        let rest = &ciphertext[consumed..];
        if rest.len() >= MAX_RECORD {
            // Only a handshake message in several records is that long, and no honest peer sends
            // one: certificates take a tenth of it.
            return Err(self.fail(Reason::PeerMisbehaved.into()));
        }
        self.left = rest.len();
        self.held.clear();
        if self.secured && has_whole_record(rest) {
            self.held.extend_from_slice(rest);
        }
        self.send_due_close_notify();
        Ok(consumed)
    }

    /// Lets rustls work on `ciphertext` until it needs more. Returns how much was consumed.
    fn process(
        &mut self,
        ciphertext: &mut [u8],
        deliver: &mut dyn FnMut(Received<'_>),
    ) -> Result<usize, SecurityError> {
        let mut consumed = 0;
        while !self.peer_ended {
            let step = self.step(&mut ciphertext[consumed..], &mut consumed, deliver)?;
            match step {
                Step::Again => {}
                Step::Announce => self.announce(deliver)?,
                Step::Idle => {
                    if !self.secured && !self.engine.is_handshaking() {
                        self.announce(deliver)?;
                    }
                    return Ok(consumed);
                }
                Step::End => {
                    if !self.secured {
                        self.announce(deliver)?;
                    }
                    self.peer_ended = true;
                    deliver(Received::End);
                }
            }
        }
        // Data after a close_notify must be ignored (RFC 8446, section 6.1).
        Ok(ciphertext.len())
    }

    fn step(
        &mut self,
        ciphertext: &mut [u8],
        consumed: &mut usize,
        deliver: &mut dyn FnMut(Received<'_>),
    ) -> Result<Step, SecurityError> {
        let UnbufferedStatus { mut discard, state } = self.engine.process(ciphertext);
        let step = match state {
            Err(error) => return Err(self.fail_with(error)),
            Ok(ConnectionState::ReadTraffic(_)) if !self.secured => Step::Announce,
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            deliver(Received::Data(record.payload));
                        }
                        Err(error) => return Err(self.fail_with(error)),
                    }
                }
                Step::Again
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut data, &mut self.pending);
                Step::Again
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Step::Again
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Step::End,
            // Early data is never accepted, and states of later versions are unknown.
            Ok(_) => Step::Idle,
        };
        *consumed += discard;
        Ok(step)
    }

    /// Reports that the connection is secured, once, if the peer passes the remaining checks.
    fn announce(&mut self, deliver: &mut dyn FnMut(Received<'_>)) -> Result<(), SecurityError> {
        // rustls accepts a peer without ALPN.
        if !self.settings.alpn.is_empty() && self.engine.alpn_protocol().is_none() {
            // No close_notify, which a tlsstream peer would take for the end of its stream.
            return Err(self.fail(protocol(&self.settings).into()));
        }
        let certificate = self.peer_certificate().map(CertificateDer::from);
        let facts = certificate.and_then(|certificate| Facts::read(&certificate).ok());
        let Some(facts) = facts else {
            return Err(self.fail(Reason::PeerCertificateMissing.into()));
        };
        // A peer that does not request a certificate accepts anyone.
        if self
            .request
            .take()
            .is_some_and(|request| !request.was_received())
        {
            return Err(self.fail(Reason::NotAskedForCertificate.into()));
        }
        self.secured_at = UnixTime::now();
        // Identity and trust may have been replaced during the handshake.
        let current = self.store.current();
        if let Err(error) = self.verify_against(&current, facts.fingerprint) {
            return Err(self.fail(error));
        }
        self.secured = true;
        self.peer_id = current.peers.id(facts.fingerprint);
        let name = current.peers.name(facts.fingerprint);
        deliver(Received::Secured {
            peer: Some(Peer::new(facts.fingerprint, name)),
            id: self.peer_id,
        });
        Ok(())
    }

    /// Verifies the peer against this trust, unless that was done last.
    fn verify_against(&mut self, current: &Current, key: Fingerprint) -> Result<(), SecurityError> {
        if current.generation == self.verified_generation {
            return Ok(());
        }
        self.verified_generation = current.generation;
        let chain = self.engine.peer_certificates().unwrap_or_default();
        let verified = current
            .with_alpn
            .verify_peer(E::PEER, chain, self.secured_at);
        verified.map_err(|error| {
            let error = translate(error, &current.with_alpn);
            match error.reason() {
                Reason::PinMismatch { .. }
                | Reason::CertificateHashPinned { .. }
                | Reason::PeerCertificateRefused => {
                    let presented = Some(key);
                    error.with_reason(Reason::PinRemoved { presented })
                }
                _ => error,
            }
        })
    }

    /// Whether the trust has been replaced since the peer was last verified.
    pub(crate) fn is_outdated(&self) -> bool {
        self.secured && self.store.generation() != self.verified_generation
    }

    /// Verifies the peer again if the trust has been replaced since.
    pub(crate) fn reverify(&mut self) -> Result<Recheck, SecurityError> {
        if !self.is_outdated() {
            return Ok(Recheck::Same);
        }
        let certificate = self.peer_certificate().map(CertificateDer::from);
        let facts = certificate.and_then(|certificate| Facts::read(&certificate).ok());
        let key = facts.ok_or(Reason::PeerCertificateMissing)?.fingerprint;
        let current = self.store.current();
        self.verify_against(&current, key)?;
        let id = current.peers.id(key);
        Ok(if id == self.peer_id {
            Recheck::Same
        } else {
            Recheck::Other
        })
    }

    pub(crate) fn recheck(&mut self) -> Result<(), SecurityError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        match self.reverify() {
            Ok(_) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail_with(&mut self, error: Error) -> SecurityError {
        let error = translate(error, &self.settings);
        self.fail(error)
    }

    /// Makes `error` final, and its alert pending.
    fn fail(&mut self, error: SecurityError) -> SecurityError {
        // Nothing may follow this end's close_notify, not even an alert.
        if !self.closed {
            self.collect();
        }
        self.held = Vec::new();
        self.failure = Some(error.clone());
        error
    }

    /// Moves rustls's output to `pending`.
    fn collect(&mut self) {
        while self.engine.wants_write() {
            match self.engine.process(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut data, &mut self.pending);
                }
                // Drops data that precedes the output and will not be read any more.
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while traffic.next_record().is_some() {}
                }
                _ => return,
            }
        }
    }

    pub(crate) fn read_eof(&mut self) -> Result<(), SecurityError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.peer_ended {
            return Ok(());
        }
        let reason = if self.secured {
            Reason::Truncated
        } else if self.suspicious && !self.recognised {
            Reason::NotTls {
                seems: PlainProtocol::Unknown,
            }
        } else {
            Reason::ClosedDuringHandshake
        };
        Err(self.fail(reason.into()))
    }

    pub(crate) const fn pending_len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn write_pending(&mut self, out: &mut [u8]) -> usize {
        let count = self.pending.len().min(out.len());
        out[..count].copy_from_slice(&self.pending[..count]);
        if count == self.pending.len() {
            // Release the memory: after the handshake there is hardly any output.
            self.pending = Vec::new();
        } else {
            self.pending.drain(..count);
        }
        count
    }

    pub(crate) const fn may_write(&self) -> bool {
        self.secured && !self.closed && self.failure.is_none()
    }

    pub(crate) const fn ciphertext_len(&self, plaintext_len: usize) -> usize {
        let records = plaintext_len.div_ceil(MAX_FRAGMENT);
        self.pending.len() + plaintext_len + records * RECORD_OVERHEAD + KEY_UPDATES
    }

    pub(crate) fn write(
        &mut self,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, SecurityError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if !self.may_write() {
            let reason = if self.closed {
                Reason::AlreadyClosed
            } else {
                Reason::NotSecured
            };
            return Err(reason.into());
        }
        let needed = self.ciphertext_len(plaintext.len());
        if out.len() < needed {
            return Err(Reason::OutputTooSmall { needed }.into());
        }
        let mut written = self.write_pending(out);
        if plaintext.is_empty() {
            return Ok(written);
        }
        loop {
            match self.engine.process(&mut self.held).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return match traffic.encrypt(plaintext, &mut out[written..]) {
                        Ok(count) => Ok(written + count),
                        // Unreachable: the buffer is long enough, and rustls updates keys long
                        // before their limits.
                        Err(_) => Err(self.fail(Reason::Internal.into())),
                    };
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    match data.encode(&mut out[written..]) {
                        Ok(count) => written += count,
                        Err(_) => return Err(self.fail(Reason::Internal.into())),
                    }
                }
                Err(error) => return Err(self.fail_with(error)),
                Ok(_) => return Err(self.fail(Reason::Internal.into())),
            }
        }
    }

    pub(crate) fn close(&mut self) {
        if self.closed || self.failure.is_some() {
            return;
        }
        self.closed = true;
        self.close_due = true;
        self.send_due_close_notify();
    }

    /// Ends this end's direction if that is due and already possible.
    fn send_due_close_notify(&mut self) {
        if self.close_due && self.secured {
            self.close_due = false;
            let mut held = mem::take(&mut self.held);
            self.send_close_notify(&mut held);
            self.held = held;
        }
    }

    /// Makes a close_notify pending, which rustls allows once the handshake is done. `rest` is
    /// the unconsumed input; data in it is dropped.
    fn send_close_notify(&mut self, mut rest: &mut [u8]) {
        loop {
            let UnbufferedStatus { discard, state } = self.engine.process(rest);
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let start = self.pending.len();
                    self.pending
                        .resize(start + RECORD_OVERHEAD + ALERT + KEY_UPDATES, 0);
                    let count = traffic.queue_close_notify(&mut self.pending[start..]);
                    self.pending.truncate(start + count.unwrap_or_default());
                    return;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut data, &mut self.pending);
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while traffic.next_record().is_some() {}
                }
                Ok(ConnectionState::PeerClosed) => {}
                _ => return,
            }
            rest = &mut rest[discard..];
        }
    }

    pub(crate) fn peer_certificate(&self) -> Option<&[u8]> {
        self.engine.peer_certificates()?.first().map(AsRef::as_ref)
    }

    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.engine.alpn_protocol()
    }

    pub(crate) fn cipher(&self) -> Option<&'static str> {
        self.engine.negotiated_cipher_suite()?.suite().as_str()
    }
}

/// Appends the output that rustls has encoded to `pending`, which grows as needed.
fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, pending: &mut Vec<u8>) {
    let start = pending.len();
    while let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut pending[start..]) {
        pending.resize(start + size.required_size, 0);
    }
}

/// Whether `bytes`, which begins with a record, contains all of it.
fn has_whole_record(bytes: &[u8]) -> bool {
    match bytes {
        [_, _, _, high, low, rest @ ..] => {
            rest.len() >= usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => false,
    }
}
