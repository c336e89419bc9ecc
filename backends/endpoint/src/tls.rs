//! rustls's unbuffered API behind the methods of [`Connection`](crate::Connection).
//!
//! What that API asks of its user, and why this file is shaped as it is:
//! - Output is encoded in the middle of reading, so it waits in `pending` until it is asked for.
//! - After an error the alert comes out of further calls, as long as `wants_write` says there is
//!   something. Without that check the call would go on to parse input that is no longer there.
//! - It remembers positions in the input while a handshake message spans records. Calling it for
//!   any reason with other input than it saw last makes it panic; `held` is what it saw last.

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
use crate::connection::{MAX_RECORD, Received};
use crate::error::{PlainProtocol, Reason, SecurityError};
use crate::fingerprint::Fingerprint;
use crate::peer::Peer;
use crate::settings::{Asked, Side, Tls};
use crate::translate::{FirstBytes, RECORD_HEADER, protocol, recognise, translate};
use crate::watch::{Current, Store};

/// The largest piece of plaintext in one record (RFC 8446, section 5.1).
const MAX_FRAGMENT: usize = 16_384;
/// What a record adds: its header, the inner content type, and the tag of any of TLS 1.3's AEADs.
const RECORD_OVERHEAD: usize = RECORD_HEADER + 1 + 16;
/// A key update of our own and an answer to the peer's, 27 bytes each, can come before data.
const KEY_UPDATES: usize = 2 * (RECORD_OVERHEAD + 5);
/// An alert: its level and its number.
const ALERT: usize = 2;

/// What the two sides of rustls have in common and no trait of its own expresses.
pub(crate) trait Engine: DerefMut<Target = UnbufferedConnectionCommon<Self::Data>> {
    type Data;

    /// Which end the peer is.
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
    /// Which trust the peer was judged by last.
    judged: u64,
    /// When, of the calendar, it was let in.
    secured_at: UnixTime,
    /// Whether it has asked for our certificate, where it has to.
    asked: Option<Arc<Asked>>,
    /// What it was known as then.
    peer_id: Option<PeerId>,
    /// Encoded and not yet asked for.
    pending: Vec<u8>,
    /// The unconsumed input, while there are records in it that rustls has already processed.
    held: Vec<u8>,
    /// How much the last `read` left.
    left: usize,
    /// The first bytes were those of TLS.
    recognised: bool,
    /// A first byte has arrived that no TLS connection begins with.
    suspicious: bool,
    secured: bool,
    /// `close` was called.
    closed: bool,
    /// `close` was called, and close_notify is still to be sent.
    close_due: bool,
    peer_ended: bool,
    failure: Option<SecurityError>,
}

/// What a peer is that is still trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// The one that it was.
    Same,
    /// Another, since the pins have been grouped in another way.
    Other,
}

