//! Points, boxes and curves in pixels.

use std::ops::{Add, Mul, Sub};

/// A point, or the way from one to another. `y` grows downwards.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

impl Point {
    pub(super) fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }

    /// The point at `angle` (radians, clockwise from the right) and distance `radius` from zero.
    pub(super) fn polar(radius: f64, angle: f64) -> Self {
        Self::new(radius * angle.cos(), radius * angle.sin())
    }

    pub(super) fn length(self) -> f64 {
        self.x.hypot(self.y)
    }

    /// The same direction with length 1; to the right when there is none.
    pub(super) fn unit(self) -> Self {
        let length = self.length();
        if length < 1e-9 {
            Self::new(1.0, 0.0)
        } else {
            self * (1.0 / length)
        }
    }

    /// Turned by a right angle.
    pub(super) fn normal(self) -> Self {
        Self::new(-self.y, self.x)
    }

    pub(super) fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y
    }

    /// Distance to the segment from `a` to `b`.
    pub(super) fn distance_to_segment(self, a: Self, b: Self) -> f64 {
        let along = b - a;
        let length = along.dot(along);
        let t = if length < 1e-9 {
            0.0
        } else {
            ((self - a).dot(along) / length).clamp(0.0, 1.0)
        };
        (self - (a + along * t)).length()
    }
}

impl Add for Point {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.x + other.x, self.y + other.y)
    }
}

impl Sub for Point {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.y - other.y)
    }
}

impl Mul<f64> for Point {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self::new(self.x * factor, self.y * factor)
    }
}

/// True when two segments cross in a point that is an end of neither.
pub(super) fn cross(a: Point, b: Point, c: Point, d: Point) -> bool {
    let side = |p: Point, q: Point, r: Point| (q - p).normal().dot(r - p);
    side(a, b, c) * side(a, b, d) < -1e-6 && side(c, d, a) * side(c, d, b) < -1e-6
}

/// A box with its sides along the axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub(super) min: Point,
    pub(super) max: Point,
}

impl Rect {
    pub(super) fn around(centre: Point, width: f64, height: f64) -> Self {
        let half = Point::new(width / 2.0, height / 2.0);
        Self {
            min: centre - half,
            max: centre + half,
        }
    }

    pub(super) fn centre(self) -> Point {
        (self.min + self.max) * 0.5
    }

    pub(super) fn width(self) -> f64 {
        self.max.x - self.min.x
    }

    pub(super) fn height(self) -> f64 {
        self.max.y - self.min.y
    }

    pub(super) fn grown(self, by: f64) -> Self {
        let by = Point::new(by, by);
        Self {
            min: self.min - by,
            max: self.max + by,
        }
    }

    /// The smallest box around both.
    pub(super) fn union(self, other: Self) -> Self {
        Self {
            min: Point::new(self.min.x.min(other.min.x), self.min.y.min(other.min.y)),
            max: Point::new(self.max.x.max(other.max.x), self.max.y.max(other.max.y)),
        }
    }

    /// The area that both cover.
    pub(super) fn overlap(self, other: Self) -> f64 {
        let width = self.max.x.min(other.max.x) - self.min.x.max(other.min.x);
        let height = self.max.y.min(other.max.y) - self.min.y.max(other.min.y);
        width.max(0.0) * height.max(0.0)
    }

    /// Distance from `point` to the box; 0 inside.
    pub(super) fn distance(self, point: Point) -> f64 {
        let dx = (self.min.x - point.x).max(point.x - self.max.x).max(0.0);
        let dy = (self.min.y - point.y).max(point.y - self.max.y).max(0.0);
        dx.hypot(dy)
    }
}

/// A quadratic Bézier curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Curve {
    pub(super) from: Point,
    pub(super) bend: Point,
    pub(super) to: Point,
}

impl Curve {
    /// From `from` to `to`, its middle `bow` pixels to the side of the straight line.
    pub(super) fn new(from: Point, to: Point, bow: f64) -> Self {
        let side = (to - from).unit().normal();
        Self {
            from,
            bend: (from + to) * 0.5 + side * (2.0 * bow),
            to,
        }
    }

    pub(super) fn is_straight(self) -> bool {
        (self.bend - (self.from + self.to) * 0.5).length() < 0.5
    }

    /// The point at `t`, 0 at the start, 1 at the end.
    pub(super) fn at(self, t: f64) -> Point {
        let u = 1.0 - t;
        self.from * (u * u) + self.bend * (2.0 * u * t) + self.to * (t * t)
    }

    /// The part between two values of `t`, by de Casteljau.
    pub(super) fn part(self, start: f64, end: f64) -> Self {
        let (from, to) = (self.at(start), self.at(end));
        let lerp = |a: Point, b: Point, t: f64| a * (1.0 - t) + b * t;
        let bend = lerp(
            lerp(self.from, self.bend, start),
            lerp(self.bend, self.to, start),
            end,
        );
        Self { from, bend, to }
    }

    /// The curve without what lies within `start` pixels of its start and `end` of its end.
    pub(super) fn trimmed(self, start: f64, end: f64) -> Self {
        let length = self.length().max(1.0);
        let (start, end) = (start / length, end / length);
        if start + end >= 0.95 {
            self
        } else {
            self.part(start, 1.0 - end)
        }
    }

    /// The same curve, drawn from its other end.
    pub(super) fn reversed(self) -> Self {
        Self {
            from: self.to,
            bend: self.bend,
            to: self.from,
        }
    }

    pub(super) fn length(self) -> f64 {
        self.points(8)
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).length())
            .sum()
    }

    /// `steps + 1` points along the curve.
    pub(super) fn points(self, steps: u32) -> Vec<Point> {
        (0..=steps)
            .map(|step| self.at(f64::from(step) / f64::from(steps)))
            .collect()
    }
}
