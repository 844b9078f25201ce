//! Meaning of a name on the command line: a Forwarder, an App or a pod.

use crate::cluster::placed::{Placed, Pod};
use console::failure::Failure;
use console::nearest::did_you_mean;
use std::{collections::BTreeSet, fmt, net::IpAddr};
use topology::{AppIndex, ForwarderIndex};

/// Somewhere that packets come from or go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A Forwarder.
    Forwarder(At),
    /// A pod, or an instance of an App in a lab.
    Pod(At),
    /// Every instance of an App: the nearest is meant.
    App(Named),
}

/// On one Forwarder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// Its name.
    pub(crate) name: String,
    /// Index of the Forwarder.
    pub(crate) forwarder: ForwarderIndex,
    /// Its addresses, where they are known.
    pub(crate) addresses: Vec<IpAddr>,
    /// Option of `inspect` that selects it, with its value.
    pub(crate) found_by: [String; 2],
}

/// An App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    name: String,
    index: AppIndex,
}

impl AsRef<AppIndex> for Named {
    fn as_ref(&self) -> &AppIndex {
        &self.index
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarder(at) | Self::Pod(at) => formatter.write_str(&at.name),
            Self::App(app) => formatter.write_str(&app.name),
        }
    }
}

impl Place {
    /// The place that `text` names.
    ///
    /// # Errors
    /// [`Failure::NotFound`] with what may have been meant; [`Failure::Invalid`] when it means several things.
    pub(crate) fn find(placed: &Placed, text: &str) -> Result<Self, Failure> {
        let (kind, name) = match text.split_once('/') {
            Some((kind @ ("fwd" | "app" | "pod"), name)) => (Some(kind), name),
            _ => (None, text),
        };
        let is_asked = |of: &str| kind.is_none_or(|kind| kind == of);
        let mut found: Vec<(&str, Self)> = Vec::new();
        if is_asked("fwd") {
            found.extend(forwarder(placed, name).map(|place| ("fwd", place)));
        }
        if is_asked("app") {
            found.extend(app(placed, name).map(|place| ("app", place)));
        }
        if is_asked("pod") {
            found.extend(pod(placed, name).map(|place| ("pod", place)));
        }
        if found.len() > 1 {
            let kinds: Vec<String> = found
                .iter()
                .map(|(kind, _)| format!("{kind}/{name}"))
                .collect();
            let message = format!(
                "{name:?} means several things: write {}",
                kinds.join(" or ")
            );
            return Err(Failure::Invalid(vec![message]));
        }
        let found = found.pop().map(|(_, place)| place);
        found.ok_or_else(|| nothing(placed, text, name))
    }

    /// One pod or Forwarder that packets can really come from or go to: of an App its first pod.
    ///
    /// # Errors
    /// [`Failure::NotFound`] for an App without an attached pod.
    pub(crate) fn real(&self, placed: &Placed) -> Result<At, Failure> {
        let app = match self {
            Self::Forwarder(at) | Self::Pod(at) => return Ok(at.clone()),
            Self::App(app) => app,
        };
        let mut pods = placed.pods.iter().filter(|pod| pod.app == app.name);
        let first = pods.find_map(|pod| at(placed, pod));
        first.ok_or_else(|| Failure::NotFound(format!("App {:?} has no attached pod", app.name)))
    }

    /// The Forwarders that it is on.
    ///
    /// # Errors
    /// [`Failure::NotFound`] for an App without an instance.
    pub(crate) fn forwarders(&self, placed: &Placed) -> Result<BTreeSet<ForwarderIndex>, Failure> {
        let app = match self {
            Self::Forwarder(at) | Self::Pod(at) => return Ok([at.forwarder].into()),
            Self::App(app) => app,
        };
        let attachments = &placed.topology.apps()[app.index.position()].attachments;
        match attachments.is_empty() {
            true => Err(Failure::NotFound(format!(
                "App {:?} has no instance",
                app.name
            ))),
            false => Ok(attachments.iter().map(|(at, _)| *at).collect()),
        }
    }
}

fn forwarder(placed: &Placed, name: &str) -> Option<Place> {
    let forwarder = placed.topology.forwarder(name)?;
    let object = placed.forwarders.iter().find(|it| it.spec.name == name);
    let netns = object.map(crds::names::netns_of).unwrap_or_default();
    Some(Place::Forwarder(At {
        name: name.to_owned(),
        forwarder,
        addresses: placed.addresses_of(name),
        found_by: ["--netns".to_owned(), netns],
    }))
}

fn app(placed: &Placed, name: &str) -> Option<Place> {
    let index = placed.topology.app(name)?;
    let name = name.to_owned();
    Some(Place::App(Named { name, index }))
}

fn pod(placed: &Placed, name: &str) -> Option<Place> {
    let mut pods = placed.pods.iter();
    let pod = pods.find(|pod| pod.is_called(name, &placed.namespace))?;
    at(placed, pod).map(Place::Pod)
}

fn at(placed: &Placed, pod: &Pod) -> Option<At> {
    Some(At {
        name: pod.name.clone(),
        forwarder: placed.topology.forwarder(&pod.forwarder)?,
        addresses: pod.addresses.clone(),
        found_by: pod.found_by.clone(),
    })
}

fn nothing(placed: &Placed, text: &str, name: &str) -> Failure {
    let forwarders = placed.topology.forwarders().iter().map(String::as_str);
    let apps = placed.topology.apps().iter().map(|app| app.name.as_str());
    let pods = placed.pods.iter().map(|pod| pod.name.as_str());
    let hint = did_you_mean(name, forwarders.chain(apps).chain(pods));
    let what = "no forwarder, App or attached pod";
    Failure::NotFound(format!("{what} {text:?} in topology {}{hint}", placed.name))
}
