//! Synchronisation state of a peer on one connection: sent and unsent reports. Pure.

use super::message::Message;
use crate::routing::link_state::{LinkStates, LocalChange};

/// Progress of one connection.
#[derive(Debug, Default)]
pub(super) struct PeerState {
    /// Generation of own reports that was sent.
    generation: u64,
    is_whole: bool,
}

impl PeerState {
    /// Messages that are due, and recorded as sent.
    pub(super) fn catch_up(&mut self, link_states: &LinkStates) -> Vec<Message> {
        let catchup = link_states.since(self.generation, !self.is_whole);
        let message = |change| match change {
            LocalChange::Report(report) => Message::Report((*report).clone()),
            LocalChange::Withdrawn {
                forwarder,
                sequence,
            } => Message::Withdrawn {
                forwarder,
                sequence,
            },
        };
        self.generation = catchup.generation;
        let mut messages: Vec<Message> = catchup.changes.into_iter().map(message).collect();
        if let Some(pending) = catchup.pending {
            self.is_whole = true;
            messages.push(Message::Whole { pending });
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use linkstate::{Reason, State};

    use super::*;
    use crate::routing::link_state::Owners;

    /// Messages as a line: `a1` for a report, `-a` for a withdrawal, `=[a]` for the end of the
    /// synchronisation.
    fn line(messages: Vec<Message>) -> String {
        let word = |message| match message {
            Message::Report(report) => format!("{}{}", report.forwarder, report.sequence.number),
            Message::Withdrawn { forwarder, .. } => format!("-{forwarder}"),
            Message::Whole { pending } => format!("={}", Vec::from_iter(pending).join(",")),
            other => panic!("{other:?}"),
        };
        messages.into_iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn everything_is_sent_once_then_each_change() {
        let link_states = LinkStates::new("n1", Vec::new(), 7);
        let own = |names: &[&str], is_complete| {
            let owner = |name: &&str| ((*name).to_owned(), "n1".to_owned());
            link_states.set_owners(Owners {
                node_by_forwarder: names.iter().map(owner).collect(),
                is_complete,
            });
        };
        let report = |name: &str, state| {
            let ends = BTreeMap::from([("x/y".to_owned(), (state, Reason::None))]);
            link_states.publish(name, &ends, 0, 0).unwrap();
        };
        let mut state = PeerState::default();
        let mut sent = || line(state.catch_up(&link_states));
        assert_eq!(sent(), "");
        own(&["a"], false);
        report("a", State::Up);
        assert_eq!(
            sent(),
            "a1",
            "not the whole while Forwarders may be missing"
        );
        assert_eq!(sent(), "");
        report("a", State::Up);
        assert_eq!(sent(), "", "nothing new");
        own(&["a", "b", "c"], true);
        report("b", State::Up);
        assert_eq!(sent(), "b2 =c");
        report("a", State::Down);
        report("b", State::Down);
        report("a", State::Up);
        assert_eq!(sent(), "b4 a5", "of each the last");
        own(&["a", "c"], true);
        assert_eq!(sent(), "-b");
        report("c", State::Up);
        own(&[], true);
        assert_eq!(sent(), "-a -c");
        let mut another = PeerState::default();
        let all = line(another.catch_up(&link_states));
        assert_eq!(all, "=", "nothing is left");
    }
}
