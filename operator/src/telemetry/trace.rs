//! Trace ids of requests and reconciles.

use std::{
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// A new trace id in the manner of W3C Trace Context: 32 hexadecimal digits, unique, not secret.
pub fn trace_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&process::id().to_le_bytes());
    hasher.update(&count.to_le_bytes());
    hasher.update(&now.unwrap_or_default().as_nanos().to_le_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_ids_differ() {
        let ids = [trace_id(), trace_id()];
        assert_ne!(ids[0], ids[1]);
        assert_eq!(ids[0].len(), 32);
    }
}
