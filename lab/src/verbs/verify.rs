//! `test`: comparison of a lab with its computed state, also while links are cut.
//!
//! ```text
//! pairs: each instance to each other -> traces over many flows -> reached? on computed paths?
//!                                                                 all legs of ECMP used?
//! cuts:  each link -> streams over it, 1 ms -> cut, silently, one way -> rerouted? -> heal -> back?
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::args::TestArgs;
use crate::progress::Progress;
use crate::running::{Running, common, endpoint_of_instance};
use crate::verbs::cuts::{Cut, Cutter};
use crate::verbs::samples::{Samples, keep_samples};
use crate::verbs::trace::Tracer;
use console::failure::{Exit, Failure};
use console::output::{table, table_text};
use console::ttl;
use probe::endpoint::{Endpoint, Family};
use probe::flow_report::{Edge, FlowPath};

/// JSON of `test`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Number of tested ordered pairs of App instances.
    pairs: usize,
    /// Number of pairs of which every flow arrived, in every common family.
    reached: usize,
    /// Number of pairs of which every flow took a computed path.
    on_computed_path: usize,
    /// Number of computed hops of these pairs, and of those that were observed.
    legs: usize,
    legs_used: usize,
    cuts: Vec<Cut>,
    /// Problems, as sentences; empty without one.
    wrong: Vec<String>,
    ok: bool,
}

/// Runs the tests and prints the report.
///
/// # Errors
/// [`Failure::NotFound`] when the lab does not run; exit code 1 with a problem.
pub(crate) fn run(args: &TestArgs) -> Result<(), Failure> {
    let (running, _lock) = Running::join_to_change(&args.file.file)?;
    if running.record.faults.hides_changes() {
        return Err(Failure::Failed(
            "daemons are frozen, dead or apart: `beemesh lab heal` first".to_owned(),
        ));
    }
    let progress = Progress::new(false);
    let tracer = Tracer::new(&running)?;
    let jobs = jobs(&running, &tracer, args.pairs);
    progress.step(&format!("tracing {} flows of app pairs", jobs.len()));
    let outcomes = trace_all(&tracer, &jobs, &progress)?;
    let mut report = judge(&jobs, &outcomes);
    if report.reached < report.pairs {
        let topology = tracer.computed.topology();
        let far = |job: &Job| ttl::explain(topology, &job.from.forwarder, &job.to.forwarder);
        report.wrong.extend(jobs.iter().find_map(far));
    }
    let samples = samples(&jobs, &outcomes);
    if !args.no_cuts {
        let mut cutter = Cutter::new(running, tracer, samples, args.max_loss)?;
        let links = evenly(cutter.links(), args.cuts);
        let cuts = args
            .kinds
            .iter()
            .flat_map(|kind| links.iter().map(move |link| (*kind, link)));
        let count = args.kinds.len() * links.len();
        for (number, (kind, link)) in (1..).zip(cuts) {
            progress.step(&format!("{link} is {} ({number} of {count})", kind.words()));
            let (cut, wrong) = cutter.cut(link, kind)?;
            report.cuts.push(cut);
            report.wrong.extend(wrong);
        }
    }
    report.ok = report.wrong.is_empty();
    drop(progress);
    args.output.print(&report, text)?;
    if report.ok {
        Ok(())
    } else {
        Err(Failure::Told(Exit::Failed))
    }
}

/// At most `most` of `all`, evenly spread.
fn evenly<T>(all: Vec<T>, most: Option<usize>) -> Vec<T> {
    let count = all.len();
    let most = most.unwrap_or(count).min(count);
    let is_chosen = |position: usize| (position + 1) * most / count > position * most / count;
    all.into_iter()
        .enumerate()
        .filter(|(at, _)| is_chosen(*at))
        .map(|(_, each)| each)
        .collect()
}

/// Traces of one pair in one family.
struct Job {
    from: Endpoint,
    to: Endpoint,
    family: Family,
    /// Computed paths; `None` without a path.
    edges: Option<BTreeSet<Edge>>,
    /// Number of flows after which every leg has been used, except with a chance of one in a
    /// million.
    flows: usize,
}

