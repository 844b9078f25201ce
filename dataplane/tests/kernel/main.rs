//! One suite for both kernels, and what only a real one can show.
//!
//! Without privilege everything that needs real namespaces is shown as ignored, never green.

mod drift;
mod fixture;
mod interrupted;
mod real;
mod suite;
mod traffic;
mod underlay;

use libtest_mimic::{Arguments, Trial};

fn main() {
    if interrupted::is_child() {
        return interrupted::child();
    }
    let arguments = Arguments::from_args();
    let is_privileged = fixture::is_privileged();
    let mut trials = Vec::new();
    let in_memory = suite::tests::<fixture::InMemory>().into_iter();
    for (name, test) in in_memory.chain(drift::tests::<fixture::InMemory>()) {
        trials.push(Trial::test(format!("in memory: {name}"), move || {
            test();
            Ok(())
        }));
    }
    let real = suite::tests::<fixture::Real>()
        .into_iter()
        .chain(drift::tests::<fixture::Real>())
        .chain(drift::real_tests())
        .chain(real::tests())
        .chain(underlay::tests());
    for (name, test) in real.chain(traffic::tests()).chain(interrupted::tests()) {
        let trial = Trial::test(format!("in namespaces: {name}"), move || {
            test();
            Ok(())
        });
        let is_possible =
            is_privileged && (!name.contains("resilient_group_keeps") || has_resilient());
        trials.push(trial.with_ignored_flag(!is_possible));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn has_resilient() -> bool {
    let kernel = dataplane::LinuxKernel::new();
    kernel.is_ok_and(|kernel| kernel.has_resilient_groups().expect("the kernel was asked"))
}
