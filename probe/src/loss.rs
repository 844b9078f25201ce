//! Loss in a stream of numbered packets. Pure.

use std::time::Duration;

/// Loss of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Packets sent.
    pub sent: u64,
    /// Packets that arrived.
    pub received: u64,
    /// For how long packets were lost, all outages added up.
    pub outage: Duration,
    /// The longest time between two packets sent: how late the sender ever was. The outage is known
    /// to this precision only.
    pub greatest_gap: Duration,
}

/// Loss, from the send time of each packet and the numbers that arrived. Pure.
pub(super) fn loss(sent_at: &[u64], arrived: &[u64]) -> Loss {
    let mut has_arrived = vec![false; sent_at.len()];
    for &sequence in arrived {
        if let Some(slot) = usize::try_from(sequence)
            .ok()
            .and_then(|at| has_arrived.get_mut(at))
        {
            *slot = true;
        }
    }
    let mut outage = 0;
    let mut first_lost = None;
    for (sequence, &arrived) in has_arrived.iter().enumerate() {
        match (arrived, first_lost) {
            (false, None) => first_lost = Some(sent_at[sequence]),
            (true, Some(since)) => {
                outage += sent_at[sequence] - since;
                first_lost = None;
            }
            (false, Some(_)) | (true, None) => {}
        }
    }
    if let (Some(since), Some(last)) = (first_lost, sent_at.last()) {
        outage += last - since;
    }
    Loss {
        sent: sent_at.len() as u64,
        received: has_arrived.iter().filter(|arrived| **arrived).count() as u64,
        outage: Duration::from_nanos(outage),
        greatest_gap: greatest_gap(sent_at),
    }
}

/// The longest time between two packets sent.
pub(super) fn greatest_gap(sent_at: &[u64]) -> Duration {
    let gap = sent_at.windows(2).map(|pair| pair[1] - pair[0]).max();
    Duration::from_nanos(gap.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn an_outage_lasts_from_the_first_lost_to_the_next_that_arrived() {
        #[rustfmt::skip]
        let cases: [(&str, &[u64], &[u64], u64); 6] = [
            // what            sent at          arrived         outage
            ("nothing sent",   &[],             &[],            0),
            ("nothing lost",   &[0, 1, 2, 3],   &[0, 1, 2, 3],  0),
            ("one lost",       &[0, 1, 2, 3],   &[0, 2, 3],     1),
            ("out of order",   &[0, 1, 2, 3],   &[0, 2, 1, 3],  0),
            ("sender late",    &[0, 1, 9, 10],  &[0, 2, 3],     8),
            ("till the end",   &[0, 1, 2, 3],   &[0, 1],        1),
        ];
        for (what, sent_at, arrived, outage_ms) in cases {
            let sent_at: Vec<u64> = sent_at.iter().map(|ms| ms * MS).collect();
            let loss = loss(&sent_at, arrived);
            assert_eq!(loss.outage, Duration::from_millis(outage_ms), "{what}");
            assert_eq!(loss.sent, sent_at.len() as u64, "{what}");
            assert_eq!(loss.received, arrived.len() as u64, "{what}");
        }
    }

    #[test]
    fn a_late_sender_shows_in_the_gap_and_not_in_the_outage() {
        let loss = loss(&[0, MS, 50 * MS, 51 * MS], &[0, 1, 2, 3]);
        assert_eq!(loss.outage, Duration::ZERO);
        assert_eq!(loss.greatest_gap, Duration::from_millis(49));
    }
}
