//! SVG: readable as it is, in light and in dark, without scripts or outside fonts.

use super::{
    Picture, Stage,
    geometry::{Curve, Point, Rect},
    legend::{FONT, Item, Sign, legend},
    place::{Placed, place},
    theme::{COLOURS, Detail, STYLE, text_width},
};
use std::fmt::{self, Write};

/// Blank space around the drawing.
const MARGIN: f64 = 36.0;
/// Height of title and subtitle.
const HEAD: f64 = 78.0;
const TITLE: f64 = 21.0;
const SUBTITLE: f64 = 13.0;
const LEGEND_LINE: f64 = 24.0;

/// Draws `picture` as an SVG document. The same picture gives the same bytes.
pub fn svg(picture: &Picture) -> String {
    let placed = place(picture);
    let mut out = String::new();
    Sheet {
        picture,
        placed: &placed,
        out: &mut out,
    }
    .draw()
    .expect("a String takes every write");
    out
}

struct Sheet<'a> {
    picture: &'a Picture,
    placed: &'a Placed,
    out: &'a mut String,
}

impl Sheet<'_> {
    fn draw(&mut self) -> fmt::Result {
        let head = text_width(&self.picture.title, TITLE)
            .max(text_width(&self.picture.subtitle, SUBTITLE));
        let width = (self.placed.bounds.width().max(head).max(360.0) + 2.0 * MARGIN).ceil();
        let legend = legend(self.picture, self.placed, width - 2.0 * MARGIN);
        let lines = legend.last().map_or(0.0, |item| item.line + 1.0);
        let drawing = self.placed.bounds.height();
        let height = (HEAD + drawing + MARGIN + lines * LEGEND_LINE + 22.0).ceil();
        self.open(width, height)?;
        let left = (width - self.placed.bounds.width()) / 2.0 - self.placed.bounds.min.x;
        let top = HEAD - self.placed.bounds.min.y;
        let class = match self.placed.theme.detail {
            Detail::Full => "full",
            Detail::Compact => "compact",
            Detail::Dots => "dots",
        };
        writeln!(
            self.out,
            "<g class=\"{class}\" transform=\"translate({left:.1} {top:.1})\">"
        )?;
        self.links()?;
        self.leaders()?;
        self.pills()?;
        self.forwarders()?;
        self.apps()?;
        writeln!(self.out, "</g>")?;
        let foot = HEAD + drawing + MARGIN;
        self.legend(&legend, foot)?;
        self.epoch(width, height)?;
        writeln!(self.out, "</svg>")
    }

    fn open(&mut self, width: f64, height: f64) -> fmt::Result {
        let (title, subtitle) = (escape(&self.picture.title), escape(&self.picture.subtitle));
        write!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
             <title>{title}</title>\n<desc>{subtitle}</desc>\n<style>\n{STYLE}\n</style>\n\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>\n\
             <text class=\"title\" x=\"{MARGIN}\" y=\"38\" font-size=\"{TITLE}\">{title}</text>\n\
             <text class=\"quiet\" x=\"{MARGIN}\" y=\"59\" font-size=\"{SUBTITLE}\">{subtitle}</text>\n"
        )
    }

    /// Failed links lowest, the shortest paths on top.
    fn links(&mut self) -> fmt::Result {
        let rank = |position: &usize| {
            let link = &self.picture.links[*position];
            (!link.is_failed, self.shows_tree() && link.is_tree())
        };
        let mut order: Vec<usize> = (0..self.picture.links.len()).collect();
        order.sort_by_key(rank);
        for position in order {
            self.link(position)?;
        }
        Ok(())
    }

    fn link(&mut self, position: usize) -> fmt::Result {
        let link = &self.picture.links[position];
        let curve = self.placed.curves[position];
        let is_tree = self.shows_tree() && link.is_tree();
        let class = match link {
            _ if link.is_failed => "link failed",
            _ if is_tree => "link tree",
            _ if link.is_heavier && self.picture.stage == Stage::Mwt => "link heavier",
            _ => "link",
        };
        let id = escape(&link.id);
        let label = link.label();
        let tip = format!("<title>{id}, weight {label}</title>");
        if is_tree && self.placed.theme.detail != Detail::Dots {
            let size = self.placed.theme.small * 0.95;
            let forward = if link.is_tree_ab {
                curve
            } else {
                curve.reversed()
            };
            let shaft = forward.trimmed(2.0, size * 0.8 + 2.0);
            writeln!(
                self.out,
                "<path class=\"{class}\" d=\"{}\">{tip}</path>",
                path(shaft)
            )?;
            return self.arrow(forward.trimmed(0.0, 2.0), size);
        }
        writeln!(
            self.out,
            "<path class=\"{class}\" d=\"{}\">{tip}</path>",
            path(curve)
        )
    }

    /// A head at the end of `curve`.
    fn arrow(&mut self, curve: Curve, size: f64) -> fmt::Result {
        let tip = curve.to;
        let along = (tip - curve.trimmed(0.0, size).to).unit();
        let (base, side) = (tip - along * size, along.normal() * (size * 0.52));
        let points = [tip, base + side, base - side].map(|p| format!("{:.1},{:.1}", p.x, p.y));
        writeln!(
            self.out,
            "<polygon class=\"arrow\" points=\"{}\"/>",
            points.join(" ")
        )
    }

    fn leaders(&mut self) -> fmt::Result {
        for app in &self.placed.boxes {
            let edge = &self.picture.apps[app.app].attachments[app.attachment];
            let (from, to) = (self.placed.forwarders[edge.forwarder], app.rect.centre());
            let class = if self.shows_tree() && edge.is_tree {
                "link tree"
            } else {
                "leader"
            };
            let curve = Curve::new(from, to, 0.0);
            writeln!(self.out, "<path class=\"{class}\" d=\"{}\"/>", path(curve))?;
            if edge.weight != 1 && self.placed.theme.detail == Detail::Full {
                let start = from + (to - from).unit() * self.placed.theme.radius;
                let gap = app.rect.distance(start).max(1.0);
                let middle = start + (to - from).unit() * (gap / 2.0);
                let height = self.placed.theme.small * 1.45;
                self.pill(
                    &edge.weight.to_string(),
                    Rect::around(middle, height, height),
                    "",
                )?;
            }
        }
        Ok(())
    }

    fn pills(&mut self) -> fmt::Result {
        for pill in &self.placed.pills {
            let link = &self.picture.links[pill.link];
            let state = match link {
                _ if link.is_failed => " out",
                _ if self.shows_tree() && link.is_tree() => " on",
                _ => "",
            };
            self.pill(&pill.text, pill.rect, state)?;
        }
        Ok(())
    }

    fn pill(&mut self, text: &str, rect: Rect, state: &str) -> fmt::Result {
        let radius = rect.height() / 2.0;
        writeln!(
            self.out,
            "<rect class=\"pill{state}\" {}/>",
            corners(rect, radius)
        )?;
        let class = format!("weight{state}");
        self.text(&class, rect.centre(), self.placed.theme.small, text)
    }

    fn forwarders(&mut self) -> fmt::Result {
        let nodes = self.picture.nodes();
        for (position, forwarder) in self.picture.forwarders.iter().enumerate() {
            let at = self.placed.forwarders[position];
            let radius = self.placed.theme.radius;
            let colour = forwarder
                .node
                .as_deref()
                .and_then(|node| nodes.binary_search(&node).ok());
            let class = if forwarder.is_failed {
                "gone".to_owned()
            } else {
                format!("fwd g{}", colour.unwrap_or(0) % COLOURS)
            };
            let faded = if forwarder.is_unreachable {
                " opacity=\".35\""
            } else {
                ""
            };
            let (x, y) = (at.x, at.y);
            let node = forwarder
                .node
                .as_ref()
                .map_or(String::new(), |node| format!(" on {node}"));
            let tip = escape(&format!("{}{node}", forwarder.name));
            writeln!(
                self.out,
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"{faded}>\
                 <title>{tip}</title></circle>"
            )?;
            if forwarder.is_root {
                let ring = radius + 4.5;
                writeln!(
                    self.out,
                    "<circle class=\"root\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{ring}\"/>"
                )?;
            }
            self.name(position)?;
        }
        Ok(())
    }

    fn name(&mut self, position: usize) -> fmt::Result {
        let forwarder = &self.picture.forwarders[position];
        let (at, theme) = (self.placed.forwarders[position], self.placed.theme);
        let off = if forwarder.is_failed { " off" } else { "" };
        if theme.names_inside {
            let class = if forwarder.is_failed { "off" } else { "inside" };
            self.text(class, at, theme.font, &forwarder.name)?;
        } else if let Some(rect) = self.placed.names[position] {
            self.text(
                &format!("below{off}"),
                rect.centre(),
                theme.font,
                &forwarder.name,
            )?;
        }
        if let (Some(distance), Detail::Full) = (forwarder.distance, theme.detail)
            && !forwarder.is_root
        {
            self.badge(self.placed.corner(position), distance)?;
        }
        Ok(())
    }

    /// A distance, on the corner of a circle or box.
    fn badge(&mut self, at: Point, distance: u64) -> fmt::Result {
        let (text, small) = (distance.to_string(), self.placed.theme.small * 0.95);
        let height = small * 1.5;
        let rect = Rect::around(at, (text_width(&text, small) + 7.0).max(height), height);
        writeln!(
            self.out,
            "<rect class=\"badge\" {}/>",
            corners(rect, height / 2.0)
        )?;
        self.text("badgetext", at, small, &text)
    }

    fn apps(&mut self) -> fmt::Result {
        let theme = self.placed.theme;
        for placed in &self.placed.boxes {
            let app = &self.picture.apps[placed.app];
            let rect = placed.rect;
            let name = escape(&app.name);
            let shape = corners(rect, rect.height().min(16.0) * 0.38);
            writeln!(
                self.out,
                "<rect class=\"app\" {shape}><title>{name}</title></rect>"
            )?;
            if theme.detail == Detail::Dots {
                continue;
            }
            self.text("apptext", rect.centre(), theme.font - 0.5, &app.name)?;
            let is_tree = app.attachments[placed.attachment].is_tree;
            if let (Some(distance), true, Detail::Full) = (app.distance, is_tree, theme.detail) {
                self.badge(Point::new(rect.max.x - 3.0, rect.min.y), distance)?;
            }
        }
        Ok(())
    }

    fn legend(&mut self, items: &[Item], top: f64) -> fmt::Result {
        for item in items {
            let (x, y) = (MARGIN + item.x, top + item.line * LEGEND_LINE);
            let swatch = Point::new(x + 9.0, y);
            let (left, right) = (x, x + 20.0);
            match &item.sign {
                Sign::Node(colour) => writeln!(
                    self.out,
                    "<circle class=\"g{colour}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"6\"/>",
                    swatch.x
                )?,
                Sign::Line(class) => writeln!(
                    self.out,
                    "<path class=\"{class}\" d=\"M{left:.1} {y:.1}L{right:.1} {y:.1}\"/>"
                )?,
                Sign::Box => {
                    let rect = Rect::around(swatch, 18.0, 11.0);
                    writeln!(self.out, "<rect class=\"app\" {}/>", corners(rect, 3.5))?;
                }
                Sign::Badge => self.badge(swatch, 2)?,
            }
            writeln!(
                self.out,
                "<text class=\"quiet\" x=\"{:.1}\" y=\"{y:.1}\" dy=\".35em\" \
                 font-size=\"{FONT}\">{}</text>",
                x + 27.0,
                escape(&item.text)
            )?;
        }
        Ok(())
    }

    /// Epoch that the picture was computed from, in the corner.
    fn epoch(&mut self, width: f64, height: f64) -> fmt::Result {
        writeln!(
            self.out,
            "<text class=\"quiet\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" \
             font-size=\"10\" opacity=\".75\">epoch {}</text>",
            width - MARGIN,
            height - 14.0,
            escape(&self.picture.epoch)
        )
    }

    /// Text with its middle at `at`.
    fn text(&mut self, class: &str, at: Point, size: f64, text: &str) -> fmt::Result {
        writeln!(
            self.out,
            "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" dy=\".35em\" text-anchor=\"middle\" \
             font-size=\"{size:.1}\">{}</text>",
            at.x,
            at.y,
            escape(text)
        )
    }

    fn shows_tree(&self) -> bool {
        self.picture.stage == Stage::Spt
    }
}

fn path(curve: Curve) -> String {
    let (from, bend, to) = (curve.from, curve.bend, curve.to);
    let start = format!("M{:.1} {:.1}", from.x, from.y);
    if curve.is_straight() {
        format!("{start}L{:.1} {:.1}", to.x, to.y)
    } else {
        format!(
            "{start}Q{:.1} {:.1} {:.1} {:.1}",
            bend.x, bend.y, to.x, to.y
        )
    }
}

fn corners(rect: Rect, radius: f64) -> String {
    format!(
        "x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"{radius:.1}\"",
        rect.min.x,
        rect.min.y,
        rect.width(),
        rect.height()
    )
}

/// `text` as it may stand in XML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
