//! Limit of what an interface sends: the kernel's token bucket filter (tc-tbf(8)) as its root queue.
//!
//! Packets wait only while more is sent than the rate allows, so an idle link has no delay: a constant delay needs the
//! kernel's netem, which many kernels lack.

use dataplane::netlink::{Batch, NLM_F_CREATE, NLM_F_REPLACE};

use crate::state::directory::Limit;

// Of `linux/rtnetlink.h` and `linux/pkt_sched.h`.
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TBF_PARAMETERS: u16 = 1;
const TBF_RATE64: u16 = 4;
const TBF_BURST: u16 = 6;
const ROOT: u32 = u32::MAX;
/// Handle of our queue, by which no other one is deleted: major number 0xbee.
const HANDLE: u32 = 0x0bee_0000;
/// Bytes that may be sent at once: a jumbo frame and a little.
const BURST_MIN: u64 = 10_000;
/// Bytes of the shortest queue: one packet must fit.
const QUEUE_MIN: u64 = 2_000;

/// Appends the request that limits interface number `index`; it replaces an earlier limit.
pub(super) fn add_limit(batch: &mut Batch, index: u32, limit: Limit) {
    let bytes_per_second = (limit.bits_per_second / 8).max(1);
    // A timer of the kernel is late by some milliseconds at most.
    let burst = (bytes_per_second / 100).max(BURST_MIN);
    let queue = bytes_per_second.saturating_mul(u64::from(limit.queue_ms)) / 1_000;
    let (burst, size) = (small(burst), small(queue.max(QUEUE_MIN)));
    batch
        .message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &tcmsg(index))
        .string(TCA_KIND, "tbf")
        .nested(TCA_OPTIONS, &[], |options| {
            options
                .bytes(TBF_PARAMETERS, &parameters(bytes_per_second, size))
                .bytes(TBF_RATE64, &bytes_per_second.to_ne_bytes())
                .u32(TBF_BURST, burst);
        });
}

/// Appends the request that removes our limit of interface number `index`.
pub(super) fn remove_limit(batch: &mut Batch, index: u32) {
    batch.message(RTM_DELQDISC, 0, &tcmsg(index));
}

/// `struct tcmsg`: family, index, handle, parent, info.
fn tcmsg(index: u32) -> [u8; 20] {
    let mut header = [0; 20];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&HANDLE.to_ne_bytes());
    header[12..16].copy_from_slice(&ROOT.to_ne_bytes());
    header
}

/// `struct tc_tbf_qopt`: two `struct tc_ratespec` of 12 bytes each (rate, peak rate), limit in bytes, buffer, MTU.
fn parameters(bytes_per_second: u64, limit: u32) -> [u8; 36] {
    /// `TC_LINKLAYER_ETHERNET`: sizes as they are, without a table.
    const ETHERNET: u8 = 1;
    let mut parameters = [0; 36];
    parameters[1] = ETHERNET;
    // A larger rate is in `TBF_RATE64`.
    parameters[8..12].copy_from_slice(&small(bytes_per_second).to_ne_bytes());
    parameters[24..28].copy_from_slice(&limit.to_ne_bytes());
    parameters
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_queue_are_where_the_kernel_reads_them() {
        let parameters = parameters(1_250_000, 72_500);
        assert_eq!(parameters[8..12], 1_250_000_u32.to_ne_bytes());
        assert_eq!(parameters[24..28], 72_500_u32.to_ne_bytes());
        assert_eq!(small(u64::MAX), u32::MAX);
    }
}
