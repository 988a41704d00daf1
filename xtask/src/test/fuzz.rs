//! Runs every fuzz target for a while. The fuzzer needs the nightly toolchain.

use std::process::Command;

use super::{Form, Outcome};
use crate::checkout;
use crate::command::{cargo, program, succeed};
use crate::failure::Failure;

const CARGO_FUZZ_VERSION: &str = "0.13.2";

pub(super) fn targets(form: Form) -> Result<Outcome, Failure> {
    let has_nightly = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_nightly {
        return Ok(Outcome::Skipped("no nightly toolchain (rustup toolchain install nightly)"));
    }
    let seconds = match form {
        Form::Short => "-max_total_time=20",
        Form::Long => "-max_total_time=600",
    };
    let cargo_fuzz = installed()?;
    let list = program(&cargo_fuzz, ["fuzz", "list"])
        .output()
        .map_err(|error| Failure::new(format!("cargo fuzz list: {error}")))?;
    let targets = String::from_utf8_lossy(&list.stdout).into_owned();
    if targets.trim().is_empty() {
        return Err(Failure::new("cargo fuzz list names no target"));
    }
    for target in targets.lines() {
        succeed(program("rustup", ["run", "nightly"]).arg(&cargo_fuzz).args([
            "fuzz",
            "run",
            target,
            "--",
            seconds,
            "-max_len=65536",
            "-verbosity=0",
        ]))?;
    }
    Ok(Outcome::Passed)
}

/// `cargo-fuzz`, built into `target/tools` if it is not there.
fn installed() -> Result<std::path::PathBuf, Failure> {
    let tools = checkout::root().join("target/tools");
    let binary = tools.join("bin/cargo-fuzz");
    if !binary.exists() {
        succeed(
            cargo([
                "install",
                "--quiet",
                "--locked",
                "cargo-fuzz",
                "--version",
                CARGO_FUZZ_VERSION,
            ])
            .arg("--root")
            .arg(&tools),
        )?;
    }
    Ok(binary)
}
