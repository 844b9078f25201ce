//! Controller of Forwarders: publishes the computed digest in each one's status.

use std::future::Future;

use kube::runtime::controller::Action;

use super::{
    Context, Error,
    driver::{Controller, drive},
    retry::Failures,
};
use crate::observe::Key;

/// The controller of Forwarders.
struct Forwarders {
    context: Context,
    failures: Failures,
}

/// Runs until `stop`, then finishes pending writes.
pub async fn run(context: Context, stop: impl Future<Output = ()> + Send + 'static) {
    let (store, queue) = (
        context.cache.forwarder_store(),
        context.cache.due_forwarders(),
    );
    let failures = Failures::default();
    drive(Forwarders { context, failures }, store, queue, stop).await;
}

impl Controller for Forwarders {
    const KIND: &'static str = crds::Forwarder::KIND;

    fn context(&self) -> &Context {
        &self.context
    }

    fn failures(&self) -> &Failures {
        &self.failures
    }

    async fn look_at(&self, key: &Key) -> Result<Action, Error> {
        let Some((held, computed)) = self.context.cache.to_publish(key) else {
            self.failures.succeeded(key);
            return Ok(Action::await_change());
        };
        match self.context.writer.publish(&held, &computed).await {
            Ok(()) => {
                self.failures.succeeded(key);
                Ok(Action::await_change())
            }
            // Most often the Forwarder's node, which reports; or it is gone, and the watch does not say so yet.
            Err(error) if error.is_conflict() => Ok(Action::requeue(self.failures.failed(key))),
            Err(error) => Err(error.into()),
        }
    }

    fn forget(&self, key: &Key) {
        self.failures.succeeded(key);
    }
}
