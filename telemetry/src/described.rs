//! Comparison of metrics with the document that lists them, for the tests of all daemons.

use std::collections::BTreeSet;

/// Name, type and labels of each metric in `text`, as `name|type|label, label`.
///
/// # Panics
/// When a metric has no sample.
pub fn described(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for (name, metric_type) in types.filter_map(|line| line.split_once(' ')) {
        let is_sample = |line: &&str| {
            let rest = line.strip_prefix(name).unwrap_or(line);
            let ends = ["{", " ", "_bucket", "_sum", "_count"];
            ends.iter().any(|next| rest.starts_with(next))
        };
        let sample = text.lines().find(is_sample).expect(name);
        let labels = sample.split_once('{').map_or("", |(_, rest)| {
            rest.split_once('}').expect("a closing brace").0
        });
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        let labels = labels.map(|(label, _)| format!("`{label}`"));
        let labels: Vec<String> = labels.filter(|label| label != "`le`").collect();
        found.insert(format!("`{name}`|{metric_type}|{}", labels.join(", ")));
    }
    found
}

/// As [`described`], of the tables of a document in Markdown.
pub fn listed(document: &str) -> BTreeSet<String> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let is_metric = cells.len() == 6 && cells[1].starts_with('`');
        is_metric.then(|| cells[1..4].join("|"))
    };
    document.lines().filter_map(row).collect()
}

/// Headings in `text` that are ill-formed: help texts are sentences, and counters alone end in `_total`, once.
pub fn ill_formed(text: &str) -> Vec<&str> {
    let is_ill = |line: &&str| match line.strip_prefix("# TYPE ") {
        Some(heading) => {
            let is_counter = heading.ends_with(" counter");
            heading.contains("_total ") != is_counter || heading.contains("_total_total")
        }
        None => line.starts_with("# HELP") && (!line.ends_with('.') || line.ends_with("..")),
    };
    text.lines().filter(is_ill).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_described_as_a_document_lists_it() {
        let text = "# HELP a_total All.\n# TYPE a_total counter\na_total{b=\"1\",le=\"2\"} 3\n";
        let document =
            "| Metric | Type | Labels | Meaning |\n| `a_total` | counter | `b` | All |\n";
        assert_eq!(described(text), listed(document));
        assert_eq!(ill_formed(text), [""; 0]);
    }

    #[test]
    fn ill_formed_headings_are_found() {
        let lines = [
            "# HELP a No stop",
            "# HELP a Two..",
            "# TYPE a counter",
            "# TYPE a_total gauge",
        ];
        assert_eq!(ill_formed(&lines.join("\n")), lines);
    }
}
