//! Layout for graphs without a shape: distances on paper follow distances in hops.
//!
//! Stress is reduced term by term in random order with a shrinking step (Zheng, Pawar, Goodman:
//! "Graph drawing by stochastic gradient descent", 2018). Above [`ALL_PAIRS`] vertices only the
//! terms of links and of some pivots are kept. The same graph gives the same picture.

use super::geometry::{Point, cross};
use std::collections::VecDeque;
use std::f64::consts::TAU;

use topology::hash::SplitMix64;

/// Up to so many vertices every pair is a term.
const ALL_PAIRS: usize = 300;
/// Pivots above that.
const PIVOTS: usize = 40;
/// Up to so many vertices several starts are tried and the one with fewest crossings is kept.
const SEVERAL_STARTS: usize = 40;

/// Places `n` vertices, neighbours about `spacing * 1.35` apart; parts that are not joined stand
/// side by side, the largest first.
pub(super) fn layout(n: usize, links: &[(usize, usize)], spacing: f64) -> Vec<Point> {
    let mut places = vec![Point::default(); n];
    let mut right = 0.0;
    for part in parts(n, links) {
        let mut position = vec![usize::MAX; n];
        part.iter()
            .enumerate()
            .for_each(|(local, vertex)| position[*vertex] = local);
        let inside = links.iter().filter(|(a, _)| position[*a] != usize::MAX);
        let inside: Vec<(usize, usize)> =
            inside.map(|(a, b)| (position[*a], position[*b])).collect();
        let local = layout_part(part.len(), &inside, spacing);
        let left = local.iter().map(|place| place.x).fold(f64::MAX, f64::min);
        let mut farthest = right;
        for (vertex, place) in part.iter().zip(local) {
            places[*vertex] = place + Point::new(right - left, 0.0);
            farthest = places[*vertex].x.max(farthest);
        }
        right = farthest + spacing;
    }
    places
}

/// The connected parts, the largest first.
fn parts(n: usize, links: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut sets = petgraph::unionfind::UnionFind::new(n);
    for (a, b) in links {
        sets.union(*a, *b);
    }
    let mut parts: Vec<Vec<usize>> = vec![Vec::new(); n];
    for vertex in 0..n {
        parts[sets.find(vertex)].push(vertex);
    }
    parts.retain(|part| !part.is_empty());
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts
}

fn layout_part(n: usize, links: &[(usize, usize)], spacing: f64) -> Vec<Point> {
    let terms = terms(n, links);
    let starts = if n <= SEVERAL_STARTS { 12 } else { 1 };
    let candidates = (0..starts).map(|seed| {
        let mut places = descend(n, &terms, seed);
        scale(&mut places, spacing * 1.35);
        turn(&mut places);
        separate(&mut places, links, spacing);
        places
    });
    candidates
        .map(|places| (cost(&places, links, spacing), places))
        .min_by(|(a, _), (b, _)| a.total_cmp(b))
        .map_or_else(Vec::new, |(_, places)| places)
}

/// Two vertices and how far apart they should be, in hops.
struct Term {
    i: usize,
    j: usize,
    distance: f64,
    /// A pivot is in so many terms that it must not be moved by each.
    is_pivot: bool,
}

fn terms(n: usize, links: &[(usize, usize)]) -> Vec<Term> {
    let mut neighbours = vec![Vec::new(); n];
    for &(a, b) in links {
        neighbours[a].push(b);
        neighbours[b].push(a);
    }
    let step = n.div_ceil(if n <= ALL_PAIRS { n } else { PIVOTS }).max(1);
    let mut terms = Vec::new();
    let unreached = (n as f64).sqrt() + 1.0;
    for i in (0..n).step_by(step) {
        let hops = hops(i, &neighbours);
        let wanted = |j: &usize| if step == 1 { *j > i } else { *j != i };
        terms.extend((0..n).filter(wanted).map(|j| {
            let distance = hops[j].map_or(unreached, f64::from);
            Term {
                i,
                j,
                distance,
                is_pivot: step > 1,
            }
        }));
    }
    if step > 1 {
        terms.extend(links.iter().map(|&(i, j)| Term {
            i,
            j,
            distance: 1.0,
            is_pivot: false,
        }));
    }
    terms
}

fn hops(root: usize, neighbours: &[Vec<usize>]) -> Vec<Option<u32>> {
    let mut hops = vec![None; neighbours.len()];
    hops[root] = Some(0);
    let mut queue = VecDeque::from([(root, 0)]);
    while let Some((u, distance)) = queue.pop_front() {
        for &v in &neighbours[u] {
            if hops[v].is_none() {
                hops[v] = Some(distance + 1);
                queue.push_back((v, distance + 1));
            }
        }
    }
    hops
}

