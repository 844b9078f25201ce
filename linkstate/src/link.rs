//! One link, from the evidence of both its ends.

use alloc::vec::Vec;

use topology::{ForwarderIndex, LinkIndex, Topology};

use crate::evidence::{End, Evidence};
use crate::state::State;

/// A direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the first end to the second.
    Forward,
    /// From the second end to the first.
    Backward,
}

/// Both ends of a link, each as its own node reports it; none where no report mentions it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The first end, then the second.
    pub ends: [Option<End>; 2],
}

/// Forwarders that may route over a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Usage {
    /// None.
    #[default]
    Nobody,
    /// Every Forwarder of the topology, where there is no other way: a wrong suspicion cuts off nobody.
    LastResort,
    /// Forwarders at its ends: their tables are programmed first, so that later traffic finds them.
    Ends,
    /// Every Forwarder of the topology.
    Everybody,
}

/// Weight of a suspect link: above that of 64 drained links in a row, and low enough that billions of them add up.
pub const LAST_RESORT_WEIGHT: u32 = 1 << 30;

impl Usage {
    /// Weights of a link in the graph, from its first end to its second and back; none where it is no part of it. `declared` are those
    /// of its topology.
    pub fn weights(self, declared: (u32, u32)) -> Option<(u32, u32)> {
        let (weight, back) = declared;
        match self {
            Usage::Nobody => None,
            Usage::LastResort => {
                let last = LAST_RESORT_WEIGHT;
                Some((weight.max(last), back.max(last)))
            }
            Usage::Ends | Usage::Everybody => Some(declared),
        }
    }
}

/// Evidence of two ends that contradict each other on one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// Report of the sending end.
    pub sender: Evidence,
    /// Report of the receiving end.
    pub receiver: Evidence,
}

impl Link {
    /// True while both ends report that packets pass in `direction`.
    pub fn usable(&self, direction: Direction) -> bool {
        self.weaker(direction).passes()
    }

    /// Usage of the link: that of its weaker direction, as its weaker end reports it. A link that passes packets in one direction only
    /// is used in neither (two-way check).
    pub fn usage(&self) -> Usage {
        let directions = [Direction::Forward, Direction::Backward];
        match directions
            .map(|direction| self.weaker(direction))
            .into_iter()
            .min()
        {
            Some(State::Up) => Usage::Everybody,
            Some(State::Init) => Usage::Ends,
            Some(State::Suspect) => Usage::LastResort,
            _ => Usage::Nobody,
        }
    }

    /// The contradiction of both ends on `direction`, if there is one.
    pub fn disagreement(&self, direction: Direction) -> Option<Disagreement> {
        let (sender, receiver) = self.evidence(direction);
        let (sender, receiver) = (sender?, receiver?);
        (sender.state.passes() != receiver.state.passes())
            .then_some(Disagreement { sender, receiver })
    }

    /// The evidence of the sending end and of the receiving one.
    pub fn evidence(&self, direction: Direction) -> (Option<Evidence>, Option<Evidence>) {
        let [first, second] = self.ends;
        let (from, to) = match direction {
            Direction::Forward => (first, second),
            Direction::Backward => (second, first),
        };
        (from.map(|end| end.transmit), to.map(|end| end.receive))
    }

    fn weaker(&self, direction: Direction) -> State {
        let (sender, receiver) = self.evidence(direction);
        let state = |evidence: Option<Evidence>| evidence.unwrap_or_default().state;
        state(sender).min(state(receiver))
    }
}

/// The state of a link, from what both its ends report in any form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<E> {
    /// Both ends report it up.
    Usable,
    /// An end reports it down: the position of the first such end, and its report.
    Down(usize, E),
    /// No end reports it down, and not both report it up.
    Unreported,
}

/// The verdict on a link with these reports of its first and its second end.
pub fn verdict<E>(ends: [Option<E>; 2], is_up: impl Fn(&E) -> bool) -> Verdict<E> {
    let mut up = 0;
    for (position, end) in ends.into_iter().enumerate() {
        match end {
            Some(end) if !is_up(&end) => return Verdict::Down(position, end),
            Some(_) => up += 1,
            None => {}
        }
    }
    match up {
        2 => Verdict::Usable,
        _ => Verdict::Unreported,
    }
}