fn jobs(running: &Running, tracer: &Tracer, most: Option<usize>) -> Vec<Job> {
    let instances: Vec<Endpoint> = running
        .record
        .instances
        .iter()
        .map(|(name, instance)| endpoint_of_instance(name, instance))
        .collect();
    let pairs = instances.iter().flat_map(|from| {
        let others = instances.iter().filter(move |to| to.name != from.name);
        others.map(move |to| (from, to))
    });
    let mut jobs = Vec::new();
    for (from, to) in evenly(pairs.collect(), most) {
        let edges = tracer.computed.edges(&from.forwarder, &to.forwarder);
        let flows = edges
            .as_ref()
            .map_or(1, |edges| flows_to_see(&from.forwarder, edges));
        for family in [Family::V4, Family::V6] {
            if common(from, to, &[family]).is_ok() {
                let (from, to, edges) = (from.clone(), to.clone(), edges.clone());
                jobs.push(Job {
                    from,
                    to,
                    family,
                    edges,
                    flows,
                });
            }
        }
    }
    jobs
}

/// Number of flows until the least used leg is missed only once in a million times, when every hop
/// spreads evenly; bounded, as the least share may be very small.
fn flows_to_see(from: &str, edges: &BTreeSet<Edge>) -> usize {
    const MILLION: f64 = 13.8; // ln(10^6)
    let least = leg_shares(from, edges).into_values().fold(1.0, f64::min);
    ((MILLION / least).ceil() as usize).clamp(16, FLOWS_MAX)
}

/// Largest number of flows of one pair and family; each is a socket.
const FLOWS_MAX: usize = 800;

/// Share of all flows that each leg carries, when every hop spreads evenly.
fn leg_shares(from: &str, edges: &BTreeSet<Edge>) -> BTreeMap<Edge, f64> {
    let mut waiting_for: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, to) in edges {
        *waiting_for.entry(to).or_default() += 1;
    }
    let mut arriving = BTreeMap::from([(from, 1.0)]);
    let mut ready = vec![from];
    let mut shares = BTreeMap::new();
    // The edges are a DAG: a Forwarder is done when all its predecessors are.
    while let Some(at) = ready.pop() {
        let legs: Vec<&Edge> = edges.iter().filter(|(from, _)| from == at).collect();
        let share = arriving.get(at).copied().unwrap_or(0.0) / legs.len().max(1) as f64;
        for leg in legs {
            shares.insert(leg.clone(), share);
            *arriving.entry(&leg.1).or_default() += share;
            if let Some(left) = waiting_for.get_mut(leg.1.as_str()) {
                *left -= 1;
                if *left == 0 {
                    ready.push(&leg.1);
                }
            }
        }
    }
    shares
}

/// Traces all jobs, a few in parallel; the results are in the order of the jobs.
fn trace_all(
    tracer: &Tracer,
    jobs: &[Job],
    progress: &Progress,
) -> Result<Vec<Vec<FlowPath>>, Failure> {
    const AT_ONCE: usize = 4;
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let outcomes = Mutex::new(BTreeMap::new());
    let depths: Vec<u8> = jobs
        .iter()
        .map(|job| tracer.prepare(&job.from, &job.to))
        .collect::<Result<_, _>>()?;
    let eyes = tracer.eyes();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(jobs.len()) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(number) else { break };
                    let depth = depths[number];
                    let seen = eyes.trace(&job.from, &job.to, job.family, job.flows, depth);
                    let so_far = done.fetch_add(1, Ordering::Relaxed) + 1;
                    progress.update(&format!("traced {so_far} of {}", jobs.len()));
                    let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    outcomes.insert(number, seen);
                }
            });
        }
    });
    let outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes.into_values().collect()
}

fn judge(jobs: &[Job], outcomes: &[Vec<FlowPath>]) -> Report {
    let mut pairs: BTreeMap<(&str, &str), (bool, bool)> = BTreeMap::new();
    let (mut legs, mut used) = (BTreeSet::new(), BTreeSet::new());
    let mut wrong = Vec::new();
    let none = BTreeSet::new();
    for (job, seen) in jobs.iter().zip(outcomes) {
        let (from, to) = (&job.from.forwarder, &job.to.forwarder);
        let edges = job.edges.as_ref().unwrap_or(&none);
        let arrived = seen.iter().filter(|flow| flow.reached).count();
        let on_path = seen
            .iter()
            .filter(|flow| flow.is_on(from, to, edges))
            .count();
        let (has_reached, is_on) = (arrived == seen.len(), on_path == seen.len());
        let pair = pairs
            .entry((&job.from.name, &job.to.name))
            .or_insert((true, true));
        *pair = (pair.0 && has_reached, pair.1 && is_on);
        let missed = not_seen(edges, seen);
        legs.extend(edges);
        used.extend(edges.difference(&missed).cloned());
        let what = format!("{} to {}", job.from.name, job.to.name);
        let flows = seen.len();
        match &job.edges {
            None if arrived == 0 => wrong.push(format!("{what}: there is no path")),
            None => wrong.push(format!("{what}: arrived although there is no path")),
            Some(_) if !has_reached => {
                wrong.push(format!("{what}: {arrived} of {flows} flows arrived"))
            }
            Some(_) if !is_on => {
                let off = seen.iter().find(|flow| !flow.is_on(from, to, edges));
                let hops = off.map(|flow| flow.hops.join(" > ")).unwrap_or_default();
                wrong.push(format!(
                    "{what}: {on_path} of {flows} flows on computed paths: {hops}"
                ));
            }
            Some(_) if !missed.is_empty() && flows < FLOWS_MAX => {
                let missed: Vec<String> =
                    missed.iter().map(|(a, b)| format!("{a} > {b}")).collect();
                let missed = missed.join(", ");
                wrong.push(format!("{what}: none of {flows} flows took {missed}"));
            }
            Some(_) => {}
        }
    }
    Report {
        pairs: pairs.len(),
        reached: pairs.values().filter(|pair| pair.0).count(),
        on_computed_path: pairs.values().filter(|pair| pair.1).count(),
        legs: legs.len(),
        legs_used: used.len(),
        cuts: Vec::new(),
        wrong,
        ok: false,
    }
}

