//! Links of pods in the kernel: their absence is the second proof that an address is free.

use std::io;
use std::path::Path;

use cni::node_protocol::{Attachment, NetnsId};
use dataplane::attachment::{Pair, unwire, verify};
use dataplane::netns::Netns;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use crate::attach::leases::Lease;
use crate::error::Error;

/// Port to the kernel for attachments. Adapter: [`KernelPodWiring`].
pub trait PodWiring: Send + Sync {
    /// True when the Forwarder's end of an attachment exists.
    ///
    /// # Errors
    /// [`Error::Kernel`] when the kernel cannot be observed.
    fn is_wired(&self, attachment: &Attachment) -> Result<bool, Error>;

    /// Removes both ends of an attachment of `lease`: the Forwarder's, and the pod's where that
    /// belongs to another pair, as when the Forwarder's namespace lost its name. An absent end
    /// counts as removed.
    ///
    /// # Errors
    /// [`Error::Kernel`] while an end exists, or may exist.
    fn cut(&self, lease: &Lease, attachment: &Attachment) -> Result<(), Error>;

    /// Restores routes and neighbours that the pod's end of an attachment of `lease` lost while it
    /// was down.
    ///
    /// # Errors
    /// [`Error::Kernel`] when the kernel refuses a change.
    fn restore(&self, lease: &Lease, attachment: &Attachment) -> Result<(), Error>;

    /// Veth pairs between a pod's namespace and a Forwarder's, with or without a lease.
    ///
    /// # Errors
    /// [`Error::Kernel`] when the kernel cannot be observed.
    fn pairs(&self, pod: &Path, forwarder: &Path) -> Result<Vec<Pair>, Error>;

    /// True when a pair is wired as its attachment demands.
    ///
    /// # Errors
    /// As [`PodWiring::pairs`].
    fn is_whole(&self, pod: &Path, pair: &Pair, attachment: &Attachment) -> Result<bool, Error>;

    /// True when the namespace at the path is still the pod's.
    fn is_alive(&self, netns: &str, id: NetnsId) -> bool;
}

/// The kernel of this machine.
#[derive(Debug)]
pub struct KernelPodWiring;

/// Forwarder's namespace; `None` when it was deleted, with every interface in it.
fn open(attachment: &Attachment) -> Result<Option<Netns>, Error> {
    match Netns::open_path(Path::new(&attachment.forwarder_netns)) {
        Ok(netns) => Ok(Some(netns)),
        Err(source) if is_gone(&source) => Ok(None),
        Err(source) => Err(kernel_error(attachment, source)),
    }
}

/// Interface alias of the pod's ends of a lease.
fn owner(lease: &Lease) -> String {
    format!("{}{}", dataplane::ALIAS_PREFIX, lease.key.mark())
}

/// Pod link of a lease's attachment, for the dataplane.
fn end(lease: &Lease, of: &Attachment) -> Result<dataplane::attachment::PodLink, dataplane::Error> {
    let mac = |text: &str| {
        let reason = "the MAC address of a lease";
        dataplane::mac::parse(text).ok_or(dataplane::Error::Malformed { reason })
    };
    Ok(dataplane::attachment::PodLink {
        pod_interface: of.pod_interface.clone(),
        forwarder_interface: of.forwarder_interface.clone(),
        pod_mac: mac(&of.pod_mac)?,
        forwarder_mac: mac(&of.forwarder_mac)?,
        addresses: of.addresses.clone(),
        gateways: of.gateways.clone(),
        routes: of.routes.clone(),
        mtu: of.mtu,
        alias: of.alias.clone(),
        owner: owner(lease),
    })
}

/// True when there is no network namespace at a path.
fn is_gone(error: &dataplane::Error) -> bool {
    match error {
        dataplane::Error::NoNamespace { .. } | dataplane::Error::NotNamespace { .. } => true,
        dataplane::Error::System { source, .. } => source.kind() == io::ErrorKind::NotFound,
        _ => false,
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

impl PodWiring for KernelPodWiring {
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

    fn cut(&self, lease: &Lease, attachment: &Attachment) -> Result<(), Error> {
        let failed = |source| kernel_error(attachment, source);
        if let Some(netns) = open(attachment)? {
            let (name, alias) = (&attachment.forwarder_interface, &attachment.alias);
            unwire(&netns, name, alias).map_err(failed)?;
        }
        if !self.is_alive(&lease.netns, lease.netns_id) {
            return Ok(());
        }
        let pod = match Netns::open_path(Path::new(plain(&lease.netns))) {
            Err(error) if is_gone(&error) => return Ok(()),
            pod => pod.map_err(failed)?,
        };
        let owner = owner(lease);
        match unwire(&pod, &attachment.pod_interface, &owner) {
            // End of another attachment, or the pod's own interface.
            Err(dataplane::Error::Foreign { .. }) => Ok(()),
            result => result.map(drop).map_err(failed),
        }
    }

    fn restore(&self, lease: &Lease, attachment: &Attachment) -> Result<(), Error> {
        if !self.is_alive(&lease.netns, lease.netns_id) {
            return Ok(());
        }
        let restore = || {
            let pod = Netns::open_path(Path::new(plain(&lease.netns)))?;
            dataplane::attachment::restore(&pod, &end(lease, attachment)?)
        };
        match restore() {
            Err(error) if is_gone(&error) => Ok(()),
            Err(source) => Err(kernel_error(attachment, source)),
            Ok(is_restored) => {
                if is_restored {
                    tracing::info!(pod = lease.pod, "routes of a pod's interface restored");
                }
                Ok(())
            }
        }
    }

    fn pairs(&self, pod: &Path, forwarder: &Path) -> Result<Vec<Pair>, Error> {
        let pairs = || {
            let (pod, forwarder) = (Netns::open_path(pod)?, Netns::open_path(forwarder)?);
            dataplane::attachment::pairs(&pod, &forwarder)
        };
        pairs().map_err(|source| unread(pod, source))
    }

    fn is_whole(&self, pod: &Path, pair: &Pair, attachment: &Attachment) -> Result<bool, Error> {
        let whole = dataplane::attachment::PodLink {
            pod_interface: pair.pod_interface.clone(),
            forwarder_interface: pair.forwarder_interface.clone(),
            pod_mac: pair.pod_mac,
            forwarder_mac: pair.forwarder_mac,
            addresses: attachment.addresses.clone(),
            gateways: attachment.gateways.clone(),
            routes: attachment.routes.clone(),
            mtu: attachment.mtu,
            alias: pair.forwarder_alias.clone(),
            owner: pair.pod_alias.clone(),
        };
        let differences = || {
            let forwarder = Netns::open_path(Path::new(&attachment.forwarder_netns))?;
            verify(&Netns::open_path(pod)?, &forwarder, &whole)
        };
        let differences = differences().map_err(|source| unread(pod, source))?;
        tracing::debug!(
            ?differences,
            interface = pair.pod_interface,
            "attachment compared with its lease"
        );
        Ok(differences.is_empty())
    }

    fn is_alive(&self, netns: &str, id: NetnsId) -> bool {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(plain(netns))
            .is_ok_and(|found| (found.dev(), found.ino()) == (id.device, id.inode))
    }
}

/// Path without the `/var` that is a symbolic link on hosts and may be absent in images.
fn plain(path: &str) -> &str {
    match path.strip_prefix("/var") {
        Some(rest) if rest.starts_with("/run/") => rest,
        _ => path,
    }
}

/// True when both paths name the same namespace, apart from a `/var` prefix.
pub(crate) fn same_path(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}
