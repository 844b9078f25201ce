//! Curves of lines, and positions of weights and Apps without overlaps.

use super::{
    Picture,
    geometry::{Curve, Point, Rect},
    layout,
    theme::{Detail, Theme, text_width},
};
use std::collections::BTreeMap;
use std::f64::consts::TAU;

/// Number of links above which weights are unreadable, and lines are not routed around circles.
const MANY_LINKS: usize = 2000;

/// Placed elements.
pub(super) struct Placed {
    pub(super) theme: Theme,
    pub(super) forwarders: Vec<Point>,
    /// The box of each name that stands beside its circle.
    pub(super) names: Vec<Option<Rect>>,
    /// One for each link, from the edge of one circle to the edge of the other.
    pub(super) curves: Vec<Curve>,
    pub(super) pills: Vec<Pill>,
    pub(super) boxes: Vec<AppBox>,
    /// The weight that links without a pill have, when pills were left out.
    pub(super) usual_weight: Option<u32>,
    pub(super) bounds: Rect,
}

/// The weight of a link, or of one direction of it.
pub(super) struct Pill {
    pub(super) link: usize,
    pub(super) text: String,
    pub(super) rect: Rect,
}

/// One attachment of an App.
pub(super) struct AppBox {
    pub(super) app: usize,
    pub(super) attachment: usize,
    pub(super) rect: Rect,
}

/// Places everything in `picture`.
pub(super) fn place(picture: &Picture) -> Placed {
    let longest = picture
        .forwarders
        .iter()
        .map(|f| f.name.as_str())
        .max_by_key(|name| name.chars().count());
    let theme = Theme::new(picture.forwarders.len(), longest.unwrap_or(""));
    let forwarders = layout::layout(picture, theme.spacing);
    let curves = curves(picture, &theme, &forwarders);
    let bounds = Rect::around(Point::default(), 0.0, 0.0);
    let mut placed = Placed {
        theme,
        names: vec![None; forwarders.len()],
        forwarders,
        curves,
        pills: Vec::new(),
        boxes: Vec::new(),
        usual_weight: None,
        bounds,
    };
    place_names(picture, &mut placed);
    place_apps(picture, &mut placed);
    place_pills(picture, &mut placed);
    placed.bounds = placed.extent();
    placed
}

impl Placed {
    /// Position of a badge on the rim of a circle with the least overlap: to the upper right if
    /// possible.
    pub(super) fn corner(&self, forwarder: usize) -> Point {
        let at = self.forwarders[forwarder];
        let corner = |step: u32| {
            // 0, 1, -1, 2, -2, ... eighths of a turn.
            let sign = if step.is_multiple_of(2) { 1.0 } else { -1.0 };
            let angle = sign * f64::from(step.div_ceil(2)) * TAU / 8.0 - TAU / 8.0;
            at + Point::polar(self.theme.radius + 1.0, angle)
        };
        let crowd = |point: Point| {
            let ends = self.curves.iter().flat_map(|curve| [curve.from, curve.to]);
            let lines = ends.filter(|end| (*end - point).length() < self.theme.radius * 0.62);
            let boxes = self
                .boxes
                .iter()
                .filter(|app| app.rect.distance(point) < 9.0);
            let names = self
                .names
                .iter()
                .flatten()
                .filter(|name| name.distance(point) < 7.0);
            lines.count() + boxes.count() + 2 * names.count()
        };
        let corners = (0..8).map(corner);
        corners.min_by_key(|point| crowd(*point)).unwrap_or(at)
    }

    fn circle(&self, forwarder: usize) -> Rect {
        let side = 2.0 * self.theme.radius;
        Rect::around(self.forwarders[forwarder], side, side)
    }

    fn extent(&self) -> Rect {
        let circles = (0..self.forwarders.len()).map(|i| self.circle(i).grown(6.0));
        let names = self.names.iter().flatten().copied();
        let boxes = self.boxes.iter().map(|app| app.rect.grown(8.0));
        let curves = self.curves.iter().flat_map(|curve| {
            curve
                .points(4)
                .into_iter()
                .map(|point| Rect::around(point, 8.0, 8.0))
        });
        let all = circles.chain(names).chain(boxes).chain(curves);
        all.reduce(Rect::union)
            .unwrap_or(Rect::around(Point::default(), 40.0, 40.0))
    }
}

/// Lines: straight where nothing is in the way, parallel links bowed apart.
fn curves(picture: &Picture, theme: &Theme, places: &[Point]) -> Vec<Curve> {
    let mut parallel: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    for link in &picture.links {
        *parallel.entry((link.a, link.b)).or_default() += 1;
    }
    let mut seen: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    let gap = theme.small * 2.6;
    let curve = |link: &super::Link| {
        let (from, to) = (places[link.a], places[link.b]);
        let count = parallel[&(link.a, link.b)];
        let position = seen.entry((link.a, link.b)).or_default();
        let bow = if count > 1 {
            (f64::from(*position) - f64::from(count - 1) / 2.0) * gap
        } else if theme.detail == Detail::Dots || picture.links.len() > MANY_LINKS {
            0.0
        } else {
            free_bow(theme, places, (link.a, link.b))
        };
        *position += 1;
        Curve::new(from, to, bow).trimmed(theme.radius, theme.radius)
    };
    picture.links.iter().map(curve).collect()
}

