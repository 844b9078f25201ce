//! A graph as data, and as a table.

use super::View;
use crate::draw::{Link, Picture, Stage};
use crate::output;
use serde::Serialize;
use std::collections::BTreeMap;

/// A graph as JSON and YAML.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    topology: &'a str,
    epoch: &'a str,
    stage: Stage,
    root: Option<&'a str>,
    nodes: Vec<NodeReport<'a>>,
    links: Vec<LinkReport<'a>>,
    attachments: Vec<AttachmentReport<'a>>,
    pub(super) distances: BTreeMap<&'a str, u64>,
    tree: Vec<Edge<'a>>,
}

#[derive(Serialize)]
struct NodeReport<'a> {
    name: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    up: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkReport<'a> {
    id: &'a str,
    a: &'a str,
    b: &'a str,
    weight: u32,
    weight_back: u32,
    up: bool,
}

#[derive(Serialize)]
struct AttachmentReport<'a> {
    app: &'a str,
    forwarder: &'a str,
    weight: u32,
}

#[derive(Serialize)]
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
}

impl<'a> Report<'a> {
    pub(super) fn new(view: &'a View) -> Self {
        let picture = &view.picture;
        let name = |position: usize| picture.forwarders[position].name.as_str();
        let forwarders = picture.forwarders.iter().map(|forwarder| NodeReport {
            name: &forwarder.name,
            kind: "forwarder",
            node: forwarder.node.as_deref(),
            up: !forwarder.is_failed,
        });
        let apps = picture.apps.iter().map(|app| {
            let up = app
                .attachments
                .iter()
                .any(|edge| !picture.forwarders[edge.forwarder].is_failed);
            NodeReport {
                name: &app.name,
                kind: "app",
                node: None,
                up,
            }
        });
        let in_stage = |link: &&Link| picture.stage != Stage::Mwt || !link.is_heavier;
        let links = picture
            .links
            .iter()
            .filter(in_stage)
            .map(|link| LinkReport {
                id: &link.id,
                a: name(link.a),
                b: name(link.b),
                weight: link.weight,
                weight_back: link.weight_back,
                up: !link.is_failed,
            });
        let attachments = picture.apps.iter().flat_map(|app| {
            app.attachments.iter().map(move |edge| AttachmentReport {
                app: &app.name,
                forwarder: name(edge.forwarder),
                weight: edge.weight,
            })
        });
        let distances = picture
            .forwarders
            .iter()
            .map(|one| (one.name.as_str(), one.distance));
        let distances = distances.chain(
            picture
                .apps
                .iter()
                .map(|app| (app.name.as_str(), app.distance)),
        );
        Self {
            topology: &picture.title,
            epoch: &view.epoch,
            stage: picture.stage,
            root: view.root.as_deref(),
            nodes: forwarders.chain(apps).collect(),
            links: links.collect(),
            attachments: attachments.collect(),
            distances: distances
                .filter_map(|(name, distance)| Some((name, distance?)))
                .collect(),
            tree: tree(picture),
        }
    }
}

fn tree(picture: &Picture) -> Vec<Edge<'_>> {
    let name = |position: usize| picture.forwarders[position].name.as_str();
    let links = picture
        .links
        .iter()
        .filter(|link| link.is_tree())
        .map(|link| {
            let (from, to) = if link.is_tree_ab {
                (link.a, link.b)
            } else {
                (link.b, link.a)
            };
            Edge {
                from: name(from),
                to: name(to),
                link: Some(&link.id),
            }
        });
    let apps = picture.apps.iter().flat_map(|app| {
        let tree = app.attachments.iter().filter(|edge| edge.is_tree);
        tree.map(|edge| Edge {
            from: name(edge.forwarder),
            to: &app.name,
            link: None,
        })
    });
    links.chain(apps).collect()
}

/// A graph for people.
pub(super) fn table(view: &View) -> String {
    let picture = &view.picture;
    let mut rows = output::table(&["FROM", "TO", "WEIGHT", "BACK", "STATE"], &[2, 3]);
    let name = |position: usize| picture.forwarders[position].name.clone();
    for link in &picture.links {
        let state = match link {
            _ if link.is_failed => "out",
            _ if link.is_tree_ab => "shortest path, forth",
            _ if link.is_tree_ba => "shortest path, back",
            _ if link.is_heavier => "heavier parallel",
            _ => "up",
        };
        let (weight, back) = (link.weight.to_string(), link.weight_back.to_string());
        rows.add_row([name(link.a), name(link.b), weight, back, state.to_owned()]);
    }
    for app in &picture.apps {
        for edge in &app.attachments {
            let state = if edge.is_tree {
                "shortest path, forth"
            } else {
                "attached"
            };
            let weight = edge.weight.to_string();
            let back = "-".to_owned();
            rows.add_row([
                name(edge.forwarder),
                app.name.clone(),
                weight,
                back,
                state.to_owned(),
            ]);
        }
    }
    let mut text = format!("{}: {}\n\n", picture.title, picture.subtitle);
    text += &output::table_text(&rows);
    if view.root.is_none() {
        return text;
    }
    let mut rows = output::table(&["TO", "DISTANCE"], &[1]);
    let report = Report::new(view);
    for (name, distance) in &report.distances {
        rows.add_row([(*name).to_owned(), distance.to_string()]);
    }
    text + "\n" + &output::table_text(&rows)
}
