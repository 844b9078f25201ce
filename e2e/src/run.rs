//! Runner: a cluster for the stories, each in its namespace, and a dump after a failure.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::cluster::{self, Access, Cluster, Settings};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::signal::{SigSet, Signal};

use crate::figures::Figures;
use crate::pool::Pool;
use crate::progress::Progress;
use crate::stories::{self, Story};
use crate::world::World;

/// Settings of a run of stories.
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    /// The kubeconfig of a cluster of the user's: they run there, and none is made.
    pub(crate) theirs: Option<PathBuf>,
    pub(crate) filter: Option<String>,
    /// Leave the cluster running.
    pub(crate) keep: bool,
    /// Take down the existing cluster in the directory first.
    pub(crate) fresh: bool,
    /// Only name them.
    pub(crate) list: bool,
    /// Number of clusters to create.
    pub(crate) clusters: u8,
    /// The core set first, then the others beginning at this one; `None`: as listed.
    pub(crate) turn: Option<u64>,
    /// The time after which only stories of the core set begin.
    pub(crate) limit: Option<Duration>,
}

/// Runs the stories on the user's cluster, else on the one in the folder, else on a new one that goes afterwards.
pub(crate) fn run(plan: Plan) -> Result<ExitCode> {
    let missing = match plan.theirs {
        Some(_) => e2e::needs(&["kubectl"]),
        None => cluster::needs(&plan.settings.dir),
    };
    if plan.list || missing.is_some() {
        e2e::tell(missing.as_deref());
        let trials = plan.stories();
        let trials = trials.iter().map(|story| nothing(story, &missing));
        return Ok(finish(&plan, trials.collect(), 1));
    }
    let is_ours = plan.theirs.is_none() && (plan.fresh || !cluster::exists(&plan.settings.dir));
    let is_left = plan.keep || !is_ours;
    let dirs = match &plan.theirs {
        Some(_) => vec![],
        None if is_ours => plan.dirs(),
        None => vec![plan.settings.dir.clone()],
    };
    let stories = plan.stories();
    let progress = Progress::new(&stories, plan.limit);
    if !is_left {
        take_down_on_signal(&dirs, &progress)?;
    }
    let figures = Figures::default();
    let worlds = match &plan.theirs {
        Some(file) => vec![named(file, &figures)?],
        None if is_ours => made(&plan, &dirs, &figures).inspect_err(|_| end(&dirs, is_left))?,
        None => vec![world_of(Cluster::open(&plan.settings.dir)?, &figures)],
    };
    let has_nodes = worlds.iter().all(|world| world.cluster().is_ok());
    let threads = worlds.len();
    let first = worlds[0].clone();
    let pool = Arc::new(Pool::new(worlds));
    let trials = stories
        .iter()
        .map(|story| trial(story, &pool, &progress, has_nodes));
    let code = finish(&plan, trials.collect(), threads);
    first.memory()?;
    drop(first);
    say(&format!("\n{}", figures.table()));
    if is_left {
        say("the cluster is left as it is");
        for dir in &dirs {
            let dir = dir.display();
            say(&format!(
                "beemesh-e2e --dir {dir} shell cp    beemesh-e2e --dir {dir} down"
            ));
        }
    }
    end(&dirs, is_left);
    Ok(code)
}

impl Plan {
    /// The stories that the filter leaves, in the order in which they run.
    fn stories(&self) -> Vec<&'static Story> {
        let mut stories = stories::all();
        if let Some(filter) = &self.filter {
            stories.retain(|story| story.name.contains(filter.as_str()));
        }
        match self.turn {
            Some(turn) => stories::in_turn(stories, turn),
            None => stories,
        }
    }

    /// A folder for each cluster.
    fn dirs(&self) -> Vec<PathBuf> {
        let dir = &self.settings.dir;
        let further = (2..=self.clusters).map(|number| {
            let mut name = dir.clone().into_os_string();
            name.push(format!("-{number}"));
            name.into()
        });
        std::iter::once(dir.clone()).chain(further).collect()
    }
}

