//! Free ports on loopback.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;

use anyhow::{Result, bail};

/// Below the ports that Linux gives to outgoing connections: a port found here stays free while its server restarts.
const FIRST: u16 = 10_000;
const LAST: u16 = 32_000;

/// A port of 127.0.0.1 on which nothing listens, chosen at random.
///
/// # Errors
/// When a hundred ports in a row are taken.
pub fn free_port() -> Result<u16> {
    for attempt in 0..100_u32 {
        let random = RandomState::new().hash_one((std::process::id(), attempt));
        let port = FIRST + (random % u64::from(LAST - FIRST)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {LAST} on 127.0.0.1")
}
