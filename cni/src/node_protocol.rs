//! The protocol between the plugin and the node: one JSON line each way over a unix stream socket.
//!
//! A connection carries any number of exchanges, one after the other. Every line is
//! `{"version": 1, "body": ...}`; unknown fields are ignored, so that adjacent versions interoperate.
//!
//! ```text
//! ADD    Claim -> Claimed, (wire) Confirm -> Done     Abort -> Done when wiring failed
//! DEL    (unwire) Release -> Released
//! CHECK  Check -> Lease | NoLease      GC  Collect -> Released      STATUS  Status -> Status
//! ```
//!
//! # Guarantees asked of the node
//! - `Claim` writes the intent to its journal before it answers. The same key claimed again before
//!   it was confirmed gets the same attachments; after it was confirmed, `Refused` with
//!   [`code::ALREADY_ATTACHED`].
//! - A connection that ends between `Claimed` and `Confirm` means that the plugin died. The lease is
//!   then unconfirmed: a new `Claim` of the key takes it over, `Abort`, `Release` and `Collect` free
//!   it, and the node may free it by itself, but never after a later connection has claimed the key.
//!   A `Claim` may be read after its plugin died and a retry claimed: it must not displace that.
//! - `Confirm`, `Abort` and `Release` may be repeated; the release of an absent lease is `Released([])`.
//! - `Release` removes what the kernel still shows before the address is free again.
//! - `TryLater` while the node cannot decide; `NotOurs` only for certain, or for pods that
//!   were known not to be ours ([`crate::known`]).

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Version of this protocol; both sides refuse another one.
pub const PROTOCOL: u32 = 1;

/// Default socket of the node, when the network configuration has no `socket`.
pub const DEFAULT_SOCKET: &str = "/run/beemesh/cni.sock";

/// The plugin's durable state unless the network configuration's `stateDir` says otherwise.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/beemesh/cni";

/// Longest line in bytes that either side reads; 10,000 valid attachments take about 1.5 MB.
pub const MAX_LINE_BYTES: usize = 4 << 20;

/// Codes of [`Reply::Refused`]; they become the code of the CNI error (`cni/src/error.rs`).
pub mod code {
    /// No topology takes this pod.
    pub const NO_TOPOLOGY: u32 = 100;
    /// The attachment exists already and was confirmed.
    pub const ALREADY_ATTACHED: u32 = 101;
    /// The topology has no free address.
    pub const NO_ADDRESS: u32 = 102;
    /// The pod asks for a topology or forwarder that is not there or does not admit it.
    pub const NOT_ADMITTED: u32 = 103;
}

/// One attachment as the runtime names it: unique for each network, container and interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// The `name` of the network configuration.
    pub network: String,
}

/// Longest [`Key::mark`] in bytes: with its prefix it fits into an interface's alias (255 bytes).
const MAX_MARK: usize = 240;

impl Key {
    /// The name of the file of this key in a directory of keys: as good as unique, always of the same length.
    pub fn file_name(&self) -> String {
        format!("{:016x}.json", self.hash())
    }

    /// FNV-1a, 64 bits: stable over versions and machines. A collision costs one late release, which the runtime's GC makes good.
    fn hash(&self) -> u64 {
        let words = [&self.network, &self.container_id, &self.ifname];
        let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// The attachment in an interface's alias, `NETWORK/CONTAINER/INTERFACE`; where that is too long a hash of the key
    /// replaces network and container.
    pub fn mark(&self) -> String {
        let whole = format!("{}/{}/{}", self.network, self.container_id, self.ifname);
        match whole.len() <= MAX_MARK {
            true => whole,
            false => format!("{}/{}", self.file_name(), self.ifname),
        }
    }
}

/// The pod behind a container, from `CNI_ARGS`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`, where the runtime passes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// Identity of a network namespace: what `stat` says of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NetnsId {
    /// Device number.
    pub device: u64,
    /// Inode number; used again by the kernel once the namespace is gone.
    pub inode: u64,
}

