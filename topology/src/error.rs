//! Errors of a declaration.

use alloc::string::String;

/// Error of an invalid [`crate::Topology`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// A name is empty, or holds `/` or `#`, which link ids use.
    #[error("name {name:?} is empty or holds one of `/`, `#`")]
    InvalidName {
        /// The name as given.
        name: String,
    },
    /// Two Forwarders, two Apps, or a Forwarder and an App have the same name.
    #[error("name {name:?} is used twice")]
    DuplicateName {
        /// The name as given.
        name: String,
    },
    /// A link ends at a Forwarder that is not declared.
    #[error("link {link} ends at unknown forwarder {name:?}")]
    UnknownEnd {
        /// Position of the link as given, from 0.
        link: usize,
        /// The unknown name.
        name: String,
    },
    /// An App is attached to a Forwarder that is not declared.
    #[error("app {app:?} is attached to unknown forwarder {name:?}")]
    UnknownForwarder {
        /// The App.
        app: String,
        /// The unknown name.
        name: String,
    },
    /// Both ends of a link are the same Forwarder.
    #[error("link {link} joins forwarder {name:?} to itself")]
    SelfLink {
        /// Position of the link as given, from 0.
        link: usize,
        /// The Forwarder.
        name: String,
    },
    /// A link weighs 0 in a direction; weights are at least 1.
    #[error("link {link} between {a:?} and {b:?} has weight 0, expected at least 1")]
    ZeroWeight {
        /// Position of the link as given, from 0.
        link: usize,
        /// One end.
        a: String,
        /// The other end.
        b: String,
    },
    /// An attachment weighs 0; weights are at least 1.
    #[error("app {app:?} has weight 0 on forwarder {forwarder:?}, expected at least 1")]
    ZeroAppWeight {
        /// The App.
        app: String,
        /// The Forwarder.
        forwarder: String,
    },
    /// A directed graph has an edge without one in the other direction.
    #[error("edge from {from:?} to {to:?} has no edge back, and links have both directions")]
    OneWay {
        /// Start of the edge.
        from: String,
        /// End of the edge.
        to: String,
    },
    /// More Forwarders, links or Apps than 31 bits count.
    #[error("too many {what}: {count}")]
    TooMany {
        /// Kind of the items.
        what: &'static str,
        /// Number of the items.
        count: usize,
    },
}
