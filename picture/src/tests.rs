//! Constraints on pictures, on shapes of many sizes.

use super::{App, Attachment, Forwarder, Link, Picture, Stage, place::place, svg};
use topology::Shape;

fn picture(shape: Shape, n: usize) -> Picture {
    let forwarder = |i: usize| Forwarder {
        name: format!("edge-{i}"),
        ..Forwarder::default()
    };
    let link = |(a, b): (usize, usize)| Link {
        id: format!("edge-{a}/edge-{b}"),
        a,
        b,
        weight: 1,
        weight_back: 1,
        ..Link::default()
    };
    let attachment = Attachment {
        forwarder: 0,
        weight: 1,
        is_tree: false,
    };
    Picture {
        title: "<plant> & \"co\"".into(),
        subtitle: String::new(),
        epoch: String::new(),
        stage: Stage::Global,
        shape,
        forwarders: (0..n).map(forwarder).collect(),
        links: topology::shape::links(shape, n)
            .into_iter()
            .map(link)
            .collect(),
        apps: vec![App {
            name: "sensors".into(),
            attachments: vec![attachment],
            distance: None,
        }],
    }
}

#[test]
fn circles_never_overlap() {
    let shapes = [
        Shape::Mesh,
        Shape::Ring,
        Shape::Line,
        Shape::Star,
        Shape::Tree,
        Shape::Grid,
        Shape::Fabric,
    ];
    for shape in shapes {
        for n in [2, 3, 5, 9, 17, 40, 70] {
            let placed = place(&picture(shape, n));
            for i in 0..n {
                for j in 0..i {
                    let apart = (placed.forwarders[i] - placed.forwarders[j]).length();
                    let least = 2.0 * placed.theme.radius + 4.0;
                    assert!(
                        apart > least,
                        "{shape:?} of {n}: {i} and {j} are {apart} apart"
                    );
                }
            }
        }
    }
}

#[test]
fn parts_without_a_link_between_them_stand_side_by_side() {
    let mut alone = picture(Shape::Custom, 12);
    alone.links = picture(Shape::Line, 4).links;
    let placed = place(&alone);
    for i in 0..12 {
        for j in 0..i {
            assert!(
                (placed.forwarders[i] - placed.forwarders[j]).length() > 50.0,
                "{i} and {j}"
            );
        }
    }
}

#[test]
fn names_are_escaped_and_bytes_repeat() {
    let picture = picture(Shape::Grid, 9);
    let drawn = svg(&picture);
    assert!(drawn.contains("&lt;plant&gt; &amp; &quot;co&quot;"));
    assert!(!drawn.contains("<plant>"));
    assert_eq!(drawn, svg(&picture));
}
