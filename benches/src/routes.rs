//! Programming many routes, beside `ip -batch`.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use dataplane::{LinuxKernel, converge_routes};

use crate::{
    bed::{self, ByHand, Ours},
    harness::{
        bench::{Bench, Context},
        command,
        figure::{Better, Figure},
        netns::Netns,
        sample::{ms, paired, time},
    },
};

/// The benches of this subject.
pub(crate) fn benches() -> Vec<Bench> {
    let sizes = [(10_000, 9), (100_000, 5)];
    sizes
        .map(|(count, rounds)| {
            let name = format!("routes-{count}");
            Bench::new([name.clone()], move |context| {
                measure(&name, count, rounds, context)
            })
        })
        .into()
}

fn measure(name: &str, count: usize, rounds: usize, context: &Context) -> Result<Vec<Figure>> {
    let routes = bed::routes(count);
    let file = context.work.join(format!("{name}.batch"));
    fs::write(&file, bed::batch(count))?;
    let mut kernel = LinuxKernel::new()?;
    // All beds stay until the end: the kernel takes down namespaces in the background, holding its lock.
    let (mut our_beds, mut their_beds) = (vec![], vec![]);
    let ours = |_| {
        let bed = Ours::new(context, &mut kernel)?;
        let (elapsed, applied) =
            time(|| converge_routes(&mut kernel, bed.near.name(), &bed.structure, &routes));
        bed::check(applied)?;
        our_beds.push(bed);
        Ok(elapsed)
    };
    let theirs = |_| {
        let bed = ByHand::new(context)?;
        let mut batch = Command::new("ip");
        batch.arg("-batch").arg(&file);
        let (elapsed, result) = bed.near.run(|| Ok(time(|| command::output(&mut batch))))?;
        result?;
        their_beds.push(bed);
        Ok(elapsed)
    };
    let (value, peer) = paired(1, rounds, ours, theirs)?;
    for near in [&our_beds[0].near, &their_beds[0].near] {
        check_count(near, count)?;
    }
    let figure = Figure::alone(name, ms(value.median()), "ms")
        .beside("ip -batch", ms(peer.median()), Better::Lower)
        .note(format!(
            "{:.0} routes/s; dump, diff, {} groups, routes; fresh namespaces; median of {}",
            count as f64 / value.median().as_secs_f64(),
            bed::SETS,
            value.count()
        ));
    Ok(vec![figure])
}

/// Both sides did the work that is claimed.
fn check_count(near: &Netns, count: usize) -> Result<()> {
    let seen = near.ip("route show root 10.0.0.0/8")?;
    // One line for each route, and more for the members of its group.
    let routes = seen.lines().filter(|line| line.starts_with("10.")).count();
    ensure!(
        routes == count,
        "{routes} routes in {}, wanted {count}",
        near.name()
    );
    Ok(())
}
