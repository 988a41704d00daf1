//! The whole test run, as steps in the order that fails soonest. The first failure ends it.

mod conformance;
mod fuzz;
mod house;
mod idle;
mod reality;

use std::time::Instant;

use crate::failure::Failure;

/// How long the proofs that can be of any length are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For every change: some minutes.
    Short,
    /// For a release: hours.
    Long,
}

/// How a step ended, unless it failed.
enum Outcome {
    Passed,
    /// Something it needs is not on this machine.
    Skipped(&'static str),
}

struct Step {
    heading: &'static str,
    run: fn(Form) -> Result<Outcome, Failure>,
}

const STEPS: [Step; 16] = [
    Step { heading: "formatting", run: house::formatting },
    Step { heading: "rules of the house", run: house::tidy },
    Step { heading: "licences of what we build on", run: house::licences },
    Step { heading: "lints", run: house::lints },
    Step { heading: "unit and integration tests", run: house::tests },
    Step { heading: "the manual as a book", run: house::book },
    Step { heading: "release build", run: house::release_build },
    Step { heading: "start and idle", run: idle::start_and_idle },
    Step { heading: "simulation", run: reality::simulation },
    Step { heading: "conformance and examples: Python clients", run: conformance::python },
    Step { heading: "conformance and examples: Node clients", run: conformance::node },
    Step { heading: "conformance: Rust client", run: conformance::lapin },
    Step { heading: "conformance: the table", run: conformance::table },
    Step { heading: "crash loop", run: reality::crash_loop },
    Step { heading: "planted faults", run: reality::planted_faults },
    Step { heading: "fuzzing", run: fuzz::targets },
];

/// Runs every step, or only those whose heading contains one of `words`.
pub(crate) fn run(form: Form, words: &[&str]) -> Result<(), Failure> {
    let chosen: Vec<&Step> = STEPS
        .iter()
        .filter(|step| words.is_empty() || words.iter().any(|word| step.heading.contains(word)))
        .collect();
    if chosen.is_empty() {
        let headings: Vec<&str> = STEPS.iter().map(|step| step.heading).collect();
        return Err(Failure::new(format!("no such step; there are: {}", headings.join("; "))));
    }
    let start = Instant::now();
    let mut skipped = Vec::new();
    for (at, step) in chosen.iter().enumerate() {
        println!("\n=== {}/{} {}", at + 1, chosen.len(), step.heading);
        let step_start = Instant::now();
        let outcome = (step.run)(form)
            .map_err(|failure| Failure::new(format!("\nFAILED: {}: {failure}", step.heading)))?;
        match outcome {
            Outcome::Passed => println!("--- passed in {} s", step_start.elapsed().as_secs()),
            Outcome::Skipped(why) => {
                println!("--- skipped: {why}");
                skipped.push(step.heading);
            }
        }
    }
    let (seconds, passed) = (start.elapsed().as_secs(), chosen.len() - skipped.len());
    print!("\nPASSED: {passed} of {} steps in {seconds} s", STEPS.len());
    if !skipped.is_empty() {
        print!("; skipped: {}", skipped.join(", "));
    }
    println!();
    Ok(())
}
