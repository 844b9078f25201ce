//! A pod's namespace and attachments, in the dataplane's words.

use std::error::Error as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cni::agent::{self, Key, NetnsId};
use cni::error::{Code, Error};
use dataplane::attachment::{Attachment, Owner};
use dataplane::mac::Mac;
use dataplane::netns::Netns;

/// How the node names the pod's ends when another plugin made `CNI_IFNAME`.
pub(crate) const CHAINED_PREFIX: &str = "bm-";

/// Above this, the network's name in an alias gives way to a hash (the kernel keeps 255 bytes).
const MAX_NETWORK_NAME: usize = 200;

/// Opens a pod's namespace.
///
/// # Errors
/// [`Code::UnknownContainer`] when it is not there, [`Code::InvalidEnvironment`] when `path` is
/// no network namespace of a container.
pub(crate) fn open(path: &Path) -> Result<(Netns, NetnsId), Error> {
    let netns = Netns::open_path(path).map_err(|error| {
        Error::new(
            Code::UnknownContainer,
            format!("CNI_NETNS: {}", chain(&error)),
        )
    })?;
    let invalid = |problem: &str| {
        Error::new(
            Code::InvalidEnvironment,
            format!("CNI_NETNS {}: {problem}", path.display()),
        )
    };
    let id = identity(path).map_err(|error| invalid(&error.to_string()))?;
    let own = identity("/proc/self/ns/net").map_err(|error| invalid(&error.to_string()))?;
    match id {
        _ if id == own => Err(invalid("is the plugin's own network namespace")),
        _ if id.device != own.device => Err(invalid("is not a network namespace")),
        _ => Ok((netns, id)),
    }
}

fn identity(path: impl AsRef<Path>) -> std::io::Result<NetnsId> {
    let metadata = fs::metadata(path)?;
    Ok(NetnsId {
        device: metadata.dev(),
        inode: metadata.ino(),
    })
}

/// Who owns the pod's ends of `key`, whatever happened to the node.
pub(crate) fn owner(key: &Key) -> Owner {
    let network = match key.network.len() {
        0..=MAX_NETWORK_NAME => key.network.clone(),
        _ => cni::queue::file_name(key),
    };
    Owner {
        alias: format!("{}{network}/{}", dataplane::ALIAS_PREFIX, key.ifname),
        interface: key.ifname.clone(),
        interface_prefix: CHAINED_PREFIX.to_owned(),
    }
}

/// The node's word for an attachment as the dataplane's.
///
/// # Errors
/// [`Code::Node`] when an address is no MAC address.
pub(crate) fn attachment(key: &Key, of: &agent::Attachment) -> Result<Attachment, Error> {
    Ok(Attachment {
        pod_interface: of.pod_interface.clone(),
        forwarder_interface: of.forwarder_interface.clone(),
        pod_mac: mac(&of.pod_mac)?,
        forwarder_mac: mac(&of.forwarder_mac)?,
        addresses: of.addresses.clone(),
        gateways: of.gateways.clone(),
        routes: of.routes.clone(),
        mtu: of.mtu,
        alias: of.alias.clone(),
        owner: owner(key),
    })
}

fn mac(text: &str) -> Result<Mac, Error> {
    let parse = || {
        let mut mac = Mac::default();
        let mut parts = text.split(':');
        for byte in &mut mac {
            *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
        }
        parts.next().is_none().then_some(mac)
    };
    parse().ok_or_else(|| Error::new(Code::Node, format!("{text:?} is no MAC address")))
}

/// What the dataplane's error means to the runtime.
pub(crate) fn wiring(error: &dataplane::Error) -> Error {
    let code = match error {
        dataplane::Error::Foreign { .. } => Code::AlreadyAttached,
        error if error.is_transient() => Code::TryAgainLater,
        _ => Code::Wiring,
    };
    Error::new(code, chain(error))
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dataplane::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mac_addresses_and_nothing_else() {
        assert_eq!(mac("02:00:5e:10:00:0A").unwrap(), [2, 0, 0x5e, 0x10, 0, 10]);
        for text in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:0a:0b",
            "02:00:5e:10:00:xx",
            "02-00",
        ] {
            assert_eq!(mac(text).unwrap_err().code, Code::Node, "{text}");
        }
    }

    #[test]
    fn aliases_stay_within_what_the_kernel_keeps() {
        for length in [1, 200, 201, 5000] {
            let network = "n".repeat(length);
            let key = Key {
                container_id: "c".into(),
                ifname: "e".repeat(15),
                network,
            };
            assert!(owner(&key).alias.len() <= 255, "{length}");
        }
    }
}
