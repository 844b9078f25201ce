//! Request counters of the API server.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::ApiServer;

/// Verbs that change stored objects.
const WRITES: [&str; 6] = [
    "APPLY",
    "DELETE",
    "DELETECOLLECTION",
    "PATCH",
    "POST",
    "PUT",
];

/// One kind of request, as in the labels of `apiserver_request_total`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Request {
    /// `GET`, `LIST`, `WATCH`, `POST`, `PUT`, `PATCH`, `APPLY`, `DELETE`, ...
    pub verb: String,
    /// Plural of the kind, such as `forwarders`.
    pub resource: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
    /// Such as `beemesh.io`; empty for the core group.
    pub group: String,
    /// The HTTP status of the answers.
    pub code: u16,
}

/// Number of answers to each kind of request since the API server started.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Requests(pub BTreeMap<Request, u64>);

impl Requests {
    /// Number of requests that pass `filter`.
    #[must_use]
    pub fn count(&self, filter: impl Fn(&Request) -> bool) -> u64 {
        self.0
            .iter()
            .filter(|(request, _)| filter(request))
            .map(|(_, count)| count)
            .sum()
    }

    /// Number of writes (refused ones too) to resources that pass `filter`.
    #[must_use]
    pub fn writes(&self, filter: impl Fn(&str) -> bool) -> u64 {
        self.count(|request| WRITES.contains(&request.verb.as_str()) && filter(&request.resource))
    }

    /// Increase since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let more = self.0.iter().filter_map(|(request, count)| {
            let more = count.saturating_sub(earlier.0.get(request).copied().unwrap_or(0));
            (more > 0).then(|| (request.clone(), more))
        });
        Self(more.collect())
    }
}

impl ApiServer {
    /// Counts of all requests since kube-apiserver started. Watches count when they end.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn metrics(&self) -> Result<Requests> {
        Ok(parse(&self.kubectl(&["get", "--raw=/metrics"])?.ok()?))
    }
}

fn parse(text: &str) -> Requests {
    let mut requests = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("apiserver_request_total{") else {
            continue;
        };
        let Some((labels, value)) = rest.rsplit_once("} ") else {
            continue;
        };
        let labels: BTreeMap<&str, &str> = labels
            .split("\",")
            .filter_map(|label| label.trim_end_matches('"').split_once("=\""))
            .collect();
        let label = |name: &str| labels.get(name).copied().unwrap_or("").to_owned();
        let request = Request {
            verb: label("verb"),
            resource: label("resource"),
            subresource: label("subresource"),
            group: label("group"),
            code: label("code").parse().unwrap_or(0),
        };
        // Counts are written as floats, large ones with an exponent.
        *requests.entry(request).or_default() += value.parse::<f64>().unwrap_or(0.0) as u64;
    }
    Requests(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_from_the_text_format() {
        let text = r#"# TYPE apiserver_request_total counter
apiserver_request_total{code="200",component="apiserver",dry_run="",group="beemesh.io",resource="forwarders",scope="resource",subresource="status",verb="APPLY",version="v1alpha1"} 1.2e+03
apiserver_request_total{code="409",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="PUT",version="v1"} 2
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="LIST",version="v1"} 7
other{verb="PUT"} 5
"#;
        let requests = parse(text);
        assert_eq!(requests.writes(|resource| resource == "forwarders"), 1200);
        assert_eq!(requests.writes(|resource| resource == "pods"), 2);
        assert_eq!(requests.count(|request| request.code == 409), 2);
        assert_eq!(requests.since(&requests), Requests::default());
    }
}
