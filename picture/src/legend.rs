//! Legend of a picture's signs.

use super::{
    Picture, Stage,
    place::Placed,
    theme::{COLOURS, Detail, text_width},
};

/// Letters of the legend.
pub(super) const FONT: f64 = 12.0;

/// One entry of the legend, `x` from the left, on a line from 0.
pub(super) struct Item {
    pub(super) sign: Sign,
    pub(super) text: String,
    pub(super) x: f64,
    pub(super) line: f64,
}

/// The sign itself.
pub(super) enum Sign {
    Node(usize),
    Line(&'static str),
    Box,
    Badge,
}

/// Legend of the signs in this picture, broken into lines of `width`.
pub(super) fn legend(picture: &Picture, placed: &Placed, width: f64) -> Vec<Item> {
    let mut entries: Vec<(Sign, String)> = Vec::new();
    for (position, node) in picture.nodes().into_iter().enumerate().take(24) {
        entries.push((Sign::Node(position % COLOURS), format!("node {node}")));
    }
    if picture.apps.iter().any(|app| !app.attachments.is_empty()) {
        entries.push((Sign::Box, "App".into()));
    }
    if picture.stage == Stage::Spt {
        entries.push((Sign::Line("link tree"), "on a shortest path".into()));
    }
    if picture.stage != Stage::Global && placed.theme.detail == Detail::Full {
        entries.push((Sign::Badge, "distance from the root".into()));
    }
    if picture.stage == Stage::Mwt && picture.links.iter().any(|link| link.is_heavier) {
        entries.push((
            Sign::Line("link heavier"),
            "heavier than its parallel".into(),
        ));
    }
    if picture.links.iter().any(|link| link.is_failed) {
        entries.push((Sign::Line("link failed"), "out of service".into()));
    }
    if let Some(weight) = placed.usual_weight {
        entries.push((Sign::Line("link"), format!("weight {weight}")));
    }
    let (mut x, mut line) = (0.0, 0.0);
    let mut items = Vec::new();
    for (sign, text) in entries {
        let needed = 27.0 + text_width(&text, FONT) + 22.0;
        if x > 0.0 && x + needed > width {
            (x, line) = (0.0, line + 1.0);
        }
        items.push(Item {
            sign,
            text,
            x,
            line,
        });
        x += needed;
    }
    items
}
