//! Scrapes on a thread of their own.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use tokio::sync::{mpsc, oneshot};

/// Requests that wait for the next scrape at most.
const WAITING: usize = 64;

/// Runs a scrape at a time, and gives its text to everyone who asked before it began. Cheap to clone.
///
/// A scrape may wait for a lock that is held over a disk: it takes neither a thread of the runtime nor one of its
/// pool for blocking work, which others need.
#[derive(Clone, Debug)]
pub(crate) struct Scraper(Option<mpsc::Sender<oneshot::Sender<String>>>);

impl Scraper {
    /// Starts the thread; it ends with the last clone.
    pub(crate) fn start(scrape: impl Fn() -> String + Send + 'static) -> Scraper {
        let (sender, mut requests) = mpsc::channel::<oneshot::Sender<String>>(WAITING);
        let work = move || {
            while let Some(first) = requests.blocking_recv() {
                let mut waiting = vec![first];
                while let Ok(next) = requests.try_recv() {
                    waiting.push(next);
                }
                // A panic is logged by the hook; receivers notice it when the senders are dropped.
                let Ok(text) = catch_unwind(AssertUnwindSafe(&scrape)) else {
                    continue;
                };
                for request in waiting {
                    // One that is gone needs no answer.
                    let _ = request.send(text.clone());
                }
            }
        };
        let started = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(work);
        if let Err(error) = &started {
            tracing::error!(%error, "failed to start the thread of the metrics");
        }
        Scraper(started.is_ok().then_some(sender))
    }

    /// The metrics as text; `None` when the scrape panicked or too many wait.
    pub(crate) async fn text(&self) -> Option<String> {
        let (answer, text) = oneshot::channel();
        self.0.as_ref()?.try_send(answer).ok()?;
        text.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc as blocking,
    };

    use super::*;

    #[tokio::test]
    async fn requests_that_wait_share_one_scrape() {
        let (release, released) = blocking::channel::<()>();
        let count = Arc::new(AtomicUsize::new(0));
        let (begin, mut begun) = mpsc::unbounded_channel();
        let scraper = {
            let count = Arc::clone(&count);
            Scraper::start(move || {
                begin.send(()).expect("the test waits");
                released.recv().expect("the test releases it");
                count.fetch_add(1, Ordering::Relaxed).to_string()
            })
        };
        let ask = || {
            let scraper = scraper.clone();
            tokio::spawn(async move { scraper.text().await })
        };
        let first = ask();
        begun.recv().await.expect("the scrape begins");
        let others: Vec<_> = (0..10).map(|_| ask()).collect();
        // Each of them has put its request into the channel.
        while scraper.0.as_ref().expect("it runs").capacity() > WAITING - others.len() {
            tokio::task::yield_now().await;
        }
        release.send(()).expect("it waits");
        release.send(()).expect("it waits");
        assert_eq!(first.await.expect("no panic").as_deref(), Some("0"));
        for other in others {
            assert_eq!(other.await.expect("no panic").as_deref(), Some("1"));
        }
    }

    #[tokio::test]
    async fn a_scrape_that_panics_fails_alone() {
        let count = AtomicUsize::new(0);
        let scraper = Scraper::start(move || match count.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("the first one"),
            count => count.to_string(),
        });
        assert_eq!(scraper.text().await, None);
        assert_eq!(scraper.text().await.as_deref(), Some("1"));
    }
}