/// The least bow with which the line between two circles touches no third one.
fn free_bow(theme: &Theme, places: &[Point], (a, b): (usize, usize)) -> f64 {
    let room = theme.radius + 7.0;
    let clearance = |bow: f64| {
        let points = Curve::new(places[a], places[b], bow).points(12);
        let others = (0..places.len()).filter(|i| *i != a && *i != b);
        let near = |i: usize| {
            let pairs = points.windows(2);
            pairs
                .map(|pair| places[i].distance_to_segment(pair[0], pair[1]))
                .fold(f64::MAX, f64::min)
        };
        others.map(near).fold(f64::MAX, f64::min)
    };
    let bows = [0.0, 0.3, -0.3, 0.5, -0.5, 0.75, -0.75].map(|part| part * theme.spacing);
    bows.into_iter()
        .find(|bow| clearance(*bow) >= room)
        .unwrap_or(0.0)
}

/// A name that does not fit into its circle stands beside it where the fewest lines are: below if
/// it can be.
fn place_names(picture: &Picture, placed: &mut Placed) {
    let theme = placed.theme;
    if theme.names_inside || theme.detail == Detail::Dots {
        return;
    }
    let around = [
        (0, 1),
        (0, -1),
        (1, 1),
        (-1, 1),
        (1, -1),
        (-1, -1),
        (1, 0),
        (-1, 0),
    ];
    for (position, forwarder) in picture.forwarders.iter().enumerate() {
        let (width, height) = (text_width(&forwarder.name, theme.font), theme.font * 1.2);
        let rect = |(x, y): (i32, i32)| {
            let (x, y) = (f64::from(x), f64::from(y));
            // The root has a ring.
            let ring = if forwarder.is_root { 5.0 } else { 0.0 };
            let beside = theme.radius + 6.0 + ring;
            let aside = if y == 0.0 { beside } else { theme.radius * 0.5 };
            let off = Point::new(
                x * (aside + width / 2.0),
                y * (theme.radius * if x == 0.0 { 1.0 } else { 0.75 } + theme.font * 0.85 + ring),
            );
            Rect::around(placed.forwarders[position] + off, width, height)
        };
        let candidates = around.into_iter().map(rect).enumerate();
        let cost =
            |(rank, rect): &(usize, Rect)| covered(placed, *rect, position, 1.0) + *rank as f64;
        let best = candidates.min_by(|one, other| cost(one).total_cmp(&cost(other)));
        placed.names[position] = best.map(|(_, rect)| rect);
    }
}

/// Each App's box goes to the side of its Forwarder where it covers least.
fn place_apps(picture: &Picture, placed: &mut Placed) {
    let n = placed.forwarders.len().max(1) as f64;
    let middle = placed
        .forwarders
        .iter()
        .fold(Point::default(), |sum, at| sum + *at)
        * (1.0 / n);
    for (app, entry) in picture.apps.iter().enumerate() {
        for (attachment, edge) in entry.attachments.iter().enumerate() {
            let rect = best_box(placed, &entry.name, edge, middle);
            placed.boxes.push(AppBox {
                app,
                attachment,
                rect,
            });
        }
    }
}

fn best_box(placed: &Placed, name: &str, edge: &super::Attachment, middle: Point) -> Rect {
    let (theme, forwarder) = (&placed.theme, edge.forwarder);
    let at = placed.forwarders[forwarder];
    let room_for_pill = if edge.weight == 1 {
        0.0
    } else {
        theme.small * 1.5
    };
    let (width, height) = match theme.detail {
        Detail::Dots => (theme.radius * 1.6, theme.radius * 1.6),
        _ => (
            text_width(name, theme.font) + theme.font * 1.7,
            theme.font * 2.0,
        ),
    };
    let outwards = if (at - middle).length() < 1.0 {
        Point::new(0.0, -1.0)
    } else {
        (at - middle).unit()
    };
    let turn = outwards.y.atan2(outwards.x);
    let candidate = |step: u32| {
        let (ring, sector) = (f64::from(step / 16), step % 16);
        // 0, 1, -1, 2, -2, ...: outwards first.
        let sign = if sector % 2 == 0 { 1.0 } else { -1.0 };
        let angle = turn + sign * f64::from(sector.div_ceil(2)) * TAU / 16.0;
        let way = Point::polar(1.0, angle);
        let reach = (width / 2.0 / way.x.abs().max(1e-6)).min(height / 2.0 / way.y.abs().max(1e-6));
        let away = theme.radius + 14.0 + room_for_pill + theme.spacing * 0.3 * ring + reach;
        let rect = Rect::around(at + way * away, width, height);
        // The way to the box should not lead through the Forwarder's own name.
        let leader = Curve::new(at, rect.centre(), 0.0).points(16);
        let is_struck = |name: &Rect| {
            leader
                .iter()
                .any(|point| name.grown(2.0).distance(*point) <= 0.0)
        };
        let struck = if placed.names[forwarder].iter().any(is_struck) {
            20.0
        } else {
            0.0
        };
        let tilt = 1.0 - way.dot(outwards);
        (
            rect,
            covered(placed, rect, forwarder, 7.0) + struck + tilt * 6.0 + ring * 9.0,
        )
    };
    let steps = if theme.detail == Detail::Dots { 1 } else { 48 };
    let best = (0..steps)
        .map(candidate)
        .min_by(|(_, a), (_, b)| a.total_cmp(b));
    best.map_or(Rect::around(at, width, height), |(rect, _)| rect)
}

