//! Conversion from OpenMetrics, which prometheus-client writes, to the text format that every scraper and `promtool` read.

use std::{
    borrow::Cow,
    fmt::Write,
    sync::{PoisonError, RwLock},
};

use prometheus_client::{encoding::text::encode, registry::Registry};

/// All that is registered, in the text format of Prometheus (0.0.4).
pub fn text(registry: &RwLock<Registry>) -> String {
    let mut text = String::new();
    // One that was being read or written when something panicked is still whole.
    let registry = registry.read().unwrap_or_else(PoisonError::into_inner);
    encode(&mut text, &registry).expect("a String takes every write");
    prometheus(&text)
}

/// `text` in the older format: a counter is called `_total` in its heading too, an info is a gauge,
/// and there is neither a unit nor an end mark.
fn prometheus(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut headings: Vec<[&str; 3]> = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("# ") {
            let mut words = heading.splitn(3, ' ');
            let [what, name, rest] = [(); 3].map(|()| words.next().unwrap_or_default());
            if ["HELP", "TYPE"].contains(&what) {
                headings.push([what, name, rest]);
            }
            continue;
        }
        write_headings(&mut out, &headings);
        headings.clear();
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// The headings of one metric; those of a metric without samples are left out.
fn write_headings(out: &mut String, headings: &[[&str; 3]]) {
    let start = headings.iter().rposition(|[what, ..]| *what == "HELP");
    let headings = &headings[start.unwrap_or_default()..];
    let metric_type = headings
        .iter()
        .find_map(|[what, _, rest]| (*what == "TYPE").then_some(*rest));
    for [what, name, rest] in headings {
        let name: Cow<'_, str> = match metric_type {
            Some("counter") => format!("{name}_total").into(),
            Some("info") => format!("{name}_info").into(),
            _ => (*name).into(),
        };
        let rest = if *rest == "info" { "gauge" } else { rest };
        writeln!(out, "# {what} {name} {rest}").expect("a String takes every write");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_fit_the_samples() {
        let open = "# HELP a_build Which.\n# TYPE a_build info\na_build_info{v=\"1\"} 1\n\
            # HELP a_writes Writes.\n# TYPE a_writes counter\na_writes_total 3\n\
            # HELP a_none None.\n# TYPE a_none counter\n\
            # HELP a_seconds Time.\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds 2\n\
            # EOF\n";
        let plain = "# HELP a_build_info Which.\n# TYPE a_build_info gauge\na_build_info{v=\"1\"} 1\n\
            # HELP a_writes_total Writes.\n# TYPE a_writes_total counter\na_writes_total 3\n\
            # HELP a_seconds Time.\n# TYPE a_seconds gauge\na_seconds 2\n";
        assert_eq!(prometheus(open), plain);
    }
}
