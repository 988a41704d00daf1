//! The steps that break things on purpose: simulated crashes, real crashes, planted faults.

use super::{Form, Outcome};
use crate::command::{cargo, succeed};
use crate::failure::Failure;
use crate::faults;

pub(super) fn simulation(form: Form) -> Result<Outcome, Failure> {
    let seeds = match form {
        Form::Short => "100",
        Form::Long => "10000",
    };
    succeed(&mut cargo([
        "run",
        "--quiet",
        "--release",
        "--package",
        "sim",
        "--",
        "--seeds",
        seeds,
    ]))?;
    Ok(Outcome::Passed)
}

pub(super) fn crash_loop(form: Form) -> Result<Outcome, Failure> {
    let (rounds, load_ms) = match form {
        Form::Short => ("3", "1500"),
        // Long enough for queues of hundreds of thousands of messages.
        Form::Long => ("20", "6000"),
    };
    let run = ["run", "--quiet", "--release", "--package", "crashloop", "--"];
    succeed(cargo(run).args(["--rounds", rounds, "--load-ms", load_ms]))?;
    Ok(Outcome::Passed)
}

pub(super) fn planted_faults(_form: Form) -> Result<Outcome, Failure> {
    faults::run()?;
    Ok(Outcome::Passed)
}
