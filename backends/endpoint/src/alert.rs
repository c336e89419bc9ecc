//! TLS alerts, which tell why a peer ends a connection (RFC 8446, section 6).

use std::fmt;

/// The number of a TLS alert, as registered with IANA. `Display` shows its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alert(
    /// The registered number.
    pub u8,
);

impl Alert {
    pub(crate) const BAD_RECORD_MAC: Self = Self(20);
    pub(crate) const HANDSHAKE_FAILURE: Self = Self(40);
    pub(crate) const CERTIFICATE_EXPIRED: Self = Self(45);
    pub(crate) const PROTOCOL_VERSION: Self = Self(70);
    pub(crate) const INSUFFICIENT_SECURITY: Self = Self(71);
    pub(crate) const INTERNAL_ERROR: Self = Self(80);
    pub(crate) const NO_APPLICATION_PROTOCOL: Self = Self(120);

    /// Returns the registered name, or `None` for a number that has none.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            22 => "record_overflow",
            40 => "handshake_failure",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            109 => "missing_extension",
            110 => "unsupported_extension",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            _ => return None,
        })
    }

    /// Whether the alert is about the receiver's certificate, or the lack of one.
    #[must_use]
    pub const fn refuses_certificate(self) -> bool {
        matches!(self.0, 42..=46 | 48 | 49 | 116)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "alert {}", self.0),
        }
    }
}
