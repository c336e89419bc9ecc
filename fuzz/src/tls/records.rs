//! The records of TLS 1.3 (RFC 8446, section 5.2), with keys from a secret: what no library lets
//! a peer write, and this one does.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};

pub(crate) const HEADER: usize = 5;
/// Application data, as which every encrypted record passes.
const OUTER: u8 = 23;

/// One direction of a connection, for `TLS_AES_128_GCM_SHA256`.
pub(crate) struct Keys {
    secret: [u8; 32],
    key: LessSafeKey,
    iv: [u8; 12],
    /// How many records were sealed or opened.
    pub(crate) count: u64,
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label without a context.
fn expand<const N: usize>(secret: &[u8], label: &str) -> [u8; N] {
    let label = format!("tls13 {label}");
    let (length, name) = (N as u16, label.len() as u8);
    let info = [&length.to_be_bytes()[..], &[name], label.as_bytes(), &[0]];
    let mut out = [0; N];
    let prk = Prk::new_less_safe(HKDF_SHA256, secret);
    let expanded = prk
        .expand(&info, Length(N))
        .and_then(|okm| okm.fill(&mut out));
    expanded.expect("short enough");
    out
}

impl Keys {
    pub(crate) fn new(secret: &[u8]) -> Self {
        let key: [u8; 16] = expand(secret, "key");
        let key = UnboundKey::new(&AES_128_GCM, &key).expect("its length");
        Self {
            secret: secret.try_into().expect("that of SHA-256"),
            key: LessSafeKey::new(key),
            iv: expand(secret, "iv"),
            count: 0,
        }
    }

    /// Those that come after a key update.
    pub(crate) fn update(&mut self) {
        *self = Self::new(&expand::<32>(&self.secret, "traffic upd"));
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.count.to_be_bytes()) {
            *byte ^= count;
        }
        self.count += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// A record with this inside; `padding` zeros behind it.
    pub(crate) fn seal(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let mut inside = content.to_vec();
        inside.push(kind);
        inside.resize(inside.len() + padding, 0);
        let header = header(inside.len() + 16);
        let nonce = self.nonce();
        let sealed = self
            .key
            .seal_in_place_append_tag(nonce, Aad::from(header), &mut inside);
        sealed.expect("short enough");
        [&header[..], &inside].concat()
    }

    /// What is inside a record; `None` if it was not sealed with these keys.
    pub(crate) fn open(&mut self, record: &[u8]) -> Option<(u8, Vec<u8>)> {
        let (header, sealed) = record.split_first_chunk::<HEADER>()?;
        let mut inside = sealed.to_vec();
        let nonce = self.nonce();
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(*header), &mut inside);
        let length = opened.ok()?.len();
        inside.truncate(length);
        while inside.pop_if(|byte| *byte == 0).is_some() {}
        let kind = inside.pop()?;
        Some((kind, inside))
    }
}

fn header(length: usize) -> [u8; HEADER] {
    let [high, low] = (length as u16).to_be_bytes();
    [OUTER, 3, 3, high, low]
}

/// The records of a stream, the last perhaps not whole.
pub(crate) fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = match bytes {
            [_, _, _, high, low, ..] => HEADER + usize::from(u16::from_be_bytes([*high, *low])),
            _ => bytes.len(),
        };
        let (record, rest) = bytes.split_at(length.min(bytes.len()));
        found.push(record);
        bytes = rest;
    }
    found
}
