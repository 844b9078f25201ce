//! The runner: a cluster for the stories, each in its namespace, what they leave when they fail.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use e2e::cluster::{self, Access, Cluster, Settings};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::signal::{SigSet, Signal};

use crate::stories::{self, Story};
use crate::world::World;

/// How the stories are run.
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) filter: Option<String>,
    /// Leave the cluster running.
    pub(crate) keep: bool,
    /// Take down first what is in the folder.
    pub(crate) fresh: bool,
    /// Only name them.
    pub(crate) list: bool,
}

/// Runs the stories on the cluster of `KUBECONFIG`, else on the one in the folder, else on a new one that goes afterwards.
pub(crate) fn run(plan: Plan) -> Result<ExitCode> {
    let theirs =
        std::env::var_os("KUBECONFIG").filter(|_| plan.settings.dir == cluster::default_dir());
    let missing = match theirs {
        Some(_) => e2e::needs(&["kubectl"]),
        None => cluster::needs(),
    };
    if plan.list || missing.is_some() {
        e2e::tell(missing.as_deref());
        let trials = stories::all()
            .into_iter()
            .map(|story| nothing(story, &missing));
        return Ok(finish(&plan, trials.collect()));
    }
    let dir = plan.settings.dir.clone();
    let is_ours = theirs.is_none() && (plan.fresh || !cluster::exists(&dir));
    let is_left = plan.keep || !is_ours;
    if !is_left {
        take_down_when_told(&dir)?;
    }
    let world = match theirs {
        Some(file) => World::new(Access::new(file.into()), None),
        None if is_ours => made(&plan).inspect_err(|_| end(&dir, is_left))?,
        None => world_of(Cluster::open(&dir)?),
    };
    let trials = stories::all().into_iter().map(|story| trial(story, &world));
    let code = finish(&plan, trials.collect());
    world.memory()?;
    eprintln!("\n{}", world.figures.table());
    if is_left {
        eprintln!("the cluster is left as it is");
    }
    end(&dir, is_left);
    Ok(code)
}

fn made(plan: &Plan) -> Result<World> {
    if plan.fresh {
        cluster::check_is_cluster(&plan.settings.dir)?;
        cluster::down(&plan.settings.dir)?;
    }
    let started = Instant::now();
    let world = Cluster::up(plan.settings.clone()).map(world_of)?;
    let what = "cluster, until all nodes are ready and names are resolved";
    world.figures.time(what, started.elapsed());
    Ok(world)
}

fn world_of(cluster: Cluster) -> World {
    World::new(cluster.access().clone(), Some(cluster))
}

fn finish(plan: &Plan, trials: Vec<Trial>) -> ExitCode {
    let arguments = Arguments {
        filter: plan.filter.clone(),
        list: plan.list,
        // They share nodes, and break them.
        test_threads: Some(1),
        ..Arguments::default()
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(story: &'static Story, world: &World) -> Trial {
    let world = world.clone();
    let kind = match story.needs_nodes && world.cluster().is_err() {
        true => "needs nodes of our own",
        false => "",
    };
    let run = move || {
        let started = Instant::now();
        let own = world.enter(story.name).map_err(failed)?;
        let outcome = (story.tell)(&own);
        let took = started.elapsed();
        own.figures.time(&format!("story {}", story.name), took);
        match outcome {
            Ok(()) => own.leave().map_err(failed),
            Err(error) => {
                // At once too: the others may take long.
                eprintln!("{error:#}");
                let place = own.dump(story.name).map_err(failed)?;
                Err(Failed::from(format!(
                    "{error:#}\nstate: {}",
                    place.display()
                )))
            }
        }
    };
    Trial::test(story.name, run)
        .with_kind(kind)
        .with_ignored_flag(!kind.is_empty())
}

fn nothing(story: &Story, missing: &Option<String>) -> Trial {
    e2e::trial(story.name, missing.as_deref(), || Ok(()))
}

fn failed(error: anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}

/// A cluster goes with its runner, also when somebody interrupts it.
fn take_down_when_told(dir: &Path) -> Result<()> {
    let mut told = SigSet::empty();
    told.add(Signal::SIGINT);
    told.add(Signal::SIGTERM);
    told.thread_block().context("failed to block signals")?;
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        if let Ok(signal) = told.wait() {
            eprintln!("{signal}: the cluster is taken down");
            end(&dir, false);
            std::process::exit(130);
        }
    });
    Ok(())
}

fn end(dir: &Path, is_left: bool) {
    if is_left {
        return;
    }
    if let Err(error) = cluster::down(dir) {
        // Nothing may be left: that is a failure of its own.
        eprintln!("failed to take the cluster down: {error:#}");
        std::process::exit(1);
    }
}
