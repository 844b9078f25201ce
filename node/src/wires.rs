//! What the kernel says of pods' links: the second proof.

use std::io;
use std::path::Path;

use cni::agent::{Attachment, NetnsId};
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
