//! The attacker: a blocking socket, with its own TLS if it wants.

use std::collections::VecDeque;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use countersign_core::Role;
use countersign_core::wire::{FIRST, FIRST_HEAD, HEADER_LEN, LAST, MESSAGE_HEAD};
use rustls::Connection;
use socket2::SockRef;

use super::{ByHand, Disguise};

/// How the victim has ended a connection, as the attacker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// With a TLS alert of this number, in clear or encrypted.
    Alert(u8),
    /// In order, with a close_notify.
    Closed,
    /// Without a word.
    Ended,
    /// By a reset.
    Reset,
}

/// An attacker's end of a connection with the victim.
pub struct Hostile {
    /// The connection itself, for what no method does.
    pub socket: TcpStream,
    /// All that it sends from now on, as it is on the way, if it is to be kept.
    pub recording: Option<Vec<u8>>,
    victim: Role,
    tls: Option<Connection>,
    /// Its TLS does not go on.
    failed: bool,
    /// Where it has come to an end.
    seen: Option<Seen>,
    /// Plaintext that came and was not asked for.
    heard: VecDeque<u8>,
    /// Without TLS: all bytes that came and were not asked for are in `heard`, and these are the
    /// last of them, in which an alert in clear would be.
    last: Vec<u8>,
}

