//! The pair of keys with which the server signs service accounts' tokens.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING as P256, EcdsaKeyPair, KeyPair};

/// SubjectPublicKeyInfo (RFC 5480) of a key on P-256, up to its point.
const PUBLIC_KEY_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Writes a new pair to `service-account.key` and `service-account.pub` in `folder`.
pub(crate) fn write(folder: &Path) -> Result<()> {
    let random = SystemRandom::new();
    let Ok(private) = EcdsaKeyPair::generate_pkcs8(&P256, &random) else {
        bail!("failed to make a key");
    };
    let Ok(pair) = EcdsaKeyPair::from_pkcs8(&P256, private.as_ref(), &random) else {
        bail!("failed to read the key just made");
    };
    let public = [&PUBLIC_KEY_HEAD, pair.public_key().as_ref()].concat();
    fs::write(
        folder.join("service-account.key"),
        pem("PRIVATE KEY", private.as_ref()),
    )?;
    Ok(fs::write(
        folder.join("service-account.pub"),
        pem("PUBLIC KEY", &public),
    )?)
}

/// RFC 7468.
fn pem(label: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect::<Vec<_>>();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}
