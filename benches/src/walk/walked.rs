//! The lab in which links fall.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::Value;

use super::{
    LIMIT,
    inotify::Taken,
    restart::{Restarted, Stopped},
};
use crate::{
    harness::bench::Context,
    lab::{Lab, Status},
};

/// A running lab, with daemons that have an inotify instance or none.
pub(crate) struct Walked {
    // Daemons end before the lab, and instances are free when it goes down.
    restarted: Option<Restarted>,
    taken: Option<Taken>,
    pub(crate) lab: Lab,
}

impl Walked {
    /// Brings it up; all inotify instances are taken afterwards, if the daemons are to have none.
    ///
    /// # Errors
    /// Failure of `beemesh lab`, and when instances cannot be taken.
    pub(crate) fn up(context: &Context, topology: Value, without_inotify: bool) -> Result<Self> {
        let mut lab = Lab::new(context, topology)?;
        lab.up()?;
        let (mut restarted, mut taken) = (None, None);
        if without_inotify {
            let stopped = Stopped::all(&context.program("beemesh"), &lab)?;
            taken = Some(Taken::all()?);
            restarted = Some(stopped.start()?);
        }
        Ok(Self {
            restarted,
            taken,
            lab,
        })
    }

    /// Waits until the lab says that all is as declared, and a little longer.
    ///
    /// # Errors
    /// When that does not come about, and when a daemon has an inotify instance all the same.
    pub(crate) fn healthy(&self) -> Result<Status> {
        let start = Instant::now();
        if let Some(restarted) = &self.restarted {
            restarted.have_no_inotify()?;
        }
        loop {
            match self.lab.status() {
                Err(error) if start.elapsed() > LIMIT => return Err(error.context("not healed")),
                Err(_) => sleep(Duration::from_millis(100)),
                Ok(status) => {
                    sleep(Duration::from_millis(500));
                    return Ok(status);
                }
            }
        }
    }

    /// Cuts a link that is down already by the lab, which compares all tables with the computed ones.
    ///
    /// # Errors
    /// When they are others.
    pub(crate) fn verify(&mut self, link: &str) -> Result<()> {
        if let Some(restarted) = &self.restarted {
            restarted.have_no_inotify()?;
        }
        // The lab needs an instance.
        self.taken = None;
        self.lab.verb(&["lab", "cut"], link)
    }
}