fn not_seen(edges: &BTreeSet<Edge>, seen: &[FlowPath]) -> BTreeSet<Edge> {
    let taken: BTreeSet<Edge> = seen.iter().flat_map(FlowPath::edges).collect();
    edges.difference(&taken).cloned().collect()
}

fn samples(jobs: &[Job], outcomes: &[Vec<FlowPath>]) -> Samples {
    let mut samples = Samples::new();
    for (job, seen) in jobs.iter().zip(outcomes) {
        keep_samples(&mut samples, &job.from, &job.to, job.family, seen);
    }
    samples
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{} pairs: {} reached, {} on computed paths; {} of {} legs used\n",
        report.pairs, report.reached, report.on_computed_path, report.legs_used, report.legs
    );
    if !report.cuts.is_empty() {
        let mut cuts = table(
            &[
                "LINK",
                "CUT",
                "LOST",
                "REROUTED",
                "LOST ON HEALING",
                "REMARK",
            ],
            &[2, 4],
        );
        for cut in &report.cuts {
            let rerouted = if cut.rerouted { "yes" } else { "no" };
            let (lost, heal) = (milliseconds(cut.lost_ms), milliseconds(cut.heal_lost_ms));
            let (kind, remark) = (cut.kind.words(), cut.remark());
            cuts.add_row([&cut.link, kind, &lost, rerouted, &heal, &remark]);
        }
        text.push('\n');
        text += &table_text(&cuts);
    }
    text.push('\n');
    for wrong in &report.wrong {
        text += &format!("wrong: {wrong}\n");
    }
    if report.ok {
        text += "all is as computed\n";
    }
    text
}

fn milliseconds(number: u64) -> String {
    format!("{number} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(text: &str) -> BTreeSet<Edge> {
        text.split_whitespace()
            .map(|pair| (pair[..1].to_owned(), pair[1..].to_owned()))
            .collect()
    }

    #[test]
    fn a_leg_carries_the_product_of_the_shares_before_it() {
        let shares = leg_shares("a", &edges("ab ac bd be cd de"));
        #[rustfmt::skip]
        let expected = [("ab", 0.5), ("ac", 0.5), ("bd", 0.25), ("be", 0.25), ("cd", 0.5), ("de", 0.75)];
        for (edge, share) in expected {
            let edge = (edge[..1].to_owned(), edge[1..].to_owned());
            assert_eq!(shares[&edge], share, "{edge:?}");
        }
        assert!(leg_shares("a", &BTreeSet::new()).is_empty());
    }

    #[test]
    fn as_many_flows_as_the_least_used_leg_needs() {
        assert_eq!(flows_to_see("a", &edges("ab")), 16, "a single path");
        assert_eq!(
            flows_to_see("a", &edges("ab ac bd cd")),
            28,
            "two of a half"
        );
        assert_eq!(flows_to_see("a", &BTreeSet::new()), 16, "on one forwarder");
    }

    #[test]
    fn a_part_is_chosen_evenly() {
        let all: Vec<u32> = (0..10).collect();
        assert_eq!(evenly(all.clone(), None), all);
        assert_eq!(evenly(all.clone(), Some(20)), all);
        assert_eq!(evenly(all.clone(), Some(2)), [4, 9]);
        assert!(evenly(all, Some(0)).is_empty());
        assert!(evenly(Vec::<u32>::new(), Some(3)).is_empty());
    }
}
