//! One link, from the evidence of both its ends.

use alloc::vec::Vec;

use topology::{Change, ForwarderIndex, LinkIndex, Topology};

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

    /// The end whose report on `direction` is the lower one, by its position, and its evidence; of equal ones the receiving end, which
    /// is the witness.
    pub fn weakest(&self, direction: Direction) -> (usize, Option<Evidence>) {
        let (sender, receiver) = self.evidence(direction);
        let (from, to) = match direction {
            Direction::Forward => (0, 1),
            Direction::Backward => (1, 0),
        };
        let state = |evidence: Option<Evidence>| evidence.unwrap_or_default().state;
        match state(sender) < state(receiver) {
            true => (from, sender),
            false => (to, receiver),
        }
    }

    fn weaker(&self, direction: Direction) -> State {
        let (_, evidence) = self.weakest(direction);
        evidence.unwrap_or_default().state
    }
}

/// The state of a link, from what both its ends report in any form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<E> {
    /// Both ends report it up.
    Usable,
    /// No end reports it down, and one suspects it: the position of the first such end, and its report.
    Suspect(usize, E),
    /// An end reports it down: the position of the first such end, and its report.
    Down(usize, E),
    /// No end reports it down, and not both report on it.
    Unreported,
}

/// The verdict on a link with these reports of its first and its second end, of each of which `state` is the state.
pub fn verdict<E>(ends: [Option<E>; 2], state: impl Fn(&E) -> State) -> Verdict<E> {
    let is_whole = ends.iter().all(Option::is_some);
    let mut suspect = None;
    for (position, end) in ends.into_iter().enumerate() {
        let Some(end) = end else { continue };
        match state(&end) {
            state if state.is_down() => return Verdict::Down(position, end),
            State::Suspect => suspect = suspect.or(Some((position, end))),
            _ => {}
        }
    }
    match suspect {
        _ if !is_whole => Verdict::Unreported,
        Some((position, end)) => Verdict::Suspect(position, end),
        None => Verdict::Usable,
    }
}

/// The links of a topology that nodes do not use as declared, each in order of indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impaired {
    /// Links that are the last resort.
    pub suspect: Vec<LinkIndex>,
    /// Links that no node uses.
    pub down: Vec<LinkIndex>,
}

impl Impaired {
    /// Links of `topology` that are not reported up from both ends. `state` is the report of one Forwarder on its end of the link with
    /// this id; none where it reports nothing.
    pub fn reported(
        topology: &Topology,
        state: impl Fn(ForwarderIndex, &str) -> Option<State>,
    ) -> Impaired {
        let mut impaired = Impaired::default();
        for (index, declared) in (0..).map(LinkIndex).zip(topology.links()) {
            let id = topology.link_id(index);
            let ends = [declared.a, declared.b].map(|end| state(end, &id));
            match verdict(ends, |state| *state) {
                Verdict::Usable => {}
                Verdict::Suspect(..) => impaired.suspect.push(index),
                Verdict::Down(..) | Verdict::Unreported => impaired.down.push(index),
            }
        }
        impaired
    }

    /// True when every link is used as declared.
    pub fn is_empty(&self) -> bool {
        self.suspect.is_empty() && self.down.is_empty()
    }

    /// Changes that make the graph of `topology` the one that nodes use.
    pub fn changes(&self, topology: &Topology) -> Vec<Change> {
        let change = |link: LinkIndex, usage: Usage| {
            let declared = &topology.links()[link.position()];
            let weights = usage.weights((declared.weight, declared.weight_back));
            Change::Link { link, weights }
        };
        let down = self.down.iter().map(|link| change(*link, Usage::Nobody));
        let suspect = self.suspect.iter();
        let suspect = suspect.map(|link| change(*link, Usage::LastResort));
        down.chain(suspect).collect()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use alloc::vec;

    use topology::{Graph, LinkSpec};

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
    fn of_two_ends_that_report_alike_the_receiving_one_is_the_witness() {
        use State::{Down, Suspect, Up};
        #[rustfmt::skip]
        let cases = [
            // first: receive, transmit  second: receive, transmit  forward  backward
            (end(Suspect, Suspect),      end(Suspect, Suspect),     1,       0),
            (end(Up, Suspect),           end(Up, Up),               0,       0),
            (end(Up, Down),              end(Suspect, Suspect),     0,       1),
            (end(Suspect, Up),           None,                      1,       1),
        ];
        for (first, second, forward, backward) in cases {
            let link = Link {
                ends: [first, second],
            };
            let at = |direction| link.weakest(direction).0;
            assert_eq!(at(Direction::Forward), forward, "{link:?}");
            assert_eq!(at(Direction::Backward), backward, "{link:?}");
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
    fn a_link_that_is_suspect_is_the_last_resort_and_without_two_reports_it_is_down() {
        let name = |name: &str| name.to_string();
        let spec = |a, b| LinkSpec {
            a: name(a),
            b: name(b),
            weight: 1,
            weight_back: 1,
        };
        let topology = Topology::new(
            vec![name("a"), name("b"), name("c"), name("d")],
            vec![
                spec("a", "b"),
                spec("b", "c"),
                spec("a", "c"),
                spec("a", "d"),
                spec("c", "d"),
            ],
            vec![],
        )
        .unwrap();
        let state = |forwarder: ForwarderIndex, id: &str| {
            let at = topology.forwarders()[forwarder.position()].as_str();
            match (at, id) {
                ("a" | "b", "a/b") | ("b", "b/c") | ("a", "a/c" | "a/d") | ("c", "c/d") => {
                    Some(State::Up)
                }
                ("c", "b/c") => Some(State::Down),
                ("d", "a/d" | "c/d") => Some(State::Suspect),
                _ => None,
            }
        };
        let impaired = Impaired::reported(&topology, state);
        let ids = |links: &[LinkIndex]| -> Vec<String> {
            links.iter().map(|link| topology.link_id(*link)).collect()
        };
        assert_eq!(ids(&impaired.down), ["a/c", "b/c"]);
        assert_eq!(ids(&impaired.suspect), ["a/d", "c/d"]);
        let mut graph = Graph::new(&topology);
        for change in impaired.changes(&topology) {
            graph.change(change);
        }
        let weights = |id| graph.weights(topology.link(id).unwrap());
        assert_eq!(weights("a/b"), Some((1, 1)));
        assert_eq!(weights("b/c"), None);
        assert_eq!(
            weights("a/d"),
            Some((LAST_RESORT_WEIGHT, LAST_RESORT_WEIGHT))
        );
        let heavy = Usage::LastResort.weights((u32::MAX, 1));
        assert_eq!(heavy, Some((u32::MAX, LAST_RESORT_WEIGHT)), "as declared");
    }

    #[test]
    fn the_worst_report_of_both_ends_counts() {
        use State::{Down, Suspect, Up};
        #[rustfmt::skip]
        let cases = [
            // ends                         verdict
            ([Some(Up), Some(Up)],          Verdict::Usable),
            ([Some(Up), Some(Down)],        Verdict::Down(1, Down)),
            ([Some(Suspect), Some(Down)],   Verdict::Down(1, Down)),
            ([Some(Up), Some(Suspect)],     Verdict::Suspect(1, Suspect)),
            ([Some(Suspect), Some(Suspect)], Verdict::Suspect(0, Suspect)),
            ([Some(Suspect), None],         Verdict::Unreported),
            ([None, Some(Down)],            Verdict::Down(1, Down)),
            ([Some(Up), None],              Verdict::Unreported),
        ];
        for (ends, expected) in cases {
            assert_eq!(verdict(ends, |state| *state), expected, "{ends:?}");
        }
    }
}
