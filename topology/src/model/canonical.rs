//! Canonical order of a declaration, and refusal of invalid ones.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use super::{App, AppSpec, ForwarderIndex, Link, LinkSpec, find};
use crate::error::TopologyError;

/// Forwarders and Apps share one name space.
pub(super) fn check_names(forwarders: &[String], apps: &[AppSpec]) -> Result<(), TopologyError> {
    let mut seen = BTreeSet::new();
    for name in forwarders.iter().chain(apps.iter().map(|app| &app.name)) {
        if name.is_empty() || name.contains(['/', '#']) {
            return Err(TopologyError::InvalidName { name: name.clone() });
        }
        if !seen.insert(name) {
            return Err(TopologyError::DuplicateName { name: name.clone() });
        }
    }
    Ok(())
}

pub(super) fn canonical_links(
    forwarders: &[String],
    specs: &[LinkSpec],
) -> Result<Vec<Link>, TopologyError> {
    let mut links = Vec::with_capacity(specs.len());
    for (position, spec) in specs.iter().enumerate() {
        links.push(canonical_link(forwarders, position, spec)?);
    }
    // Stable: parallel links stay as written, which gives them their ordinals.
    links.sort_by_key(|link| (link.a, link.b));
    for second in 1..links.len() {
        let first = &links[second - 1];
        if (first.a, first.b) == (links[second].a, links[second].b) {
            links[second].ordinal = first.ordinal + 1;
        }
    }
    Ok(links)
}

fn canonical_link(
    forwarders: &[String],
    position: usize,
    spec: &LinkSpec,
) -> Result<Link, TopologyError> {
    let end = |name: &String| {
        let unknown = || TopologyError::UnknownEnd {
            link: position,
            name: name.clone(),
        };
        find(forwarders, name).ok_or_else(unknown)
    };
    let (a, b) = (end(&spec.a)?, end(&spec.b)?);
    if a == b {
        return Err(TopologyError::SelfLink {
            link: position,
            name: spec.a.clone(),
        });
    }
    if spec.weight == 0 || spec.weight_back == 0 {
        let (a, b) = (spec.a.clone(), spec.b.clone());
        return Err(TopologyError::ZeroWeight {
            link: position,
            a,
            b,
        });
    }
    let link = Link {
        a,
        b,
        ordinal: 1,
        weight: spec.weight,
        weight_back: spec.weight_back,
    };
    if a < b {
        return Ok(link);
    }
    Ok(Link {
        a: b,
        b: a,
        weight: spec.weight_back,
        weight_back: spec.weight,
        ..link
    })
}

pub(super) fn canonical_app(forwarders: &[String], spec: AppSpec) -> Result<App, TopologyError> {
    let mut least: BTreeMap<ForwarderIndex, u32> = BTreeMap::new();
    for (forwarder, weight) in spec.attachments {
        if weight == 0 {
            return Err(TopologyError::ZeroAppWeight {
                app: spec.name,
                forwarder,
            });
        }
        let Some(at) = find(forwarders, &forwarder) else {
            return Err(TopologyError::UnknownForwarder {
                app: spec.name,
                name: forwarder,
            });
        };
        least
            .entry(at)
            .and_modify(|other| *other = weight.min(*other))
            .or_insert(weight);
    }
    Ok(App {
        name: spec.name,
        attachments: least.into_iter().collect(),
    })
}
