//! Links in the status of a Forwarder: up, suspect or down, and who says so. Pure.

use std::collections::BTreeMap;

use crds::ForwarderStatus;
use crds::forwarder::{
    ForwarderLink, LinkDirection, LinkHealth, LinkState, MAX_DETAILED, MAX_REASON,
};
use crds::text::printable;
use linkstate::{Direction, Reason, State};

use super::now;
use crate::routing::forwarder::{End, Local};
use crate::routing::live_topology::Mesh;

/// The links of a Forwarder, as both ends report them. What lasts keeps the time of the status before.
pub(super) fn link_states(
    local: &Local,
    mesh: Option<&Mesh>,
    before: Option<&ForwarderStatus>,
) -> Vec<LinkState> {
    let before = before.into_iter().flat_map(|before| &before.link_states);
    let before: BTreeMap<&str, &LinkState> = before.map(|it| (it.id.as_str(), it)).collect();
    let links = local.forwarder.spec.links.iter();
    let mut states: Vec<LinkState> = links
        .map(|link| link_state(local, mesh, link, before.get(link.id.as_str()).copied()))
        .collect();
    let impaired = states.iter_mut().filter(|state| !state.up);
    for state in impaired.skip(MAX_DETAILED) {
        (state.receive, state.transmit) = (None, None);
    }
    states
}

fn link_state(
    local: &Local,
    mesh: Option<&Mesh>,
    link: &ForwarderLink,
    before: Option<&LinkState>,
) -> LinkState {
    let direction = |receives: bool| {
        let before = before.and_then(|before| match receives {
            true => before.receive.as_ref(),
            false => before.transmit.as_ref(),
        });
        direction(local, mesh?, link, receives, before)
    };
    let (receive, transmit) = (direction(true), direction(false));
    let (health, reason) = health(local, link, [&receive, &transmit]);
    LinkState {
        id: link.id.clone(),
        up: health == LinkHealth::Up,
        state: Some(health),
        reason: printable(&reason, MAX_REASON),
        receive,
        transmit,
    }
}

/// One direction of a link; none while it passes packets.
fn direction(
    local: &Local,
    mesh: &Mesh,
    link: &ForwarderLink,
    receives: bool,
    before: Option<&LinkDirection>,
) -> Option<LinkDirection> {
    let index = mesh.topology.link(&link.id)?;
    let declared = &mesh.topology.links()[index.position()];
    let is_first = declared.a == mesh.index(local.object())?;
    let direction = match is_first == receives {
        true => Direction::Backward,
        false => Direction::Forward,
    };
    let (position, evidence) = mesh.link(index).weakest(direction);
    let state = match evidence.unwrap_or_default().state {
        State::Suspect => LinkHealth::Suspect,
        state if state.is_down() => LinkHealth::Down,
        _ => return None,
    };
    let by = [declared.a, declared.b][position];
    let mut told = LinkDirection {
        state,
        reason: evidence.map_or("Unreported".to_owned(), |it| word(it.reason)),
        by: mesh.forwarder(by).spec.name.clone(),
        since: String::new(),
        diagnostic: evidence.map_or(0, |it| it.diagnostic),
    };
    let is_same = |before: &&LinkDirection| {
        (before.state, &before.reason, &before.by) == (told.state, &told.reason, &told.by)
    };
    let since = before.filter(is_same).map(|before| before.since.clone());
    told.since = since.unwrap_or_else(|| now().to_string());
    Some(told)
}

/// A cause as one CamelCase word.
fn word(reason: Reason) -> String {
    let text: &str = reason.into();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Health of the link from this end, and the reason unless it is up.
fn health(
    local: &Local,
    link: &ForwarderLink,
    directions: [&Option<LinkDirection>; 2],
) -> (LinkHealth, String) {
    if let Some(problem) = local.structure.problems.get(&link.id) {
        return (LinkHealth::Down, problem.clone());
    }
    match local.ends.get(&link.id) {
        Some(End::Up) => {}
        Some(end) => return (LinkHealth::Down, end.reason().to_owned()),
        None => return (LinkHealth::Down, "not made yet".to_owned()),
    }
    let worst = directions.into_iter().flatten().min_by_key(|it| it.state);
    match worst {
        None => (LinkHealth::Up, String::new()),
        Some(worst) if worst.state == LinkHealth::Suspect => {
            let own = &local.forwarder.spec.name;
            let other = match worst.by == *own {
                true => &link.peer,
                false => own,
            };
            (LinkHealth::Suspect, doubt(worst, other))
        }
        Some(_) => (LinkHealth::Down, "the other end is down".to_owned()),
    }
}

/// A suspicion in words; `other` is the Forwarder opposite to the one that has it.
fn doubt(LinkDirection { reason, by, .. }: &LinkDirection, other: &str) -> String {
    match reason.as_str() {
        "Silence" => format!("{by} hears nothing from {other}"),
        "PeerSilence" => format!("{other} hears nothing from {by}"),
        "NeverUp" => format!("no packet has passed between {by} and {other} yet"),
        "Damped" => format!("packets pass again, after too many failures seen by {by}"),
        _ => format!("{by} doubts that packets pass"),
    }
}
