//! Identities for countersign: a private key and a self-signed certificate.
