//! Every error that the plugin answers with, in one table.
//!
//! | code | name | when | should the runtime try again? |
//! |---|---|---|---|
//! | 1 | [`Code::IncompatibleVersion`] | `cniVersion` is unsupported, or too old for the verb | no |
//! | 2 | [`Code::UnsupportedField`] | the configuration delegates to an IPAM plugin, or asks for an IP or MAC address | no |
//! | 3 | [`Code::UnknownContainer`] | the namespace of `CNI_NETNS` is not there; no DEL is needed | no |
//! | 4 | [`Code::InvalidEnvironment`] | a `CNI_` variable is missing or malformed | no |
//! | 5 | [`Code::Io`] | stdin, stdout or the state directory failed | perhaps |
//! | 6 | [`Code::Decode`] | stdin is not JSON, or too large | no |
//! | 7 | [`Code::InvalidConfig`] | the JSON is not a network configuration that we can use | no |
//! | 11 | [`Code::TryAgainLater`] | the node does not answer, is busy, or is undecided | yes |
//! | 50 | [`Code::NotAvailable`] | STATUS: no ADD can be answered, not even of a pod that is not ours | yes |
//! | 100 | [`Code::NoTopology`] | no topology takes this pod, and no other plugin goes before us | no |
//! | 101 | [`Code::AlreadyAttached`] | the interface name is taken, or the attachment exists | no |
//! | 102 | [`Code::NoAddress`] | the topology has no free address | when pods have gone |
//! | 103 | [`Code::NotAdmitted`] | the pod asks for a topology that does not admit it or is not there, or has no forwarder on its node | when it is |
//! | 104 | [`Code::Differs`] | CHECK: result, kernel and lease differ; each difference is named | no |
//! | 105 | [`Code::Wiring`] | the kernel refused to wire the pod | perhaps |
//! | 106 | [`Code::Node`] | the node's answer could not be used | no |
//!
//! Codes 1 to 99 are those of the CNI specification 1.1 (section 3 and "Error"); from 100 on ours.

use std::fmt::Display;

use cni_plugin::reply::ErrorReply;

use crate::version::Version;

/// The code of an error; also the plugin's exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Code {
    /// `cniVersion` is unsupported, or too old for the verb.
    IncompatibleVersion = 1,
    /// A field that we would have to act on and cannot.
    UnsupportedField = 2,
    /// The container's namespace is not there.
    UnknownContainer = 3,
    /// A `CNI_` variable is missing or malformed.
    InvalidEnvironment = 4,
    /// A file or stream failed.
    Io = 5,
    /// Input is not JSON.
    Decode = 6,
    /// The configuration does not hold together.
    InvalidConfig = 7,
    /// A transient condition.
    TryAgainLater = 11,
    /// No ADD can be answered.
    NotAvailable = 50,
    /// No topology takes this pod.
    NoTopology = 100,
    /// The interface or attachment exists.
    AlreadyAttached = 101,
    /// No address is free.
    NoAddress = 102,
    /// The topology does not admit the pod.
    NotAdmitted = 103,
    /// CHECK found differences.
    Differs = 104,
    /// The kernel refused.
    Wiring = 105,
    /// The node's answer could not be used.
    Node = 106,
}

impl Code {
    /// Every code, in order.
    #[rustfmt::skip]
    pub const ALL: [Self; 16] = [
        Self::IncompatibleVersion, Self::UnsupportedField, Self::UnknownContainer,
        Self::InvalidEnvironment, Self::Io, Self::Decode, Self::InvalidConfig, Self::TryAgainLater,
        Self::NotAvailable, Self::NoTopology, Self::AlreadyAttached, Self::NoAddress,
        Self::NotAdmitted, Self::Differs, Self::Wiring, Self::Node,
    ];

    /// The number on the wire.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The code that the node refused with; [`Code::Node`] when the table has none of that number.
    pub fn refused(number: u32) -> Self {
        let known = Self::ALL
            .into_iter()
            .find(|code| u32::from(code.number()) == number);
        known.unwrap_or(Self::Node)
    }

    /// The short message: the same for every error of this code.
    pub fn message(self) -> &'static str {
        match self {
            Self::IncompatibleVersion => "incompatible CNI version",
            Self::UnsupportedField => "unsupported field in network configuration",
            Self::UnknownContainer => "container unknown or does not exist",
            Self::InvalidEnvironment => "invalid environment variable",
            Self::Io => "failed to read or write",
            Self::Decode => "failed to decode network configuration",
            Self::InvalidConfig => "invalid network configuration",
            Self::TryAgainLater => "try again later",
            Self::NotAvailable => "plugin is not available",
            Self::NoTopology => "no topology takes this pod",
            Self::AlreadyAttached => "already attached",
            Self::NoAddress => "no free address",
            Self::NotAdmitted => "not admitted to the topology",
            Self::Differs => "attachment differs from what was set up",
            Self::Wiring => "failed to wire the pod",
            Self::Node => "failed to understand the node",
        }
    }
}

/// An error with the facts of this case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {details}", code.message())]
pub struct Error {
    /// Error code (CNI 1.1, section 5).
    pub code: Code,
    /// Details.
    pub details: String,
}

impl Error {
    /// An error of `code` about `details`.
    pub fn new(code: Code, details: impl Display) -> Self {
        Self {
            code,
            details: details.to_string(),
        }
    }

    /// True when the same call may succeed later with nothing changed by the user.
    pub fn is_transient(&self) -> bool {
        matches!(self.code, Code::TryAgainLater | Code::NotAvailable)
    }

    /// The error object of the CNI specification, as JSON for stdout.
    pub fn to_json(&self, version: Version) -> Vec<u8> {
        let reply = ErrorReply {
            cni_version: version.semver(),
            code: i32::from(self.code.number()),
            msg: self.code.message(),
            details: self.details.clone(),
        };
        serde_json::to_vec(&reply).expect("an error reply has string keys only")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_documentation_is_the_table_in_the_code() {
        let source = include_str!("error.rs");
        for code in Code::ALL {
            let row = format!("//! | {} | [`Code::{code:?}`] |", code.number());
            assert!(source.contains(&row), "{row}");
            assert_eq!(Code::refused(code.number().into()), code);
        }
        assert_eq!(Code::refused(4711), Code::Node);
    }

    #[test]
    fn error_objects_carry_version_code_message_and_details() {
        let json = Error::new(Code::TryAgainLater, "no node").to_json(Version::V0_4_0);
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let expected = serde_json::json!({"cniVersion": "0.4.0", "code": 11,
            "msg": "try again later", "details": "no node"});
        assert_eq!(value, expected);
    }
}
