//! Waiting for a condition of a topology, by a watch.

use super::{
    Cluster,
    refused::Asked,
    stored::{Stored, condition},
};
use console::failure::Failure;
use crds::Condition;
use futures::StreamExt;
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        watcher::{Error, watch_object},
    },
};
use std::{pin::pin, time::Duration};

/// The condition that is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Type of the condition, which must be `True`.
    pub(crate) condition: &'a str,
    /// The generation that it must be about; that of the object where it is newer.
    pub(crate) generation: i64,
    /// Longest time to wait.
    pub(crate) timeout: Duration,
}

impl Cluster {
    /// Waits until the condition holds, and returns the topology as it was then.
    ///
    /// # Errors
    /// [`Failure::NotFound`] when there is no such topology, or it goes; [`Failure::TimedOut`] with
    /// the reason why the condition does not hold; what the server refuses.
    pub(crate) fn wait(&self, name: &str, wanted: Wanted<'_>) -> Result<Stored, Failure> {
        self.wait_in(&self.namespace, name, wanted)
    }

    /// As [`Cluster::wait`], in another namespace.
    ///
    /// # Errors
    /// As [`Cluster::wait`].
    pub(crate) fn wait_in(
        &self,
        namespace: &str,
        name: &str,
        wanted: Wanted<'_>,
    ) -> Result<Stored, Failure> {
        let mut last = None;
        let watched = self.block_on(async {
            let watch = self.watch(namespace, name, wanted, &mut last);
            tokio::time::timeout(wanted.timeout, watch).await
        });
        match watched {
            Ok(Ok(Some(topology))) => Ok(topology),
            Ok(Ok(None)) => Err(self.no_topology(name)),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::TimedOut(late(
                namespace,
                name,
                wanted,
                last.as_ref(),
            ))),
        }
    }

    /// `None` when there is none.
    async fn watch(
        &self,
        namespace: &str,
        name: &str,
        wanted: Wanted<'_>,
        last: &mut Option<Stored>,
    ) -> Result<Option<Stored>, Failure> {
        let api: Api<Stored> = self.api(namespace);
        let mut states = pin!(watch_object(api, name).default_backoff());
        while let Some(state) = states.next().await {
            match state {
                Ok(Some(topology)) if holds(&topology, wanted) => return Ok(Some(topology)),
                Ok(Some(topology)) => *last = Some(topology),
                Ok(None) => return Ok(None),
                // A server that is away for a moment is waited for as well; one that says no is not.
                Err(error) => {
                    if let Some(failure) = self.refused(error) {
                        return Err(failure);
                    }
                }
            }
        }
        Ok(None)
    }

    fn refused(&self, error: Error) -> Option<Failure> {
        let asked = |verb| Asked::new::<Stored>(verb, Some(&self.namespace));
        let (asked, error) = match error {
            Error::InitialListFailed(error) => (asked("list"), error),
            Error::WatchStartFailed(error) | Error::WatchFailed(error) => (asked("watch"), error),
            _ => return None,
        };
        let is_final =
            matches!(&error, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404));
        is_final.then(|| self.refusal(&asked, &error))
    }
}

fn holds(topology: &Stored, wanted: Wanted<'_>) -> bool {
    let needed = wanted.generation.max(topology.generation());
    let status = topology.status();
    let is_about = |condition: &Condition| {
        let of = condition.observed_generation.or(status.observed_generation);
        of.is_some_and(|of| of >= needed)
    };
    condition(&status, wanted.condition).is_some_and(|it| it.status == "True" && is_about(it))
}

fn late(namespace: &str, name: &str, wanted: Wanted<'_>, last: Option<&Stored>) -> String {
    let Wanted {
        condition: r#type,
        timeout,
        ..
    } = wanted;
    let timeout = crds::duration::format(timeout);
    let what = format!(
        "topology {namespace}/{name} is not {} after {timeout}",
        r#type
    );
    let Some(last) = last else {
        return format!("{what}: the API server did not answer");
    };
    let (status, generation) = (last.status(), last.generation());
    let why = match condition(&status, r#type) {
        _ if status.observed_generation.is_none() => {
            "the operator has not reconciled it; does it run, and watch this namespace?".to_owned()
        }
        _ if status.observed_generation < Some(generation) => {
            format!("the operator has not reconciled generation {generation} yet")
        }
        Some(it) => told(it),
        None => format!("the operator reports no condition {:?}", r#type),
    };
    format!("{what}: {why}")
}

/// `REASON: MESSAGE`, as far as there is one.
pub(crate) fn told(condition: &Condition) -> String {
    let parts = [&condition.reason, &condition.message];
    let parts: Vec<&str> = parts
        .into_iter()
        .filter(|it| !it.is_empty())
        .map(|it| &**it)
        .collect();
    match parts.is_empty() {
        true => format!("{} is {}", condition.r#type, condition.status),
        false => parts.join(": "),
    }
}
