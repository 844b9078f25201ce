//! Moving the traffic of many routes away from a link, beside replacing the routes.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use dataplane::{
    Balance, Kernel, LinuxKernel, Operation, Routes, SeenNexthop, Target, converge_routes,
};

use crate::{
    bed::{self, ByHand, LINKS, Ours, interface},
    harness::{
        bench::{Bench, Context},
        command,
        figure::{Better, Figure},
        sample::{Samples, ms, time},
    },
};

const ROUTES: usize = 10_000;
const ROUNDS: usize = 10;
/// Times that a link is taken out and put back in one round.
const EDITS: usize = 40;

/// The benches of this subject.
pub(crate) fn benches() -> Vec<Bench> {
    vec![Bench::new(["group-edit"], measure)]
}

fn measure(context: &Context) -> Result<Vec<Figure>> {
    let mut kernel = LinuxKernel::new()?;
    let mut ours = OneGroup::new(context, &mut kernel)?;
    let theirs = ManyRoutes::new(context)?;
    theirs.replace(true)?;
    ours.edit(&mut kernel)?;
    let (mut our_times, mut their_times) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        for _ in 0..EDITS {
            our_times.extend(ours.edit(&mut kernel)?);
        }
        their_times.push(theirs.replace(false)?);
        their_times.push(theirs.replace(true)?);
    }
    let (ours, theirs) = (Samples::new(our_times), Samples::new(their_times));
    let figure = Figure::alone("group-edit", ms(ours.quantile(0.99)), "ms")
        .beside("ip -batch, multipath", ms(theirs.quantile(0.99)), Better::Lower)
        .note(format!(
            "p99 of {} edits under {ROUTES} routes, median {:.3}, worst {:.3}; peer: {} replacements of all, median {:.0}",
            ours.count(),
            ms(ours.median()),
            ms(ours.longest()),
            theirs.count(),
            ms(theirs.median())
        ));
    Ok(vec![figure])
}

/// Our side: all routes name one group.
struct OneGroup {
    bed: Ours,
    id: u32,
    members: BTreeSet<u32>,
    balance: Balance,
}

impl OneGroup {
    fn new(context: &Context, kernel: &mut LinuxKernel) -> Result<Self> {
        let bed = Ours::new(context, kernel)?;
        let all = Target::Links((0..LINKS).map(interface).collect());
        let routes: Routes = (0..ROUTES)
            .map(|number| (bed::prefix(number), all.clone()))
            .collect();
        bed::check(converge_routes(
            kernel,
            bed.near.name(),
            &bed.structure,
            &routes,
        ))?;
        let observed = kernel
            .observe(bed.near.name())?
            .context("the namespace is there")?;
        let whole = |(id, seen): (&u32, &SeenNexthop)| match seen {
            SeenNexthop::Group {
                members, balance, ..
            } if members.len() == LINKS => Some((*id, members.clone(), *balance)),
            _ => None,
        };
        let (id, members, balance) = observed
            .nexthops
            .iter()
            .find_map(whole)
            .context("there is no group of all links")?;
        Ok(Self {
            bed,
            id,
            members,
            balance,
        })
    }

    /// Takes one link out of the group and puts it back: two edits.
    fn edit(&mut self, kernel: &mut LinuxKernel) -> Result<[Duration; 2]> {
        let netns = self.bed.near.name();
        let (out, applied) = time(|| kernel.evict(netns, &interface(0)));
        bed::check(applied?)?;
        let restore = Operation::SetGroup {
            id: self.id,
            members: self.members.clone(),
            balance: self.balance,
        };
        let operations = vec![(netns.to_owned(), vec![restore])];
        let (back, applied) = time(|| kernel.apply(operations));
        bed::check(applied)?;
        Ok([out, back])
    }
}

/// The peer's side: each route has its own list of next hops.
struct ManyRoutes {
    bed: ByHand,
    whole: PathBuf,
    without_one: PathBuf,
}

impl ManyRoutes {
    fn new(context: &Context) -> Result<Self> {
        let write = |name: &str, first: usize| -> Result<PathBuf> {
            let hops: String = (first..LINKS)
                .map(|number| format!(" nexthop dev {}", interface(number)))
                .collect();
            let mut text = String::new();
            for number in 0..ROUTES {
                let address = bed::address(number);
                bed::line(&mut text, format_args!("route replace {address}/32{hops}"));
            }
            let file = context.work.join(name);
            fs::write(&file, text)?;
            Ok(file)
        };
        Ok(Self {
            bed: ByHand::new(context)?,
            whole: write("group-whole.batch", 0)?,
            without_one: write("group-without-one.batch", 1)?,
        })
    }

    /// Replaces all routes: with all links, or without the first.
    fn replace(&self, whole: bool) -> Result<Duration> {
        let mut batch = Command::new("ip");
        batch.arg("-batch").arg(if whole {
            &self.whole
        } else {
            &self.without_one
        });
        let (elapsed, result) = self
            .bed
            .near
            .run(|| Ok(time(|| command::output(&mut batch))))?;
        result?;
        Ok(elapsed)
    }
}
