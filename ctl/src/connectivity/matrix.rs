//! Reachability as a table: a row for each sender, a column for each receiver.

use super::{
    Report,
    rounds::{Outcome, Round},
};
use console::output;

/// Milliseconds in IPv4 and IPv6.
pub(super) fn table(report: &Report) -> String {
    let mut text = format!(
        "{} nodes, image {}, {} s; milliseconds in IPv4/IPv6\n",
        report.nodes.len(),
        report.image,
        report.seconds
    );
    for round in &report.rounds {
        text += &format!(
            "\n{}: {} of {} reached\n",
            round.name,
            round.pairs - round.failed,
            round.pairs
        );
        text += &matrix(&report.nodes, round);
        for failed in round.results.iter().filter(|it| it.ms.is_none()) {
            let Outcome {
                from,
                to,
                family,
                error,
                ..
            } = failed;
            text += &format!(
                "! {from} -> {to}, {family}: {}\n",
                error.as_deref().unwrap_or("no answer")
            );
        }
    }
    text
}

fn matrix(nodes: &[String], round: &Round) -> String {
    let mut headings = vec![""];
    headings.extend(nodes.iter().map(String::as_str));
    let mut rows = output::table(&headings, &[]);
    for from in nodes {
        let cells = nodes.iter().map(|to| cell(round, from, to));
        rows.add_row(std::iter::once(from.clone()).chain(cells));
    }
    output::table_text(&rows)
}

fn cell(round: &Round, from: &str, to: &str) -> String {
    let family = |family: &str| {
        let mut results = round.results.iter();
        let is_it = |it: &&Outcome| it.from == from && it.to == to && it.family == family;
        match results.find(is_it) {
            None => "-".to_owned(),
            Some(Outcome { ms: Some(ms), .. }) => format!("{ms:.1}"),
            Some(_) => "FAIL".to_owned(),
        }
    };
    match from == to {
        true => String::new(),
        false => format!("{}/{}", family("ipv4"), family("ipv6")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_was_not_reached_stands_out() {
        let outcome = |from: &str, to: &str, family, ms| Outcome {
            from: from.to_owned(),
            to: to.to_owned(),
            family,
            ms,
            error: None,
        };
        let round = Round {
            name: "all links".to_owned(),
            pairs: 3,
            failed: 1,
            results: vec![
                outcome("a", "b", "ipv4", Some(0.42)),
                outcome("a", "b", "ipv6", None),
                outcome("b", "a", "ipv4", Some(1.0)),
            ],
        };
        let nodes = ["a".to_owned(), "b".to_owned()];
        let lines: Vec<String> = matrix(&nodes, &round)
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines, ["a b", "a 0.4/FAIL", "b 1.0/-"]);
    }
}