/// What a call of rustls led to.
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
        asked: Option<Arc<Asked>>,
    ) -> Result<Self, SecurityError> {
        let mut connection = Self {
            engine,
            settings,
            store,
            judged: generation,
            secured_at: UnixTime::since_unix_epoch(Duration::ZERO),
            asked,
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
            // Without what was left there is nothing to go on with, and rustls would panic.
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
                // No alert: whatever this is, it could not read one.
                FirstBytes::Plain(seems) => return Err(self.fail(Reason::NotTls { seems }.into())),
            }
        }
        let consumed = self.process(ciphertext, deliver)?;
        let rest = &ciphertext[consumed..];
        if rest.len() >= MAX_RECORD {
            // Only a handshake message in several records is that long, and no honest peer of
            // ours has one: certificates take a tenth of it.
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
        // What follows a close_notify is to be ignored (RFC 8446, section 6.1).
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
            // Early data is never accepted, and later versions' states are unknown.
            Ok(_) => Step::Idle,
        };
        *consumed += discard;
        Ok(step)
    }

    /// Tells that the connection is secured, once, if the protocol is one of ours.
    fn announce(&mut self, deliver: &mut dyn FnMut(Received<'_>)) -> Result<(), SecurityError> {
        // rustls lets a peer pass that does not take part in ALPN.
        if !self.settings.alpn.is_empty() && self.engine.alpn_protocol().is_none() {
            // No close_notify: a peer that speaks tlsstream would take it for the end of its stream.
            return Err(self.fail(protocol(&self.settings).into()));
        }
        let certificate = self.peer_certificate().map(CertificateDer::from);
        let facts = certificate.and_then(|certificate| Facts::read(&certificate).ok());
        let Some(facts) = facts else {
            return Err(self.fail(Reason::PeerCertificateMissing.into()));
        };
        // A peer that does not want to know who we are lets anybody in.
        if self.asked.take().is_some_and(|asked| !asked.was()) {
            return Err(self.fail(Reason::NotAskedForCertificate.into()));
        }
        self.secured_at = UnixTime::now();
        // The handshake may have begun before the trust of today.
        let current = self.store.current();
        if let Err(error) = self.judge_by(&current, facts.fingerprint) {
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

    /// Judges the peer by this trust, unless it was the last that it was judged by.
    fn judge_by(&mut self, current: &Current, key: Fingerprint) -> Result<(), SecurityError> {
        if current.generation == self.judged {
            return Ok(());
        }
        self.judged = current.generation;
        let chain = self.engine.peer_certificates().unwrap_or_default();
        let judged = current.named.judge(E::PEER, chain, self.secured_at);
        judged.map_err(|error| {
            let error = translate(error, &current.named);
            match error.reason() {
                Reason::PinMismatch { .. }
                | Reason::CertificateHashPinned { .. }
                | Reason::PeerCertificateRefused => {
                    let presented = Some(key);
                    error.because_of(Reason::PinRemoved { presented })
                }
                _ => error,
            }
        })
    }

    /// Whether there is another trust than the one that the peer was judged by last.
    pub(crate) fn is_outdated(&self) -> bool {
        self.secured && self.store.generation() != self.judged
    }

    /// Judges the peer again if there is another trust than the one it was judged by last.
    pub(crate) fn judge(&mut self) -> Result<Judgement, SecurityError> {
        if !self.is_outdated() {
            return Ok(Judgement::Same);
        }
        let certificate = self.peer_certificate().map(CertificateDer::from);
        let facts = certificate.and_then(|certificate| Facts::read(&certificate).ok());
        let key = facts.ok_or(Reason::PeerCertificateMissing)?.fingerprint;
        let current = self.store.current();
        self.judge_by(&current, key)?;
        let id = current.peers.id(key);
        Ok(if id == self.peer_id {
            Judgement::Same
        } else {
            Judgement::Other
        })
    }

    pub(crate) fn recheck(&mut self) -> Result<(), SecurityError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        match self.judge() {
            Ok(_) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail_with(&mut self, error: Error) -> SecurityError {
        let error = translate(error, &self.settings);
        self.fail(error)
    }

    /// Makes `error` final, and the alert that goes with it pending.
    fn fail(&mut self, error: SecurityError) -> SecurityError {
        // After our close_notify nothing may follow, not even an alert.
        if !self.closed {
            self.collect();
        }
        self.held = Vec::new();
        self.failure = Some(error.clone());
        error
    }

    /// Moves what rustls has ready to `pending`.
    fn collect(&mut self) {
        while self.engine.wants_write() {
            match self.engine.process(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut data, &mut self.pending);
                }
                // Data that nobody will ask for any more comes before it.
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
            // Let go of the memory: after the handshake there is next to nothing to say.
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
                        // There is room enough, and rustls changes keys long before they are
                        // used up.
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

    /// Ends our direction if it is to end and already can.
    fn send_due_close_notify(&mut self) {
        if self.close_due && self.secured {
            self.close_due = false;
            let mut held = mem::take(&mut self.held);
            self.send_close_notify(&mut held);
            self.held = held;
        }
    }

    /// Makes a close_notify pending, which rustls allows once the handshake is done. `rest` is
    /// the input that it has yet to consume; data in it is dropped.
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

/// Appends what rustls has encoded to `pending`, which grows for it.
fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, pending: &mut Vec<u8>) {
    let start = pending.len();
    while let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut pending[start..]) {
        pending.resize(start + size.required_size, 0);
    }
}

/// Whether `bytes`, which begins with a record, has all of it.
fn has_whole_record(bytes: &[u8]) -> bool {
    match bytes {
        [_, _, _, high, low, rest @ ..] => {
            rest.len() >= usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => false,
    }
}
