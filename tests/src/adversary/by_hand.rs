//! TLS once it is secured, record by record: what no library lets a peer say.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundPlainMessage,
};
use rustls::{
    Connection, ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite,
};

/// An attacker's end of a secured connection. Keys are not changed any more.
pub struct ByHand {
    socket: TcpStream,
    encrypter: Box<dyn MessageEncrypter>,
    /// The number of the next record that is encrypted.
    said: u64,
    decrypter: Box<dyn MessageDecrypter>,
    /// The number of the next record that is decrypted.
    heard: u64,
}

impl fmt::Debug for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByHand")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl ByHand {
    /// Goes on where this TLS is, which must have no more to say and nothing unread.
    pub(super) fn new(socket: TcpStream, tls: Connection) -> Self {
        let suite = tls.negotiated_cipher_suite();
        let Some(SupportedCipherSuite::Tls13(suite)) = suite else {
            panic!("{suite:?}");
        };
        let secrets = tls.dangerous_extract_secrets().unwrap();
        let ((said, own), (heard, victims)) = (secrets.tx, secrets.rx);
        let (own, victims) = (key(own), key(victims));
        let mut by_hand = Self {
            socket,
            encrypter: suite.aead_alg.encrypter(own.0, own.1),
            said: 0,
            decrypter: suite.aead_alg.decrypter(victims.0, victims.1),
            heard,
        };
        // The cipher takes the first number that it sees for zero.
        let _ = by_hand.data(b"");
        by_hand.said = said;
        by_hand
    }

    /// A record with this in it, to be sent in its turn.
    #[must_use]
    pub fn record(&mut self, kind: ContentType, content: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ: kind,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(content),
        };
        let record = self.encrypter.encrypt(message, self.said).unwrap();
        self.said += 1;
        record.encode()
    }

    /// A record with data, to be sent in its turn.
    #[must_use]
    pub fn data(&mut self, content: &[u8]) -> Vec<u8> {
        self.record(ContentType::ApplicationData, content)
    }

    /// Sends bytes as they are; false when the connection does not take them any more.
    pub fn throw(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// Waits for the next record, what kind it is and what is in it; `None` at the end.
    pub fn receive(&mut self) -> Option<(ContentType, Vec<u8>)> {
        let mut header = [0; 5];
        self.socket.read_exact(&mut header).ok()?;
        let mut sealed = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        self.socket.read_exact(&mut sealed).ok()?;
        let kind = ContentType::from(header[0]);
        let message = InboundOpaqueMessage::new(kind, ProtocolVersion::TLSv1_2, &mut sealed);
        let opened = self.decrypter.decrypt(message, self.heard).unwrap();
        self.heard += 1;
        Some((opened.typ, opened.payload.to_vec()))
    }
}

fn key(secrets: ConnectionTrafficSecrets) -> (AeadKey, Iv) {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("another cipher"),
    }
}
