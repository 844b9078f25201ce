//! Readiness of each kind's watches.

use std::fmt;

/// A kind that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `MicroServiceTopology`.
    Topology,
    /// `Forwarder`.
    Forwarder,
    /// `Allocation`.
    Allocation,
    /// `VniRange`.
    VniRange,
    /// `Node`.
    Node,
    /// `Pod`.
    Pod,
    /// `Service`, of those that carry our label.
    Service,
    /// `EndpointSlice`, of those that carry our label.
    EndpointSlice,
}

/// Every kind.
pub const KINDS: [Kind; 8] = [
    Kind::Topology,
    Kind::Forwarder,
    Kind::Allocation,
    Kind::VniRange,
    Kind::Node,
    Kind::Pod,
    Kind::Service,
    Kind::EndpointSlice,
];

impl Kind {
    /// Plural name and group, as `kubectl get` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Topology => "microservicetopologies.beemesh.io",
            Kind::Forwarder => "forwarders.beemesh.io",
            Kind::Allocation => "allocations.beemesh.io",
            Kind::VniRange => "vniranges.beemesh.io",
            Kind::Node => "nodes",
            Kind::Pod => "pods",
            Kind::Service => "services",
            Kind::EndpointSlice => "endpointslices.discovery.k8s.io",
        }
    }

    /// `kind` of its objects.
    pub const fn object(self) -> &'static str {
        match self {
            Kind::Topology => crds::MicroServiceTopology::KIND,
            Kind::Forwarder => crds::Forwarder::KIND,
            Kind::Allocation => "Allocation",
            Kind::VniRange => "VniRange",
            Kind::Node => "Node",
            Kind::Pod => "Pod",
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
        }
    }

    /// True for a namespaced kind.
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Kind::Node | Kind::VniRange)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One watch: a kind, in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    /// Watched kind.
    pub(super) kind: Kind,
    /// Where; everywhere when absent.
    pub(super) namespace: Option<String>,
}

impl Source {
    /// True when the watch delivers objects of this kind and namespace.
    pub(super) fn covers(&self, kind: Kind, namespace: &str) -> bool {
        let within = self.namespace.as_deref();
        self.kind == kind && within.is_none_or(|within| within == namespace)
    }
}

/// Readiness of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The kind.
    pub kind: Kind,
    /// Listed at least once, and still served.
    pub is_ready: bool,
    /// `synced`, or the reason of the wait, with the last error.
    pub message: String,
}

/// States of all watches.
#[derive(Debug)]
pub(super) struct Watches {
    watches: Vec<Watch>,
}

#[derive(Debug)]
struct Watch {
    source: Source,
    is_listed: bool,
    /// The API server says that there is no such kind.
    is_missing: bool,
    error: Option<String>,
}

impl Watches {
    pub(super) fn new(sources: Vec<Source>) -> Watches {
        let watch = |source| Watch {
            source,
            is_listed: false,
            is_missing: false,
            error: None,
        };
        Watches {
            watches: sources.into_iter().map(watch).collect(),
        }
    }

    /// True when objects of this kind and namespace are watched.
    pub(super) fn covers(&self, kind: Kind, namespace: &str) -> bool {
        let mut watches = self.watches.iter();
        watches.any(|watch| watch.source.covers(kind, namespace))
    }

    /// Watch of objects of this kind and namespace.
    pub(super) fn source(&self, kind: Kind, namespace: &str) -> Source {
        let mut watches = self.watches.iter();
        let watch = watches.find(|watch| watch.source.covers(kind, namespace));
        let everywhere = Source {
            kind,
            namespace: None,
        };
        watch.map_or(everywhere, |watch| watch.source.clone())
    }

    /// True when objects of this kind are watched in other namespaces only.
    pub(super) fn misses(&self, kind: Kind, namespace: &str) -> bool {
        let mut watches = self.watches.iter();
        watches.any(|watch| watch.source.kind == kind) && !self.covers(kind, namespace)
    }

    /// Records an event from this watch.
    pub(super) fn heard(&mut self, source: &Source) {
        if let Some(watch) = self.find(source) {
            watch.is_missing = false;
            watch.error = None;
        }
    }

    /// The list of this watch is complete. True when it was the last one that all waited for.
    pub(super) fn listed(&mut self, source: &Source) -> bool {
        let was_complete = self.is_complete();
        if let Some(watch) = self.find(source) {
            watch.is_listed = true;
        }
        !was_complete && self.is_complete()
    }

    /// This watch failed; it is tried again.
    pub(super) fn failed(&mut self, source: &Source, is_missing: bool, error: String) {
        if let Some(watch) = self.find(source) {
            watch.is_missing = is_missing;
            watch.error = Some(error);
        }
    }

    fn is_complete(&self) -> bool {
        self.watches.iter().all(|watch| watch.is_listed)
    }

    fn find(&mut self, source: &Source) -> Option<&mut Watch> {
        self.watches
            .iter_mut()
            .find(|watch| watch.source == *source)
    }

    pub(super) fn report(&self) -> Vec<Readiness> {
        let of_kind = |kind| {
            let watches = self
                .watches
                .iter()
                .filter(move |watch| watch.source.kind == kind);
            let worst = watches
                .max_by_key(|watch| (!watch.is_listed, watch.is_missing, watch.error.is_some()))?;
            Some(Readiness {
                kind,
                is_ready: worst.is_listed && !worst.is_missing,
                message: worst.message(),
            })
        };
        KINDS.into_iter().filter_map(of_kind).collect()
    }
}

impl Watch {
    fn message(&self) -> String {
        let state = match (self.is_missing, self.is_listed) {
            (true, _) => "waiting for the kind to be served",
            (false, false) => "waiting for the first list",
            (false, true) => "synced",
        };
        match &self.error {
            Some(error) => format!("{state}; last error: {error}"),
            None => state.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(kind: Kind) -> Source {
        Source {
            kind,
            namespace: None,
        }
    }

    #[test]
    fn is_ready_only_while_listed_and_served() {
        let mut watches = Watches::new(vec![source(Kind::Node), source(Kind::Pod)]);
        let ready = |watches: &Watches| -> Vec<bool> {
            watches.report().iter().map(|kind| kind.is_ready).collect()
        };
        assert_eq!(ready(&watches), [false, false]);
        assert!(!watches.listed(&source(Kind::Node)));
        assert!(watches.listed(&source(Kind::Pod)), "the last one completes");
        assert!(!watches.listed(&source(Kind::Pod)), "once only");
        watches.failed(&source(Kind::Pod), false, "connection refused".to_owned());
        assert_eq!(
            ready(&watches),
            [true, true],
            "what is held can still be read"
        );
        watches.failed(&source(Kind::Pod), true, "404".to_owned());
        assert_eq!(ready(&watches), [true, false]);
        watches.heard(&source(Kind::Pod));
        assert_eq!(ready(&watches), [true, true]);
    }
}
