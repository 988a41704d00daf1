//! Proves the proofs: every planted fault must be caught by each test that claims to catch it, and
//! those tests must pass when nothing is planted.

use std::process::Command;

use stdx::fault::FAULTS;

use crate::command::{cargo, status};
use crate::failure::Failure;

/// A test that fails when the fault is on.
struct Catcher {
    fault: &'static str,
    package: &'static str,
    /// As `cargo test` takes it.
    filter: &'static str,
}

const CATCHERS: [Catcher; 0] = [];

/// Builds with faults stay away from the others, so that nobody runs one by accident.
const TARGET_DIR: &str = "target/planted-faults";

pub(crate) fn run() -> Result<(), Failure> {
    for (fault, _) in FAULTS {
        if !CATCHERS.iter().any(|catcher| catcher.fault == fault) {
            return Err(Failure::new(format!(
                "the planted fault `{fault}` is caught by no test\n    remedy: write one and name \
                 it in xtask/src/faults.rs"
            )));
        }
    }
    for catcher in &CATCHERS {
        let name = format!("{} {}", catcher.package, catcher.filter);
        if !status(&mut catcher.command())?.success() {
            return Err(Failure::new(format!("`{name}` fails although nothing is planted")));
        }
        println!("planting {}; the next run must fail", catcher.fault);
        if status(catcher.command().env("POSTROOM_PLANTED_FAULT", catcher.fault))?.success() {
            return Err(Failure::new(format!("`{name}` does not catch `{}`", catcher.fault)));
        }
        println!("caught: {} by {name}", catcher.fault);
    }
    Ok(())
}

impl Catcher {
    fn command(&self) -> Command {
        let mut command = cargo(["test", "--quiet", "--target-dir", TARGET_DIR]);
        command.args(["--package", self.package, "--features", "stdx/planted-faults"]);
        command.arg(self.filter);
        command.env_remove("POSTROOM_PLANTED_FAULT");
        command
    }
}
