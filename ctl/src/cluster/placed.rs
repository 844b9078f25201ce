//! Placed topology: from a file, or from the Forwarder objects of a cluster.

use super::{
    Cluster, Connection,
    declared::computed,
    stored::{Stored, is_filled},
};
use console::failure::Failure;
use console::input::{self, Declared};
use crds::forwarder::{LinkHealth, LinkState};
use crds::{Forwarder, MicroServiceTopology};
use linkstate::Impaired;
use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};
use topology::{Fault, LinkIndex, Topology};

/// `-f FILE` or `--topology NAME`, to be flattened into the arguments of a verb about two places.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Where {
    /// Topology in the cluster [default: the only one of the namespace]
    #[arg(long, value_name = "NAME", conflicts_with = "file", add = crate::cluster::candidates::topologies())]
    topology: Option<String>,
    /// YAML file with one MicroServiceTopology; `-` is stdin
    #[arg(short, long = "file", value_name = "FILE", conflicts_with_all = ["namespace", "context", "kubeconfig"])]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

/// Graph with its attachments.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// `NAMESPACE/NAME`.
    pub(crate) name: String,
    /// Kubernetes namespace of the topology.
    pub(crate) namespace: String,
    /// The graph.
    pub(crate) topology: Topology,
    /// The objects; none of a file.
    pub(crate) forwarders: Vec<Forwarder>,
    /// Links that a node reports suspect or down.
    pub(crate) impaired: Impaired,
    /// Attached pods, or instances.
    pub(crate) pods: Vec<Pod>,
    /// No more next hops of equal cost.
    pub(crate) max_paths: usize,
    nodes: BTreeMap<String, String>,
}

/// A pod that is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    /// `NAMESPACE/NAME`, or the name of an instance.
    pub(crate) name: String,
    /// The App.
    pub(crate) app: String,
    /// The Forwarder.
    pub(crate) forwarder: String,
    /// Its node; empty where there is none.
    pub(crate) node: String,
    /// Its addresses in the topology.
    pub(crate) addresses: Vec<IpAddr>,
    /// Option of `inspect` that selects it, with its value.
    pub(crate) found_by: [String; 2],
}

impl Pod {
    /// True where `name` names it in `namespace`.
    pub(crate) fn is_called(&self, name: &str, namespace: &str) -> bool {
        self.name == name
            || self
                .name
                .strip_prefix(namespace)
                .and_then(|it| it.strip_prefix('/'))
                == Some(name)
    }
}

impl Where {
    /// Reads it.
    ///
    /// # Errors
    /// As [`input::declared`]; what the cluster refuses; [`Failure::NotFound`].
    pub(crate) fn placed(&self) -> Result<Placed, Failure> {
        match &self.file {
            Some(file) => Ok(of_file(&input::declared(file)?)),
            None => Ok(self.placed_in_cluster()?.1),
        }
    }

    /// As [`Where::placed`] without a file, with the cluster for further questions.
    ///
    /// # Errors
    /// Refusals of the cluster; [`Failure::NotFound`]; [`Failure::Invalid`] where there are several
    /// and none is named.
    pub(crate) fn placed_in_cluster(&self) -> Result<(Cluster, Placed), Failure> {
        let cluster = self.connection.open()?;
        let placed = of_cluster(&cluster, &self.stored(&cluster)?)?;
        Ok((cluster, placed))
    }

    fn stored(&self, cluster: &Cluster) -> Result<Stored, Failure> {
        if let Some(name) = &self.topology {
            return cluster.topology(name);
        }
        let mut all = cluster.topologies(false)?;
        match (all.pop(), all.len()) {
            (Some(only), 0) => Ok(only),
            (None, _) => {
                let namespace = &cluster.namespace;
                Err(Failure::NotFound(format!(
                    "no topology in namespace {namespace:?}"
                )))
            }
            (Some(last), _) => {
                let names: Vec<&str> = all.iter().chain([&last]).map(Stored::name).collect();
                let message = format!("expected --topology: there are {}", names.join(", "));
                Err(Failure::Invalid(vec![message]))
            }
        }
    }
}

/// Of a declaration: instance i of an App is on Forwarder i mod n, as in a lab.
pub(crate) fn of_file(declared: &Declared) -> Placed {
    let Declared { object, topology } = declared;
    let metadata = &object.metadata;
    let nodes = object.spec.forwarders.iter().filter_map(|entry| {
        let node = entry.node.clone()?;
        Some((entry.name.clone(), node))
    });
    Placed {
        name: format!("{}/{}", metadata.namespace, metadata.name),
        namespace: metadata.namespace.clone(),
        topology: topology.clone(),
        forwarders: Vec::new(),
        impaired: Impaired::default(),
        pods: instances(object, topology),
        max_paths: object.spec.routing.max_paths as usize,
        nodes: nodes.collect(),
    }
}