/// Overlap of a box with other elements, or contact.
fn covered(placed: &Placed, rect: Rect, own: usize, gap: f64) -> f64 {
    if placed.theme.detail == Detail::Dots {
        return 0.0;
    }
    let room = rect.grown(gap);
    let mut cost = 0.0;
    for i in 0..placed.forwarders.len() {
        let circle = placed.circle(i).grown(if i == own { 0.0 } else { gap });
        cost += room.overlap(circle) * 0.5;
        if let Some(name) = placed.names[i] {
            cost += room.overlap(name) * 0.5;
        }
    }
    cost += placed
        .boxes
        .iter()
        .map(|other| room.overlap(other.rect))
        .sum::<f64>();
    let clear = placed.theme.small * 0.5;
    for curve in &placed.curves {
        let inside = |point: &Point| rect.distance(*point) < clear;
        cost += 14.0
            * curve
                .points(16)
                .iter()
                .filter(|point| inside(point))
                .count() as f64;
    }
    cost
}

/// Pills stand on their link, where the fewest other things are.
fn place_pills(picture: &Picture, placed: &mut Placed) {
    let detail = placed.theme.detail;
    if detail == Detail::Dots || picture.links.len() > MANY_LINKS {
        return;
    }
    if detail == Detail::Compact || picture.links.len() > 60 {
        placed.usual_weight = usual_weight(picture);
    }
    for (link, entry) in picture.links.iter().enumerate() {
        if entry.weight == entry.weight_back {
            if Some(entry.weight) != placed.usual_weight {
                place_pill(
                    placed,
                    link,
                    entry.weight,
                    &[0.5, 0.42, 0.58, 0.34, 0.66, 0.27, 0.73],
                );
            }
        } else {
            place_pill(placed, link, entry.weight, &[0.29, 0.35, 0.23]);
            place_pill(placed, link, entry.weight_back, &[0.71, 0.65, 0.77]);
        }
    }
}

/// The weight that most links have, in both directions.
fn usual_weight(picture: &Picture) -> Option<u32> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for link in picture
        .links
        .iter()
        .filter(|link| link.weight == link.weight_back)
    {
        *counts.entry(link.weight).or_default() += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(weight, count)| (*count, u32::MAX - weight))
        .map(|(weight, _)| weight)
}

fn place_pill(placed: &mut Placed, link: usize, weight: u32, positions: &[f64]) {
    let text = weight.to_string();
    let small = placed.theme.small;
    let height = small * 1.45;
    let width = (text_width(&text, small) + small * 0.9).max(height);
    let curve = placed.curves[link];
    let candidate = |(preference, t): (usize, &f64)| {
        let rect = Rect::around(curve.at(*t), width, height);
        (rect, crowding(placed, link, rect) + preference as f64 * 2.0)
    };
    let best = positions
        .iter()
        .enumerate()
        .map(candidate)
        .min_by(|(_, a), (_, b)| a.total_cmp(b));
    if let Some((rect, _)) = best {
        placed.pills.push(Pill { link, text, rect });
    }
}

fn crowding(placed: &Placed, link: usize, rect: Rect) -> f64 {
    let room = rect.grown(2.0);
    let pills: f64 = placed
        .pills
        .iter()
        .map(|other| room.overlap(other.rect))
        .sum();
    let boxes: f64 = placed
        .boxes
        .iter()
        .map(|other| room.overlap(other.rect))
        .sum();
    let circles: f64 = (0..placed.forwarders.len())
        .map(|i| room.overlap(placed.circle(i)))
        .sum();
    let crossed = placed.curves.iter().enumerate().filter(|(other, curve)| {
        let centre = rect.centre();
        let near =
            |pair: &[Point]| centre.distance_to_segment(pair[0], pair[1]) < room.height() / 2.0;
        *other != link && curve.points(8).windows(2).any(near)
    });
    pills + boxes + circles + 12.0 * crossed.count() as f64
}
