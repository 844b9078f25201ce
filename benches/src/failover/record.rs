//! Gaps and losses of numbered flows. Pure.

use std::time::Duration;

/// Packets of one flow, by their numbers. Times are since the epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flow {
    /// Time at which each packet was sent.
    pub(crate) sent: Vec<Duration>,
    /// Arrivals in their order: number of the packet, and the kernel's time.
    pub(crate) arrived: Vec<(usize, Duration)>,
}

/// All flows of a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(pub(crate) Vec<Flow>);

/// Result for a period of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disturbance {
    /// Longest time without a packet, over all flows, as the receiver's kernel saw it.
    pub(crate) gap: Duration,
    /// Longest time between two packets of a flow as they were sent: how late the sender was.
    pub(crate) sender_gap: Duration,
    /// Packets that never arrived.
    pub(crate) lost: usize,
}

impl Record {
    /// Gaps that end after `from` and begin before `until`, and the losses of packets that were sent
    /// between the two.
    pub(crate) fn between(&self, from: Duration, until: Duration) -> Disturbance {
        let flows = self.0.iter().map(|flow| Disturbance {
            gap: longest(flow.arrived.iter().map(|&(_, at)| at), from, until),
            sender_gap: longest(flow.sent.iter().copied(), from, until),
            lost: flow.lost(from, until),
        });
        flows.fold(Disturbance::default(), |all, one| Disturbance {
            gap: all.gap.max(one.gap),
            sender_gap: all.sender_gap.max(one.sender_gap),
            lost: all.lost + one.lost,
        })
    }
}

impl Flow {
    fn lost(&self, from: Duration, until: Duration) -> usize {
        let mut has_arrived = vec![false; self.sent.len()];
        for &(number, _) in &self.arrived {
            if let Some(slot) = has_arrived.get_mut(number) {
                *slot = true;
            }
        }
        let sent = self.sent.iter().zip(has_arrived);
        sent.filter(|(at, has_arrived)| (from..until).contains(*at) && !has_arrived)
            .count()
    }
}

/// The longest time between two of `times`, or from the last of them to `until`.
fn longest(times: impl Iterator<Item = Duration>, from: Duration, until: Duration) -> Duration {
    let mut times: Vec<Duration> = times.filter(|at| *at <= until).collect();
    times.sort_unstable();
    let last = times.last().copied();
    let within = times.windows(2).filter(|pair| pair[1] > from);
    let gaps = within.map(|pair| pair[1] - pair[0]);
    // A flow that never came back is silent until the end.
    let open = until.saturating_sub(last.unwrap_or(from));
    gaps.max().unwrap_or_default().max(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A flow that sends each 2 ms from 0 to 98, and loses these packets.
    fn flow(lost: std::ops::Range<usize>) -> Flow {
        let numbers = (0..50).filter(|number| !lost.contains(number));
        Flow {
            sent: (0..50).map(|number| ms(2 * number)).collect(),
            arrived: numbers.map(|it| (it, ms(2 * it as u64 + 1))).collect(),
        }
    }

    #[test]
    fn the_worst_flow_gives_the_gap_and_all_give_the_loss() {
        let record = Record(vec![flow(0..0), flow(10..20), flow(12..16)]);
        let found = record.between(ms(15), ms(100));
        let expected = Disturbance {
            gap: ms(22),
            sender_gap: ms(2),
            lost: 14,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn what_was_before_or_after_the_period_does_not_count() {
        let record = Record(vec![flow(5..10), flow(40..45)]);
        let found = record.between(ms(30), ms(70));
        assert_eq!((found.gap, found.lost), (ms(2), 0));
    }

    #[test]
    fn a_flow_that_does_not_come_back_is_silent_until_the_end() {
        let record = Record(vec![flow(25..50)]);
        let found = record.between(ms(40), ms(90));
        assert_eq!((found.gap, found.lost), (ms(41), 20));
        assert_eq!(
            Record(vec![flow(0..50)]).between(ms(40), ms(90)).gap,
            ms(50)
        );
    }
}
