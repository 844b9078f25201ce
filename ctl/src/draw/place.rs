//! Where lines bow, and where weights and Apps stand so that nothing covers anything.

use super::{
    Picture,
    geometry::{Curve, Point, Rect},
    layout,
    theme::{Detail, Theme, text_width},
};
use std::collections::BTreeMap;
use std::f64::consts::TAU;

/// Everything with its place.
pub(super) struct Placed {
    pub(super) theme: Theme,
    pub(super) forwarders: Vec<Point>,
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
        forwarders,
        curves,
        pills: Vec::new(),
        boxes: Vec::new(),
        usual_weight: None,
        bounds,
    };
    place_apps(picture, &mut placed);
    place_pills(picture, &mut placed);
    placed.bounds = placed.extent(picture);
    placed
}

impl Placed {
    /// The box of a Forwarder's name when it stands below the circle.
    pub(super) fn name_rect(&self, picture: &Picture, forwarder: usize) -> Option<Rect> {
        if self.theme.names_inside || self.theme.detail == Detail::Dots {
            return None;
        }
        let centre = self.forwarders[forwarder]
            + Point::new(0.0, self.theme.radius + self.theme.font * 0.85);
        let width = text_width(&picture.forwarders[forwarder].name, self.theme.font);
        Some(Rect::around(centre, width, self.theme.font * 1.2))
    }

    fn circle(&self, forwarder: usize) -> Rect {
        let side = 2.0 * self.theme.radius;
        Rect::around(self.forwarders[forwarder], side, side)
    }

    fn extent(&self, picture: &Picture) -> Rect {
        let circles = (0..self.forwarders.len()).map(|i| self.circle(i).grown(6.0));
        let names = (0..self.forwarders.len()).filter_map(|i| self.name_rect(picture, i));
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
        } else if theme.detail == Detail::Dots {
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
            let rect = best_box(picture, placed, &entry.name, edge.forwarder, middle);
            placed.boxes.push(AppBox {
                app,
                attachment,
                rect,
            });
        }
    }
}

fn best_box(
    picture: &Picture,
    placed: &Placed,
    name: &str,
    forwarder: usize,
    middle: Point,
) -> Rect {
    let theme = &placed.theme;
    let at = placed.forwarders[forwarder];
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
        let away = theme.radius * 1.9 + theme.spacing * 0.3 * ring + reach;
        let rect = Rect::around(at + way * away, width, height);
        let tilt = 1.0 - way.dot(outwards);
        (
            rect,
            covered(picture, placed, rect, forwarder) + tilt * 6.0 + ring * 9.0,
        )
    };
    let steps = if theme.detail == Detail::Dots { 1 } else { 48 };
    let best = (0..steps)
        .map(candidate)
        .min_by(|(_, a), (_, b)| a.total_cmp(b));
    best.map_or(Rect::around(at, width, height), |(rect, _)| rect)
}

/// How much a box would cover or touch.
fn covered(picture: &Picture, placed: &Placed, rect: Rect, own: usize) -> f64 {
    if placed.theme.detail == Detail::Dots {
        return 0.0;
    }
    let room = rect.grown(7.0);
    let mut cost = 0.0;
    for i in 0..placed.forwarders.len() {
        let circle = placed.circle(i).grown(if i == own { 3.0 } else { 8.0 });
        cost += room.overlap(circle) * 0.5;
        if let Some(name) = placed.name_rect(picture, i) {
            cost += room.overlap(name) * 0.5;
        }
    }
    cost += placed
        .boxes
        .iter()
        .map(|other| room.overlap(other.rect))
        .sum::<f64>();
    for curve in &placed.curves {
        let inside = |point: &Point| room.distance(*point) < 1.0;
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
    if detail == Detail::Dots {
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
            place_pill(placed, link, entry.weight, &[0.24, 0.3, 0.18, 0.36]);
            place_pill(placed, link, entry.weight_back, &[0.76, 0.7, 0.82, 0.64]);
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
