//! What the kernel says of pods' links: the second proof.

use std::io;
use std::path::Path;

use cni::agent::{Attachment, NetnsId};
use dataplane::attachment::{Owner, Pair, verify};
use dataplane::netns::Netns;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use crate::error::Error;

/// The port to the kernel for attachments. Adapter: [`KernelWires`].
pub trait Wires: Send + Sync {
    /// Whether the Forwarder's end of an attachment is there.
    ///
    /// # Errors
    /// [`Error::Kernel`] when that cannot be told.
    fn is_wired(&self, attachment: &Attachment) -> Result<bool, Error>;

    /// Removes the Forwarder's end, and with it the pod's. What is absent counts as removed.
    ///
    /// # Errors
    /// [`Error::Kernel`] while it is still there, or may be.
    fn cut(&self, attachment: &Attachment) -> Result<(), Error>;

    /// What links a pod's namespace with a Forwarder's, whoever remembers it.
    ///
    /// # Errors
    /// [`Error::Kernel`] when that cannot be told.
    fn pairs(&self, pod: &Path, forwarder: &Path) -> Result<Vec<Pair>, Error>;

    /// Whether a pair is wired as an attachment is.
    ///
    /// # Errors
    /// As [`Wires::pairs`].
    fn is_whole(&self, pod: &Path, pair: &Pair, attachment: &Attachment) -> Result<bool, Error>;

    /// Whether the pod's namespace is still the one at that path.
    fn is_alive(&self, netns: &str, id: NetnsId) -> bool;
}

/// The kernel of this machine.
#[derive(Debug)]
pub struct KernelWires;

/// The Forwarder's namespace; none when it is gone, and every interface in it.
fn open(attachment: &Attachment) -> Result<Option<Netns>, Error> {
    match Netns::open_path(Path::new(&attachment.forwarder_netns)) {
        Ok(netns) => Ok(Some(netns)),
        Err(dataplane::Error::NoNamespace { .. }) => Ok(None),
        Err(dataplane::Error::System { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        Err(source) => Err(kernel_error(attachment, source)),
    }
}

fn kernel_error(attachment: &Attachment, source: dataplane::Error) -> Error {
    Error::Kernel {
        object: attachment.forwarder_interface.clone(),
        source: Box::new(source),
    }
}

fn unread(pod: &Path, source: dataplane::Error) -> Error {
    Error::Kernel {
        object: pod.display().to_string(),
        source: Box::new(source),
    }
}

impl Wires for KernelWires {
    fn is_wired(&self, attachment: &Attachment) -> Result<bool, Error> {
        let Some(netns) = open(attachment)? else {
            return Ok(false);
        };
        let found = netns.run(|| if_nametoindex(attachment.forwarder_interface.as_str()));
        match found.map_err(|source| kernel_error(attachment, source))? {
            Ok(_) => Ok(true),
            Err(Errno::ENODEV) => Ok(false),
            Err(errno) => Err(kernel_error(
                attachment,
                dataplane::Error::System {
                    action: "find",
                    object: attachment.forwarder_interface.clone(),
                    source: errno.into(),
                },
            )),
        }
    }

    fn cut(&self, attachment: &Attachment) -> Result<(), Error> {
        let Some(netns) = open(attachment)? else {
            return Ok(());
        };
        dataplane::attachment::unwire(&netns, &attachment.forwarder_interface)
            .map(drop)
            .map_err(|source| kernel_error(attachment, source))
    }

    fn pairs(&self, pod: &Path, forwarder: &Path) -> Result<Vec<Pair>, Error> {
        let pairs = || {
            let (pod, forwarder) = (Netns::open_path(pod)?, Netns::open_path(forwarder)?);
            dataplane::attachment::pairs(&pod, &forwarder)
        };
        pairs().map_err(|source| unread(pod, source))
    }

    fn is_whole(&self, pod: &Path, pair: &Pair, attachment: &Attachment) -> Result<bool, Error> {
        let whole = dataplane::attachment::Attachment {
            pod_interface: pair.pod_interface.clone(),
            forwarder_interface: pair.forwarder_interface.clone(),
            pod_mac: pair.pod_mac,
            forwarder_mac: pair.forwarder_mac,
            addresses: attachment.addresses.clone(),
            gateways: attachment.gateways.clone(),
            routes: attachment.routes.clone(),
            mtu: attachment.mtu,
            alias: pair.forwarder_alias.clone(),
            owner: Owner {
                alias: pair.pod_alias.clone(),
                interface: pair.pod_interface.clone(),
                interface_prefix: String::new(),
            },
        };
        let differences = || {
            let forwarder = Netns::open_path(Path::new(&attachment.forwarder_netns))?;
            verify(&Netns::open_path(pod)?, &forwarder, &whole)
        };
        let differences = differences().map_err(|source| unread(pod, source))?;
        tracing::debug!(?differences, interface = pair.pod_interface, "compared");
        Ok(differences.is_empty())
    }

    fn is_alive(&self, netns: &str, id: NetnsId) -> bool {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(plain(netns))
            .is_ok_and(|found| (found.dev(), found.ino()) == (id.device, id.inode))
    }
}

/// Without the `/var` that a host has for a link and an image may lack.
fn plain(path: &str) -> &str {
    match path.strip_prefix("/var") {
        Some(rest) if rest.starts_with("/run/") => rest,
        _ => path,
    }
}

/// Whether both are the path of one namespace, as two programs spell it.
pub(crate) fn same_path(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}