/// Claim: the parameters of an ADD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Key of the attachment.
    pub key: Key,
    /// `CNI_NETNS`: path of the pod's namespace.
    pub netns: String,
    /// Identity of that namespace.
    pub netns_id: NetnsId,
    /// Labels from the configuration's `args.cni.labels`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations, where the runtime hands them on (`runtimeConfig`'s
    /// `io.kubernetes.cri.pod-annotations`).
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The pod, from `CNI_ARGS`.
    #[serde(default)]
    pub pod: Option<Pod>,
    /// True behind another plugin (a `prevResult` was given): interfaces are then named
    /// `bm-<topology>`, as `CNI_IFNAME` is the other plugin's.
    #[serde(default)]
    pub chained: bool,
    /// The configuration's `topology`, `NAMESPACE/NAME`: the only one that is joined then, by the
    /// interface `CNI_IFNAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<String>,
}

/// Question of the plugin to the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Reserve attachments for a pod.
    Claim(Claim),
    /// The pod is wired as claimed.
    Confirm {
        /// Key of the attachment.
        key: Key,
    },
    /// The pod could not be wired; partial links are removed.
    Abort {
        /// Key of the attachment.
        key: Key,
    },
    /// The runtime is done with the attachment.
    Release {
        /// Key of the attachment.
        key: Key,
        /// `CNI_NETNS`, if the namespace is still there.
        netns: Option<String>,
        /// The pod, from `CNI_ARGS`: what the node attached by itself goes with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pod: Option<Pod>,
    },
    /// Check of the lease of a key.
    Check {
        /// Key of the attachment.
        key: Key,
    },
    /// Free everything of `network` that is not in `valid`, and nothing else.
    Collect {
        /// Name of the network configuration.
        network: String,
        /// Attachments that the runtime still has.
        valid: Vec<Key>,
    },
    /// Could an ADD be answered?
    Status,
}

/// Answer of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// To `Claim`: wire these.
    Claimed(Vec<Attachment>),
    /// To `Claim`: no topology takes this pod.
    NotOurs,
    /// To any: the node is undecided; becomes CNI error 11.
    TryLater {
        /// Why.
        reason: String,
    },
    /// To any: no, and trying again would not help.
    Refused {
        /// One of [`code`], or another of the table in `cni/src/error.rs`.
        code: u32,
        /// Why.
        message: String,
    },
    /// To `Release` and `Collect`: freed attachments (empty without a lease).
    Released(Vec<Attachment>),
    /// To `Check`: attachments leased to the key.
    Lease(Vec<Attachment>),
    /// To `Check`: no lease of the key.
    NoLease,
    /// To `Confirm` and `Abort`.
    Done,
    /// To `Status`.
    Status {
        /// False: no pod can be attached.
        ready: bool,
        /// Reason why the node is not ready, or degraded pods.
        degraded: Option<String>,
    },
}

/// One pod wired to one Forwarder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Name of the topology.
    pub topology: String,
    /// Name of the App within it.
    pub app: String,
    /// Name of the Forwarder within it.
    pub forwarder: String,
    /// Path of the Forwarder's namespace, as the plugin can open it.
    pub forwarder_netns: String,
    /// Interface in the Forwarder's namespace.
    pub forwarder_interface: String,
    /// Interface in the pod's namespace.
    pub pod_interface: String,
    /// Address of the pod's end, `02:00:5e:10:00:01`.
    pub pod_mac: String,
    /// Address of the Forwarder's end.
    pub forwarder_mac: String,
    /// The pod's addresses, /32 or /128.
    pub addresses: Vec<IpNetwork>,
    /// The pod's gateways, one of a family: 169.254.1.1 and fe80::1.
    pub gateways: Vec<IpAddr>,
    /// Destinations that the pod reaches through the gateway of the same family.
    pub routes: Vec<IpNetwork>,
    /// MTU of both ends in bytes.
    pub mtu: u32,
    /// Alias of the Forwarder's end: `beemesh:<topology>/<app>/<pod or container>`.
    pub alias: String,
}

