//! Positions of Forwarders: by the declared shape where there is one, by stress otherwise.

use super::{Picture, geometry::Point, stress};
use std::f64::consts::{FRAC_PI_2, TAU};
use topology::Shape;

/// Places the Forwarders, at least about `spacing` pixels apart.
pub(super) fn layout(picture: &Picture, spacing: f64) -> Vec<Point> {
    let n = picture.forwarders.len();
    match picture.shape {
        _ if n < 2 => vec![Point::default(); n],
        Shape::Ring | Shape::Mesh if n == 2 => row(n, spacing * 1.6),
        Shape::Ring => circle(n, (spacing * 1.1 * n as f64 / TAU).max(spacing)),
        Shape::Mesh => circle(n, (spacing * n as f64 / TAU).max(spacing * 1.5)),
        Shape::Line => serpentine(n, spacing),
        Shape::Star => star(n, spacing),
        Shape::Tree => tree(n, spacing),
        Shape::Grid => grid(n, spacing * 1.05),
        Shape::Fabric => fabric(n, spacing),
        Shape::Custom => by_hand(picture, spacing),
    }
}

/// Without a shape: a circle when nearly all are linked, else by stress, wider the denser it is.
fn by_hand(picture: &Picture, spacing: f64) -> Vec<Point> {
    let n = picture.forwarders.len();
    let mut links: Vec<(usize, usize)> = picture
        .links
        .iter()
        .map(|link| (link.a.min(link.b), link.a.max(link.b)))
        .collect();
    links.sort_unstable();
    links.dedup();
    // More than a planar graph can have, and more than half of all: no layout untangles that.
    if links.len() + 6 > 3 * n && links.len() * 100 > n * (n - 1) / 2 * 55 {
        return circle(n, (spacing * n as f64 / TAU).max(spacing * 1.6));
    }
    let degree = 2.0 * links.len() as f64 / n as f64;
    stress::layout(
        n,
        &links,
        spacing * (1.0 + (degree - 3.0).clamp(0.0, 6.0) * 0.1),
    )
}

/// From the top, clockwise.
fn circle(n: usize, radius: f64) -> Vec<Point> {
    let angle = |i: usize| TAU * i as f64 / n as f64 - FRAC_PI_2;
    (0..n).map(|i| Point::polar(radius, angle(i))).collect()
}

fn row(n: usize, spacing: f64) -> Vec<Point> {
    (0..n)
        .map(|i| Point::new(i as f64 * spacing, 0.0))
        .collect()
}

/// A row, and when it is long, there and back again.
fn serpentine(n: usize, spacing: f64) -> Vec<Point> {
    let columns = if n <= 9 {
        n
    } else {
        ((2 * n) as f64).sqrt().ceil() as usize
    };
    (0..n)
        .map(|i| {
            let (line, step) = (i / columns, i % columns);
            let column = if line % 2 == 0 {
                step
            } else {
                columns - 1 - step
            };
            Point::new(column as f64, line as f64) * (spacing * 1.1)
        })
        .collect()
}

fn star(n: usize, spacing: f64) -> Vec<Point> {
    let rim = circle(
        n - 1,
        (spacing * 1.05 * (n - 1) as f64 / TAU).max(spacing * 1.45),
    );
    std::iter::once(Point::default()).chain(rim).collect()
}

fn grid(n: usize, spacing: f64) -> Vec<Point> {
    let columns = (n as f64).sqrt().ceil() as usize;
    (0..n)
        .map(|i| Point::new((i % columns) as f64, (i / columns) as f64) * spacing)
        .collect()
}

/// Spines above, leaves below; spines inside and leaves around when there are many.
fn fabric(n: usize, spacing: f64) -> Vec<Point> {
    let spines = (n / 3).clamp(1, 4);
    let leaves = n - spines;
    if leaves > 24 {
        let outer = circle(leaves, spacing * leaves as f64 / TAU);
        return circle(spines, spacing * 1.2)
            .into_iter()
            .chain(outer)
            .collect();
    }
    let width = (leaves.max(spines) - 1) as f64 * spacing;
    let layer = |count: usize, y: f64| {
        let step = (width / count as f64).max(spacing);
        (0..count).map(move |i| Point::new((i as f64 - (count - 1) as f64 / 2.0) * step, y))
    };
    let height = (spacing * 1.6).max(width * 0.3);
    layer(spines, 0.0).chain(layer(leaves, height)).collect()
}

/// Layers by depth, a parent over the middle of its children; around the root when it is wide.
fn tree(n: usize, spacing: f64) -> Vec<Point> {
    let mut slots = vec![0.0; n];
    let mut next_slot = 0.0;
    assign_slots(0, n, &mut slots, &mut next_slot);
    let depth = |i: usize| f64::from((i + 1).ilog2());
    if next_slot <= 24.0 {
        let place = |i: usize| Point::new(slots[i] * spacing, depth(i) * spacing * 1.1);
        return (0..n).map(place).collect();
    }
    let step = spacing * next_slot / TAU / depth(n - 1);
    let place = |i: usize| Point::polar(depth(i) * step, slots[i] / next_slot * TAU - FRAC_PI_2);
    (0..n).map(place).collect()
}

/// Leaves get the next slot, in order; a parent stands in the middle of its children. The depth of
/// the recursion is the logarithm of `n`.
fn assign_slots(i: usize, n: usize, slots: &mut [f64], next: &mut f64) {
    let (left, right) = (2 * i + 1, 2 * i + 2);
    if left >= n {
        slots[i] = *next;
        *next += 1.0;
        return;
    }
    assign_slots(left, n, slots, next);
    if right >= n {
        // A single child hangs to the left of where its sibling would be.
        slots[i] = slots[left] + 0.5;
        *next += 0.5;
        return;
    }
    assign_slots(right, n, slots, next);
    slots[i] = f64::midpoint(slots[left], slots[right]);
}
