//! A graph as a table.

use super::View;
use console::output;

/// A graph for people.
pub(super) fn table(view: &View) -> String {
    let picture = &view.picture;
    let mut rows = output::table(&["FROM", "TO", "WEIGHT", "BACK", "STATE"], &[2, 3]);
    let name = |position: usize| picture.forwarders[position].name.clone();
    for link in &picture.links {
        let state = match link {
            _ if link.is_failed => "out",
            _ if link.is_tree_ab => "shortest path, forth",
            _ if link.is_tree_ba => "shortest path, back",
            _ if link.is_heavier => "heavier parallel",
            _ => "up",
        };
        let (weight, back) = (link.weight.to_string(), link.weight_back.to_string());
        rows.add_row([name(link.a), name(link.b), weight, back, state.to_owned()]);
    }
    for app in &picture.apps {
        for edge in &app.attachments {
            let state = if edge.is_tree {
                "shortest path, forth"
            } else {
                "attached"
            };
            let weight = edge.weight.to_string();
            let back = "-".to_owned();
            rows.add_row([
                name(edge.forwarder),
                app.name.clone(),
                weight,
                back,
                state.to_owned(),
            ]);
        }
    }
    let mut text = format!("{}: {}\n\n", picture.title, picture.subtitle);
    text += &output::table_text(&rows);
    if view.report.root.is_none() {
        return text;
    }
    let mut rows = output::table(&["TO", "DISTANCE"], &[1]);
    for (name, distance) in &view.report.distances {
        rows.add_row([name.clone(), distance.to_string()]);
    }
    text + "\n" + &output::table_text(&rows)
}
