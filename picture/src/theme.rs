//! Sizes, colours and letters of a picture.

/// Level of detail, so that large pictures stay readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Names, weights, distances, Apps with their names.
    Full,
    /// Names; weights only where they are not the usual one.
    Compact,
    /// Dots and lines; names when the pointer rests on one.
    Dots,
}

/// Sizes in pixels for one level of detail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) detail: Detail,
    /// Distance of neighbours.
    pub(super) spacing: f64,
    /// Radius of a Forwarder.
    pub(super) radius: f64,
    /// Letters of Forwarders and Apps.
    pub(super) font: f64,
    /// Letters on links and badges.
    pub(super) small: f64,
    /// True when names are inside the circles.
    pub(super) names_inside: bool,
}

impl Theme {
    /// The sizes for so many Forwarders, the longest name of which takes `name_width` em.
    pub(super) fn new(forwarders: usize, longest_name: &str) -> Self {
        let detail = match forwarders {
            0..=60 => Detail::Full,
            61..=400 => Detail::Compact,
            _ => Detail::Dots,
        };
        let (spacing, radius, font, small) = match detail {
            Detail::Full => (112.0, 16.0, 13.0, 11.0),
            Detail::Compact => (62.0, 9.0, 10.0, 9.0),
            Detail::Dots => (22.0, 4.0, 8.0, 7.0),
        };
        let name_width = text_width(longest_name, font);
        let names_inside = detail == Detail::Full && name_width <= 36.5;
        Self {
            detail,
            spacing: if names_inside {
                spacing
            } else {
                spacing.max((name_width + 26.0).min(190.0))
            },
            radius: if names_inside { 23.0 } else { radius },
            font,
            small,
            names_inside,
        }
    }
}

/// About how wide `text` is in a common sans-serif at `size` pixels.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let em = |letter: char| match letter {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | '\'' | '|' => 0.3,
        'f' | 't' | 'r' | '-' | '/' | '(' | ')' | ' ' => 0.39,
        'm' | 'w' | 'M' | 'W' | '@' => 0.9,
        'A'..='Z' => 0.69,
        _ if letter.is_ascii() => 0.6,
        _ => 0.8,
    };
    text.chars().map(em).sum::<f64>() * size
}

/// Number of colours for nodes.
pub(super) const COLOURS: usize = 8;

/// The style sheet: light, and dark where the reader prefers it. Fonts are those of the machine.
pub(super) const STYLE: &str = "\
text{font-family:Inter,'Segoe UI','Helvetica Neue',Roboto,'DejaVu Sans',Arial,sans-serif;fill:#1e293b}
.paper{fill:#ffffff}
.title{font-weight:700}
.quiet{fill:#64748b}
.link{fill:none;stroke:#a3b0c2;stroke-width:1.8;stroke-linecap:round}
.heavier{opacity:.45;stroke-dasharray:1.5 5}
.tree{stroke:#2563eb;stroke-width:3.2}
.arrow{fill:#2563eb}
.failed{stroke:#b4bcc8;stroke-dasharray:6 6;stroke-width:1.6}
.leader{fill:none;stroke:#d9a04a;stroke-width:1.5}
.pill{fill:#ffffff;stroke:#cbd5e1;stroke-width:1}
.pill.on{stroke:#2563eb}
.weight{fill:#475569}
.weight.on{fill:#1d4ed8;font-weight:600}
.pill.out{stroke:#d5dae2}.weight.out{fill:#a3adba}
.fwd{stroke:#ffffff;stroke-width:2.5}
.root{fill:none;stroke:#2563eb;stroke-width:2.5}
.gone{fill:#f1f5f9;stroke:#a3adba;stroke-width:1.6;stroke-dasharray:4 4}
.inside{fill:#ffffff;font-weight:600}
.below{paint-order:stroke;stroke:#ffffff;stroke-width:3.5;stroke-linejoin:round}
.off{fill:#94a3b8}
.app{fill:#fff8eb;stroke:#d9922b;stroke-width:1.5}
.apptext{fill:#7a4a0a;font-weight:500}
.badge{fill:#1e293b;stroke:#ffffff;stroke-width:1.5}
.badgetext{fill:#ffffff;font-weight:600}
.g0{fill:#4472a8}.g1{fill:#4d9651}.g2{fill:#b8691f}.g3{fill:#8f64a8}
.g4{fill:#2a8c88}.g5{fill:#bf5450}.g6{fill:#86705b}.g7{fill:#64748b}
.compact .link{stroke-width:1.3}.compact .tree{stroke-width:2.2}.compact .fwd{stroke-width:1.5}
.dots .link{stroke-width:.5}.dots .tree{stroke-width:1}.dots .fwd{stroke-width:.8}
@media (prefers-color-scheme:dark){
text{fill:#e2e8f0}.paper{fill:#0f172a}.quiet{fill:#94a3b8}
.link{stroke:#56657c}.tree{stroke:#60a5fa}.arrow{fill:#60a5fa}.failed{stroke:#475569}
.pill{fill:#0f172a;stroke:#475569}.pill.on{stroke:#60a5fa}
.weight{fill:#cbd5e1}.weight.on{fill:#93c5fd}.pill.out{stroke:#334155}.weight.out{fill:#64748b}
.fwd{stroke:#0f172a}.root{stroke:#60a5fa}.gone{fill:#1e293b;stroke:#64748b}
.inside,.badgetext{fill:#ffffff}.below{stroke:#0f172a}.off{fill:#64748b}
.app{fill:#3a2a10;stroke:#d9922b}.apptext{fill:#fcd9a0}.badge{fill:#334155;stroke:#0f172a}
}";
