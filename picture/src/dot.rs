//! Graphviz, written by petgraph from a graph of petgraph.

use super::{Picture, Stage};
use petgraph::dot::{Config, Dot};
use petgraph::graph::{DiGraph, NodeIndex};

/// Draws `picture` as a DOT digraph.
pub fn dot(picture: &Picture) -> String {
    let mut graph: DiGraph<String, String> = DiGraph::new();
    let nodes = picture.nodes();
    let forwarders: Vec<NodeIndex> = picture
        .forwarders
        .iter()
        .map(|one| graph.add_node(forwarder(one, &nodes)))
        .collect();
    for link in &picture.links {
        if picture.stage == Stage::Mwt && link.is_heavier {
            continue;
        }
        let (a, b) = (forwarders[link.a], forwarders[link.b]);
        // The arrow of a shortest path points away from the root.
        let (from, to) = if link.is_tree_ba { (b, a) } else { (a, b) };
        graph.add_edge(from, to, edge(picture, link));
    }
    for app in &picture.apps {
        let distance = app
            .distance
            .map_or(String::new(), |distance| format!(" ({distance})"));
        let label = format!("{}{distance}", app.name);
        let style = "shape=box style=\"rounded,filled\" fillcolor=\"#fff8eb\" color=\"#d9922b\"";
        let node = graph.add_node(format!("label={} {style}", quoted(&label)));
        for attachment in &app.attachments {
            let tree = if attachment.is_tree {
                TREE
            } else {
                "dir=none color=\"#d9a04a\""
            };
            let edge = format!("label=\"{}\" {tree}", attachment.weight);
            graph.add_edge(forwarders[attachment.forwarder], node, edge);
        }
    }
    let options = [
        Config::NodeNoLabel,
        Config::EdgeNoLabel,
        Config::GraphContentOnly,
    ];
    let edges = |_: &DiGraph<String, String>, edge: petgraph::graph::EdgeReference<'_, String>| {
        edge.weight().clone()
    };
    let nodes = |_: &DiGraph<String, String>, (_, label): (NodeIndex, &String)| label.clone();
    let body = Dot::with_attr_getters(&graph, &options, &edges, &nodes);
    let title = quoted(&picture.title);
    let label = quoted(&format!("{}\n{}", picture.title, picture.subtitle));
    format!(
        "digraph {title} {{\n    graph [label={label} labelloc=t fontname=\"sans-serif\" \
         overlap=false splines=true]\n    node [fontname=\"sans-serif\"]\n    \
         edge [fontname=\"sans-serif\" fontsize=10]\n{body:?}}}\n"
    )
}

const TREE: &str = "color=\"#2563eb\" penwidth=2.2";

fn forwarder(forwarder: &super::Forwarder, nodes: &[&str]) -> String {
    const COLOURS: [&str; 8] = [
        "#4472a8", "#4d9651", "#b8691f", "#8f64a8", "#2a8c88", "#bf5450", "#86705b", "#64748b",
    ];
    let distance = match forwarder.distance {
        Some(distance) if !forwarder.is_root => format!("\n{distance}"),
        _ => String::new(),
    };
    let label = quoted(&format!("{}{distance}", forwarder.name));
    if forwarder.is_failed {
        return format!(
            "label={label} shape=circle style=dashed color=\"#a3adba\" fontcolor=\"#94a3b8\""
        );
    }
    let node = forwarder.node.as_deref();
    let colour = node
        .and_then(|node| nodes.binary_search(&node).ok())
        .unwrap_or(0);
    let shape = if forwarder.is_root {
        "doublecircle"
    } else {
        "circle"
    };
    let fill = COLOURS[colour % COLOURS.len()];
    format!("label={label} shape={shape} style=filled fillcolor=\"{fill}\" fontcolor=white")
}

fn edge(picture: &Picture, link: &super::Link) -> String {
    let label = link.label();
    if link.is_failed {
        return format!("label=\"{label}\" dir=none style=dashed color=\"#b4bcc8\"");
    }
    if picture.stage == Stage::Spt && link.is_tree() {
        return format!("label=\"{label}\" {TREE}");
    }
    format!("label=\"{label}\" dir=none color=\"#a3b0c2\"")
}

/// `text` as a DOT string.
fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    )
}