fn descend(n: usize, terms: &[Term], seed: u64) -> Vec<Point> {
    let mut random = Random(SplitMix64::new(seed.wrapping_mul(0x9E37_79B9) + 7));
    let mut places: Vec<Point> = (0..n)
        .map(|i| {
            Point::polar(
                1.0 + random.unit(),
                TAU * (i as f64 / n as f64 + seed as f64 / 12.0),
            )
        })
        .collect();
    let farthest = terms.iter().map(|term| term.distance).fold(1.0, f64::max);
    let rounds = if n <= ALL_PAIRS { 60 } else { 30 };
    let (first, last) = (farthest * farthest, 0.05_f64);
    let mut order: Vec<usize> = (0..terms.len()).collect();
    for round in 0..rounds {
        let step = first * (last / first).powf(f64::from(round) / f64::from(rounds - 1));
        random.shuffle(&mut order);
        for &position in &order {
            relax(&mut places, &terms[position], step);
        }
    }
    places
}

fn relax(places: &mut [Point], term: &Term, step: f64) {
    let way = places[term.i] - places[term.j];
    let weight = (step / (term.distance * term.distance)).min(1.0);
    let shift = way.unit() * (weight * (way.length() - term.distance) / 2.0);
    if !term.is_pivot {
        places[term.i] = places[term.i] - shift;
    }
    places[term.j] = places[term.j] + shift;
}

fn scale(places: &mut [Point], factor: f64) {
    places.iter_mut().for_each(|place| *place = *place * factor);
}

/// Turns the longest extent to lie flat and the first vertex to the upper left.
fn turn(places: &mut [Point]) {
    let n = places.len() as f64;
    let centre = places
        .iter()
        .fold(Point::default(), |sum, place| sum + *place)
        * (1.0 / n);
    places.iter_mut().for_each(|place| *place = *place - centre);
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for place in places.iter() {
        xx += place.x * place.x;
        xy += place.x * place.y;
        yy += place.y * place.y;
    }
    let angle = 0.5 * (2.0 * xy).atan2(xx - yy);
    let (along, across) = (Point::polar(1.0, angle), Point::polar(1.0, angle).normal());
    for place in places.iter_mut() {
        *place = Point::new(place.dot(along), place.dot(across));
    }
    let first = places[0];
    let (x, y) = (
        if first.x > 0.0 { -1.0 } else { 1.0 },
        if first.y > 0.0 { -1.0 } else { 1.0 },
    );
    places
        .iter_mut()
        .for_each(|place| *place = Point::new(place.x * x, place.y * y));
}

/// Pushes vertices apart, and away from links that are not theirs.
fn separate(places: &mut [Point], links: &[(usize, usize)], spacing: f64) {
    let n = places.len();
    if n > 2 * ALL_PAIRS {
        return;
    }
    for _ in 0..60 {
        let mut moved = false;
        for i in 0..n {
            for j in i + 1..n {
                let way = places[i] - places[j];
                let lack = spacing * 0.95 - way.length();
                if lack > 0.5 {
                    let shift = way.unit() * (lack / 2.0);
                    places[i] = places[i] + shift;
                    places[j] = places[j] - shift;
                    moved = true;
                }
            }
        }
        if n <= 100 {
            moved |= clear_links(places, links, spacing * 0.38);
        }
        if !moved {
            break;
        }
    }
}

fn clear_links(places: &mut [Point], links: &[(usize, usize)], clearance: f64) -> bool {
    let mut moved = false;
    for &(a, b) in links {
        for i in (0..places.len()).filter(|i| *i != a && *i != b) {
            let lack = clearance - places[i].distance_to_segment(places[a], places[b]);
            if lack > 0.5 {
                let side = (places[b] - places[a]).unit().normal();
                let sign = if (places[i] - places[a]).dot(side) < 0.0 {
                    -1.0
                } else {
                    1.0
                };
                places[i] = places[i] + side * (sign * lack * 0.6);
                moved = true;
            }
        }
    }
    moved
}

/// Crossings first, then how unequal the links are long, then how tall the picture is.
fn cost(places: &[Point], links: &[(usize, usize)], spacing: f64) -> f64 {
    let mut cost = 0.0;
    if links.len() <= 400 {
        for (position, &(a, b)) in links.iter().enumerate() {
            for &(c, d) in &links[position + 1..] {
                let apart = ![c, d].contains(&a) && ![c, d].contains(&b);
                if apart && cross(places[a], places[b], places[c], places[d]) {
                    cost += 10.0;
                }
            }
        }
    }
    for &(a, b) in links {
        let stretch = (places[a] - places[b]).length() / (spacing * 1.35) - 1.0;
        cost += stretch * stretch;
    }
    let extent = |pick: fn(&Point) -> f64| {
        let (low, high) = places
            .iter()
            .map(pick)
            .fold((f64::MAX, f64::MIN), |(low, high), x| {
                (low.min(x), high.max(x))
            });
        high - low
    };
    cost + extent(|place| place.y) / extent(|place| place.x).max(1.0)
}

/// Random places and orders.
struct Random(SplitMix64);

impl Random {
    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.0.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn shuffle(&mut self, items: &mut [usize]) {
        for i in (1..items.len()).rev() {
            items.swap(i, (self.0.next() % (i as u64 + 1)) as usize);
        }
    }
}
