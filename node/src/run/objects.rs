//! Adapters of the object source.

use std::sync::Arc;

use crate::config::{Config, Origin};
use crate::error::Error;
use crate::mailbox::Mailbox;
use crate::objects::Source;
use crate::objects::directory::Directory;
use crate::objects::kubernetes::{Health, Kubernetes};
use crate::objects::own_pod::OwnPod;
use crate::objects::pods::{NoPods, Pods};

/// Both ports to the origin of objects.
pub(super) struct Ports {
    pub(super) source: Box<dyn Source>,
    pub(super) pods: Arc<dyn Pods>,
    /// Health of the API server, where there is one.
    pub(super) health: Option<Arc<Health>>,
}

/// Opens the source of Forwarders and of this node's pods; `mailbox` receives changes.
pub(super) fn open(
    config: &Config,
    own: Option<&OwnPod>,
    mailbox: &Arc<Mailbox>,
) -> Result<Ports, Error> {
    match &config.origin {
        Origin::Directory(directory) => Ok(Ports {
            source: Box::new(Directory::open(directory)?),
            pods: Arc::new(NoPods),
            health: None,
        }),
        Origin::Kubernetes { kubeconfig } => {
            let kubeconfig = kubeconfig.as_deref();
            let mailbox = Arc::clone(mailbox);
            let (own, cache) = (own.cloned(), &config.cache_dir);
            let opened = Kubernetes::open(&config.name, own, kubeconfig, cache, mailbox)?;
            Ok(Ports {
                pods: opened.pods(),
                health: Some(opened.health()),
                source: Box::new(opened),
            })
        }
    }
}
