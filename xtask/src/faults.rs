//! Proves the proofs: every planted fault must be caught by each test that claims to catch it, and
//! those tests must pass when nothing is planted.

use stdx::fault::FAULTS;

use crate::command::{cargo, status, succeed};
use crate::failure::Failure;

/// The environment variable that switches a fault on.
const PLANTED: &str = "POSTROOM_PLANTED_FAULT";

/// A test that fails when the fault is on.
struct Catcher {
    fault: &'static str,
    test: Test,
}

enum Test {
    /// A test of a package, as `cargo test` names it.
    Unit { package: &'static str, name: &'static str },
    /// The crash loop, in one of its modes.
    CrashLoop { mode: &'static str, rounds: &'static str },
}

const CATCHERS: [Catcher; 5] = [
    Catcher {
        fault: "requeue-to-tail",
        test: Test::Unit { package: "domain", name: "a_requeued_message_returns_to_its_place" },
    },
    Catcher {
        fault: "requeue-to-tail",
        test: Test::Unit { package: "domain", name: "agrees_with_a_naive_model" },
    },
    Catcher {
        fault: "skipped-checksum",
        test: Test::Unit { package: "storage", name: "no_flipped_bit_passes" },
    },
    Catcher {
        fault: "confirm-before-sync",
        test: Test::CrashLoop { mode: "power-all", rounds: "5" },
    },
    Catcher {
        fault: "forgotten-directory-sync",
        test: Test::CrashLoop { mode: "power-all", rounds: "5" },
    },
];

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
    for Catcher { fault, test } in &CATCHERS {
        println!("\n--- {fault}: {}", test.name());
        match test {
            Test::Unit { package, name } => caught_by_unit_test(fault, package, name)?,
            Test::CrashLoop { mode, rounds } => caught_by_crash_loop(fault, mode, rounds)?,
        }
        println!("caught: {fault} by {}", test.name());
    }
    Ok(())
}

/// The test must pass with nothing planted, so that it is the fault that makes it fail.
fn caught_by_unit_test(fault: &str, package: &str, name: &str) -> Result<(), Failure> {
    let test = || {
        let mut command = cargo(["test", "--quiet", "--target-dir", TARGET_DIR]);
        command.args(["--package", package, "--features", "stdx/planted-faults", name]);
        command.env_remove(PLANTED);
        command
    };
    succeed(&mut test())?;
    println!("with `{fault}` planted, the same must fail:");
    if status(test().env(PLANTED, fault))?.success() {
        return Err(Failure::new(format!("`{package} {name}` does not catch `{fault}`")));
    }
    Ok(())
}

/// That the crash loop passes with nothing planted is a step of its own.
fn caught_by_crash_loop(fault: &str, mode: &str, rounds: &str) -> Result<(), Failure> {
    succeed(cargo(["run", "--quiet", "--package", "crashloop", "--", "--expect-failure"]).args([
        "--planted-fault",
        fault,
        "--mode",
        mode,
        "--rounds",
        rounds,
    ]))
}

impl Test {
    fn name(&self) -> String {
        match self {
            Test::Unit { package, name } => format!("{package} {name}"),
            Test::CrashLoop { mode, .. } => format!("crashloop --mode {mode}"),
        }
    }
}