/// The links of `topology` that no node uses: those that are not reported up from both ends. `is_up` is the report of one Forwarder
/// on its end of the link with this id; none where it reports nothing.
pub fn down_links(
    topology: &Topology,
    is_up: impl Fn(ForwarderIndex, &str) -> Option<bool>,
) -> Vec<LinkIndex> {
    let is_usable = |link: &LinkIndex| {
        let declared = &topology.links()[link.position()];
        let id = topology.link_id(*link);
        let ends = [declared.a, declared.b].map(|end| is_up(end, &id));
        verdict(ends, |up| *up) == Verdict::Usable
    };
    let count = u32::try_from(topology.links().len()).unwrap_or(u32::MAX);
    let links = (0..count).map(LinkIndex);
    links.filter(|link| !is_usable(link)).collect()
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use alloc::vec;

    use topology::LinkSpec;

    use super::*;
    use crate::state::Reason;

    fn end(receive: State, transmit: State) -> Option<End> {
        let evidence = |state| Evidence {
            state,
            since: 7,
            reason: Reason::None,
            diagnostic: 0,
        };
        Some(End {
            receive: evidence(receive),
            transmit: evidence(transmit),
            mtu: 0,
        })
    }

    #[test]
    fn a_direction_is_usable_only_while_both_its_ends_pass_packets() {
        use State::{AdminDown, Down, Init, Suspect, Up};
        #[rustfmt::skip]
        let cases = [
            // first: receive, transmit   second: receive, transmit   forward  backward  usage
            (end(Up, Up),                 end(Up, Up),                true,    true,     Usage::Everybody),
            (end(Up, Up),                 end(Init, Init),            true,    true,     Usage::Ends),
            (end(Init, Init),             end(Init, Init),            true,    true,     Usage::Ends),
            (end(Up, Up),                 end(Down, Down),            false,   false,    Usage::Nobody),
            (end(Up, Up),                 end(AdminDown, AdminDown),  false,   false,    Usage::Nobody),
            (end(Down, Up),               end(Up, Up),                true,    false,    Usage::Nobody),
            (end(Up, Up),                 end(Down, Up),              false,   true,     Usage::Nobody),
            (end(Suspect, Init),          end(Up, Up),                true,    false,    Usage::LastResort),
            (end(Up, Up),                 end(Init, Suspect),         true,    false,    Usage::LastResort),
            (end(Suspect, Suspect),       end(Up, Down),              false,   false,    Usage::Nobody),
            (end(Up, Up),                 None,                       false,   false,    Usage::Nobody),
            (None,                        None,                       false,   false,    Usage::Nobody),
        ];
        for (first, second, forward, backward, usage) in cases {
            let link = Link {
                ends: [first, second],
            };
            assert_eq!(link.usable(Direction::Forward), forward, "{link:?}");
            assert_eq!(link.usable(Direction::Backward), backward, "{link:?}");
            assert_eq!(link.usage(), usage, "{link:?}");
        }
    }

    #[test]
    fn a_disagreement_of_the_ends_is_kept_with_both_observers() {
        let link = Link {
            ends: [end(State::Up, State::Up), end(State::Down, State::Up)],
        };
        let found = link.disagreement(Direction::Forward).unwrap();
        assert_eq!(
            (found.sender.state, found.receiver.state),
            (State::Up, State::Down)
        );
        assert_eq!(found.receiver.since, 7);
        assert_eq!(link.disagreement(Direction::Backward), None);
        let unreported = Link {
            ends: [end(State::Up, State::Up), None],
        };
        assert_eq!(
            unreported.disagreement(Direction::Forward),
            None,
            "silence is no evidence"
        );
    }

    #[test]
    fn a_link_without_two_reports_of_up_is_down() {
        let name = |name: &str| name.to_string();
        let spec = |a, b| LinkSpec {
            a: name(a),
            b: name(b),
            weight: 1,
            weight_back: 1,
        };
        let topology = Topology::new(
            vec![name("a"), name("b"), name("c")],
            vec![spec("a", "b"), spec("b", "c"), spec("a", "c")],
            vec![],
        )
        .unwrap();
        let is_up = |forwarder: ForwarderIndex, id: &str| {
            let at = topology.forwarders()[forwarder.position()].as_str();
            match (at, id) {
                ("a" | "b", "a/b") | ("b", "b/c") => Some(true),
                ("c", "b/c") => Some(false),
                ("a", "a/c") => Some(true),
                _ => None,
            }
        };
        let down = down_links(&topology, is_up);
        let ids: Vec<String> = down.iter().map(|link| topology.link_id(*link)).collect();
        assert_eq!(ids, ["a/c", "b/c"]);
        assert_eq!(
            verdict([Some(true), Some(false)], |up| *up),
            Verdict::Down(1, false)
        );
        assert_eq!(verdict([Some(true), None], |up| *up), Verdict::Unreported);
    }
}