/// One line of the protocol.
#[derive(Serialize, Deserialize)]
struct Line<T> {
    version: u32,
    body: T,
}

/// A request or reply as one line, ended by a line feed.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let line = Line {
        version: PROTOCOL,
        body: message,
    };
    let mut bytes = serde_json::to_vec(&line).expect("messages have string keys only");
    bytes.push(b'\n');
    bytes
}

/// The request or reply in one line (with or without its line feed).
///
/// # Errors
/// `InvalidData` for input that is not JSON, of another shape, or of another protocol version.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> io::Result<T> {
    // The version is read first: the body of another version may have another shape.
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_slice(line).map_err(invalid_data)?;
    if version != PROTOCOL {
        return Err(invalid_data(format!(
            "protocol version {version}, wanted {PROTOCOL}"
        )));
    }
    serde_json::from_slice::<Line<T>>(line)
        .map(|line| line.body)
        .map_err(invalid_data)
}

/// Reads one message; `None` when the peer has closed the connection.
///
/// # Errors
/// As [`decode`], `InvalidData` for a line above [`MAX_LINE_BYTES`], `UnexpectedEof` for a line
/// that was cut, and whatever the reader says.
pub fn read<T: DeserializeOwned>(reader: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    reader
        .by_ref()
        .take(MAX_LINE_BYTES as u64)
        .read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => decode(&line).map(Some),
        Some(_) if line.len() >= MAX_LINE_BYTES => Err(invalid_data("line too long")),
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn invalid_data(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            container_id: "c1".into(),
            ifname: "eth0".into(),
            network: "mesh".into(),
        }
    }

    #[test]
    fn messages_come_back_as_they_were_sent() {
        for request in [
            Request::Status,
            Request::Confirm { key: key() },
            Request::Release {
                key: key(),
                netns: None,
                pod: None,
            },
            Request::Collect {
                network: "mesh".into(),
                valid: vec![key()],
            },
        ] {
            let line = encode(&request);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(decode::<Request>(&line).unwrap(), request);
        }
        let reply = Reply::Status {
            ready: true,
            degraded: None,
        };
        assert_eq!(
            read::<Reply>(&mut &encode(&reply)[..]).unwrap(),
            Some(reply)
        );
    }

    #[test]
    fn marks_of_two_attachments_differ_and_are_short() {
        let long = |id: &str| Key {
            container_id: id.into(),
            ifname: "e".repeat(15),
            network: "n".repeat(5000),
        };
        let mut other = key();
        other.container_id = "c2".into();
        assert_eq!(key().mark(), "mesh/c1/eth0");
        assert_ne!(key().mark(), other.mark());
        assert_ne!(long("a").mark(), long("b").mark());
        assert!(long("a").mark().len() <= MAX_MARK);
    }

    #[test]
    fn refuses_other_versions_cut_lines_and_endless_lines() {
        assert!(decode::<Request>(br#"{"version":2,"body":"status"}"#).is_err());
        let cut = read::<Request>(&mut &br#"{"version":1,"#[..]).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
        let endless = vec![b' '; MAX_LINE_BYTES + 1];
        assert!(read::<Request>(&mut &endless[..]).is_err());
        assert_eq!(read::<Request>(&mut &b""[..]).unwrap(), None);
    }

    #[test]
    fn ignores_fields_of_newer_neighbours() {
        let line = br#"{"version":1,"body":{"confirm":{"key":{"containerId":"c","ifname":"e",
            "network":"n","new":1},"more":[]}},"trace":"x"}"#;
        assert!(matches!(
            decode::<Request>(line).unwrap(),
            Request::Confirm { .. }
        ));
        let older = br#"{"version":1,"body":{"release":{"key":{"containerId":"c","ifname":"e",
            "network":"n"},"netns":null}}}"#;
        assert!(matches!(
            decode::<Request>(older).unwrap(),
            Request::Release { pod: None, .. }
        ));
    }
}