impl fmt::Debug for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hostile")
            .field("socket", &self.socket)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl Hostile {
    /// An attacker of a victim in this role.
    #[must_use]
    pub fn on(socket: TcpStream, victim: Role) -> Self {
        socket.set_nodelay(true).unwrap();
        Self {
            socket,
            recording: None,
            victim,
            tls: None,
            failed: false,
            seen: None,
            heard: VecDeque::new(),
            last: Vec::new(),
        }
    }

    /// Returns the role of its victim.
    #[must_use]
    pub fn victim(&self) -> Role {
        self.victim
    }

    /// Returns its own address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Sends bytes as they are. Returns false if the connection does not take them any more.
    pub fn throw(&mut self, bytes: &[u8]) -> bool {
        if let Some(recording) = &mut self.recording {
            recording.extend_from_slice(bytes);
        }
        self.socket.write_all(bytes).is_ok()
    }

    /// Begins TLS, and says nothing yet.
    pub fn disguise(&mut self, disguise: Disguise<'_>) {
        self.tls = Some(disguise.connection(self.victim));
    }

    /// Returns the attacker's own TLS.
    pub fn tls(&mut self) -> &mut Connection {
        self.tls.as_mut().expect("an attacker that speaks TLS")
    }

    /// Returns whether it speaks TLS.
    #[must_use]
    pub fn is_disguised(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns whether its TLS has more to send or to receive before data.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Begins TLS, and completes the handshake as far as the attacker can tell. A victim that
    /// opened the connection has judged the attacker by then, one that accepted it has not.
    ///
    /// # Errors
    ///
    /// How the victim has ended the connection.
    pub fn shake(&mut self, disguise: Disguise<'_>) -> Result<(), Seen> {
        self.disguise(disguise);
        while self.tls().is_handshaking() && !self.failed {
            let flight = self.flight();
            if !flight.is_empty() {
                self.throw(&flight);
            } else if !self.receive_more() {
                break;
            }
        }
        let flight = self.flight();
        self.throw(&flight);
        self.seen.map_or(Ok(()), Err)
    }

    /// What its TLS wants to send now: whole records.
    #[must_use]
    pub fn flight(&mut self) -> Vec<u8> {
        let tls = self.tls();
        let mut flight = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut flight).unwrap();
        }
        flight
    }

    /// Encrypts, and gives the records instead of sending them.
    #[must_use]
    pub fn encrypt(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.tls().writer().write_all(plaintext).unwrap();
        self.flight()
    }

    /// Sends something, through TLS if there is one. Returns false if the connection does not take
    /// it any more.
    pub fn say(&mut self, plaintext: &[u8]) -> bool {
        if self.tls.is_none() {
            return self.throw(plaintext);
        }
        let records = self.encrypt(plaintext);
        self.throw(&records)
    }

    /// Waits for input. Returns false if there is no more.
    pub fn receive_more(&mut self) -> bool {
        if self.seen.is_some() {
            return false;
        }
        let mut piece = [0; 16 * 1024];
        match self.socket.read(&mut piece) {
            Ok(0) => self.seen = Some(self.last_word().unwrap_or(Seen::Ended)),
            Ok(count) => self.take(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.seen = Some(self.last_word().unwrap_or(Seen::Reset));
            }
            Err(error) => panic!("the attacker can't read: {error}"),
        }
        self.seen.is_none()
    }

    /// An alert in clear, where the attacker speaks no TLS.
    fn last_word(&self) -> Option<Seen> {
        match self.last[..] {
            [21, 3, _, 0, 2, _, number] => Some(Seen::Alert(number)),
            _ => None,
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        let Some(tls) = self.tls.as_mut().filter(|_| !self.failed) else {
            self.heard.extend(bytes);
            self.last.extend_from_slice(bytes);
            let old = self.last.len().saturating_sub(7);
            self.last.drain(..old);
            return;
        };
        while !bytes.is_empty() {
            if tls.read_tls(&mut bytes).unwrap() == 0 {
                break;
            }
            match tls.process_new_packets() {
                Ok(state) => {
                    let mut plaintext = vec![0; state.plaintext_bytes_to_read()];
                    tls.reader().read_exact(&mut plaintext).unwrap();
                    self.heard.extend(plaintext);
                    if state.peer_has_closed() {
                        self.seen = Some(Seen::Closed);
                        return;
                    }
                }
                Err(rustls::Error::AlertReceived(alert)) => {
                    self.seen = Some(Seen::Alert(alert.into()));
                    return;
                }
                // It has an alert to send, and receives nothing more but the end.
                Err(_) => {
                    self.failed = true;
                    break;
                }
            }
        }
    }

    /// Waits for exactly `count` bytes and returns them, or `None` if the end comes first.
    pub fn receive(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.heard.len() < count {
            // The last words may come together with the end.
            if !self.receive_more() && self.heard.len() < count {
                return None;
            }
        }
        Some(self.heard.drain(..count).collect())
    }

    /// Waits for the next frame of countersign and returns header and body, or `None` if the end
    /// comes first.
    pub fn receive_frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = self.receive(HEADER_LEN)?;
        let length = u32::from_be_bytes(frame[4..].try_into().unwrap());
        frame.extend(self.receive(length as usize)?);
        Some(frame)
    }

    /// Waits for a message of at most `most` bytes and returns its length.
    pub fn receive_message(&mut self, most: usize) -> usize {
        let mut length = 0;
        loop {
            let frame = self.receive_frame().expect("a part of a message");
            let (first, last) = (frame[1] & FIRST != 0, frame[1] & LAST != 0);
            let head = if first && !last {
                FIRST_HEAD
            } else {
                MESSAGE_HEAD
            };
            length += frame.len() - head;
            assert!(length <= most, "{length} bytes");
            if last {
                return length;
            }
        }
    }

    /// Waits for the end, and returns how it was. Input before it is discarded.
    pub fn receive_end(&mut self) -> Seen {
        while self.receive_more() {
            self.heard.clear();
        }
        self.seen.expect("it has ended")
    }

    /// Whether nothing has come and nothing has ended so far.
    #[must_use]
    pub fn receives_nothing(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let peeked = self.socket.peek(&mut [0]);
        self.socket.set_nonblocking(false).unwrap();
        matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Goes on by hand, once all is heard that the victim has said.
    #[must_use]
    pub fn by_hand(self) -> ByHand {
        assert!(self.heard.is_empty() && self.seen.is_none(), "{self:?}");
        ByHand::new(self.socket, self.tls.expect("an attacker that speaks TLS"))
    }

    /// Ends its direction of TLS with a close_notify.
    pub fn close_notify(&mut self) -> bool {
        self.tls().send_close_notify();
        let flight = self.flight();
        self.throw(&flight)
    }

    /// Ends its direction of the connection.
    pub fn end(&self) {
        // It may have ended already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        SockRef::from(&self.socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

/// Whole TLS records, one by one.
#[must_use]
pub fn records(mut flight: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while let [_, _, _, high, low, ..] = *flight {
        let length = 5 + usize::from(u16::from_be_bytes([high, low]));
        let (record, rest) = flight.split_at(length);
        records.push(record);
        flight = rest;
    }
    records
}