/// The first instances of each App, as many as there are Forwarders.
fn instances(object: &MicroServiceTopology, topology: &Topology) -> Vec<Pod> {
    let instance = |app: &str, number: usize, forwarder: &str| Pod {
        name: format!("{app}-{number}"),
        app: app.to_owned(),
        forwarder: forwarder.to_owned(),
        node: String::new(),
        addresses: Vec::new(),
        found_by: Default::default(),
    };
    let apps = object.spec.apps.iter();
    let instances = apps.flat_map(|app| {
        let all = topology.forwarders().iter().enumerate();
        all.map(|(number, forwarder)| {
            instance(&app.name, number, app.pinned().unwrap_or(forwarder))
        })
        .collect::<Vec<_>>()
    });
    instances.collect()
}

/// Of the Forwarder objects that are filled.
///
/// # Errors
/// Refusals of the server; objects that are no topology.
fn of_cluster(cluster: &Cluster, stored: &Stored) -> Result<Placed, Failure> {
    let objects = cluster.forwarders(stored)?;
    let filled = objects.iter().filter(|object| is_filled(object));
    let forwarders: Vec<Forwarder> = filled.map(Forwarder::from).collect();
    let topology = computed(stored, &forwarders)?;
    Ok(of_forwarders(
        stored.namespace(),
        stored.name(),
        topology,
        forwarders,
    ))
}

/// Of Forwarders, which `topology` is the graph of, with what their nodes report.
pub(crate) fn of_forwarders(
    namespace: &str,
    name: &str,
    topology: Topology,
    forwarders: Vec<Forwarder>,
) -> Placed {
    let states = || forwarders.iter().flat_map(|it| &it.status.link_states);
    let mut impaired = Impaired::default();
    for link in (0..topology.links().len() as u32).map(LinkIndex) {
        let id = topology.link_id(link);
        let of_link = states().filter(|state| state.id == id);
        match of_link.map(LinkState::health).min() {
            Some(LinkHealth::Down) => impaired.down.push(link),
            Some(LinkHealth::Suspect) => impaired.suspect.push(link),
            Some(LinkHealth::Up) | None => {}
        }
    }
    let node = |it: &Forwarder| (it.spec.name.clone(), it.spec.node.clone());
    Placed {
        name: format!("{namespace}/{name}"),
        namespace: namespace.to_owned(),
        impaired,
        pods: pods(&forwarders),
        max_paths: forwarders
            .first()
            .map_or(1, |it| it.spec.routing.max_paths as usize),
        nodes: forwarders.iter().map(node).collect(),
        topology,
        forwarders,
    }
}

/// The pods that Forwarders report.
pub(crate) fn pods(forwarders: &[Forwarder]) -> Vec<Pod> {
    let of = |forwarder: &Forwarder| {
        let (name, node) = (forwarder.spec.name.clone(), forwarder.spec.node.clone());
        let attachments = forwarder.status.attachments.clone().into_iter();
        let named = attachments.filter(|attachment| !attachment.pod.is_empty());
        named.map(move |attachment| Pod {
            found_by: ["--pod".to_owned(), attachment.pod.clone()],
            name: attachment.pod,
            app: attachment.app,
            forwarder: name.clone(),
            node: node.clone(),
            addresses: attachment
                .addresses
                .iter()
                .map(ipnetwork::IpNetwork::ip)
                .collect(),
        })
    };
    forwarders.iter().flat_map(of).collect()
}

impl Placed {
    /// Without what `faults` take out.
    pub(crate) fn without(self, faults: &[Fault]) -> Self {
        let topology = self.topology.without(faults);
        let still_there = |link: &LinkIndex| topology.link(&self.topology.link_id(*link));
        let still_there = |links: &[LinkIndex]| links.iter().filter_map(still_there).collect();
        let impaired = Impaired {
            suspect: still_there(&self.impaired.suspect),
            down: still_there(&self.impaired.down),
        };
        Self {
            impaired,
            topology,
            ..self
        }
    }

    /// The node of a Forwarder; empty where it has none.
    pub(crate) fn node_of(&self, forwarder: &str) -> String {
        self.nodes.get(forwarder).cloned().unwrap_or_default()
    }

    /// A Forwarder's own addresses: the first host of each of its blocks.
    pub(crate) fn addresses_of(&self, forwarder: &str) -> Vec<IpAddr> {
        let found = self.forwarders.iter().find(|it| it.spec.name == forwarder);
        let blocks = found
            .map(|it| it.spec.blocks.as_slice())
            .unwrap_or_default();
        blocks
            .iter()
            .copied()
            .map(crds::cidr::router_address)
            .collect()
    }

    /// Ids of these links.
    pub(crate) fn ids(&self, links: &[LinkIndex]) -> Vec<String> {
        let ids = links.iter().map(|link| self.topology.link_id(*link));
        ids.collect()
    }
}