fn made(plan: &Plan, dirs: &[PathBuf], figures: &Figures) -> Result<Vec<World>> {
    let make = |dir: &PathBuf| {
        if plan.fresh {
            cluster::check_is_cluster(dir)?;
            cluster::down(dir)?;
        }
        let settings = Settings {
            dir: dir.clone(),
            ..plan.settings.clone()
        };
        let started = Instant::now();
        let world = world_of(Cluster::up(settings)?, figures);
        let what = "cluster, until all nodes are ready and names are resolved";
        figures.time(what, started.elapsed());
        Ok(world)
    };
    dirs.iter().map(make).collect()
}

/// Cluster of the user. Its name is printed before any change.
fn named(kubeconfig: &Path, figures: &Figures) -> Result<World> {
    let access = Access::new(kubeconfig.to_owned());
    let config = access.json(&["config", "view", "--minify"])?;
    let (context, cluster) = (&config["contexts"][0], &config["clusters"][0]);
    say(&format!(
        "the stories run on the cluster of KUBECONFIG: context {}, {}",
        context["name"], cluster["cluster"]["server"]
    ));
    Ok(World::new(access, None, figures.clone()))
}

fn world_of(cluster: Cluster, figures: &Figures) -> World {
    World::new(cluster.access().clone(), Some(cluster), figures.clone())
}

fn finish(plan: &Plan, trials: Vec<Trial>, threads: usize) -> ExitCode {
    let arguments = Arguments {
        list: plan.list,
        // Those of one cluster share its nodes, and break them.
        test_threads: Some(threads),
        ..Arguments::default()
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(story: &'static Story, pool: &Arc<Pool>, progress: &Progress, has_nodes: bool) -> Trial {
    let (pool, progress) = (Arc::clone(pool), progress.clone());
    let kind = match story.needs_nodes && !has_nodes {
        true => "needs nodes of our own",
        false => "",
    };
    let run = move || {
        let free = pool.borrow();
        if !progress.begin(story) {
            return Ok(Completion::ignored_with("left out: the time is over"));
        }
        let outcome = tell(story, &free.world);
        progress.end(story);
        outcome.map(|()| Completion::Completed)
    };
    Trial::ignorable_test(story.name, run)
        .with_kind(kind)
        .with_ignored_flag(!kind.is_empty())
}

/// Runs one story in its namespace. Its failure leaves the state of everything in a folder.
fn tell(story: &Story, world: &World) -> Result<(), Failed> {
    let started = Instant::now();
    let own = world.enter(story.name).map_err(failed)?;
    let outcome = (story.tell)(&own);
    let took = started.elapsed();
    own.figures.time(&format!("story {}", story.name), took);
    let Err(error) = outcome else {
        return own.leave().map_err(failed);
    };
    own.doubt_install();
    // At once too: the others may take long.
    say(&format!("{error:#}"));
    let place = own.dump(story.name).map_err(failed)?;
    let state = place.display();
    Err(Failed::from(format!("{error:#}\nstate: {state}")))
}

fn nothing(story: &Story, missing: &Option<String>) -> Trial {
    e2e::trial(story.name, missing.as_deref(), || Ok(()))
}

fn failed(error: anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}

/// A cluster ends with its runner, also after an interrupt: unfinished stories are listed.
fn take_down_on_signal(dirs: &[PathBuf], progress: &Progress) -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().context("failed to block signals")?;
    let (dirs, progress) = (dirs.to_vec(), progress.clone());
    std::thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            for line in progress.cut_off() {
                say(&line);
            }
            say(&format!("{signal}: the cluster is taken down"));
            end(&dirs, false);
            std::process::exit(130);
        }
    });
    Ok(())
}

fn end(dirs: &[PathBuf], is_left: bool) {
    if is_left {
        return;
    }
    let downs = dirs.iter().map(|dir| cluster::down(dir));
    let failed: Vec<_> = downs.filter_map(Result::err).collect();
    for error in &failed {
        // Nothing may be left: that is a failure of its own.
        say(&format!("failed to take the cluster down: {error:#}"));
    }
    if !failed.is_empty() {
        std::process::exit(1);
    }
}

/// Prints to standard error, and ignores a closed one: a runner that panicked would leave its cluster.
fn say(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}
