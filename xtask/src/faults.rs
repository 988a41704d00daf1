//! Proves the proofs: every planted fault must be caught by each test that claims to catch it, and
//! those tests must pass when nothing is planted.

use std::process::Stdio;

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
    /// The crash loop, in one of its modes, with one of its loads.
    CrashLoop { mode: &'static str, load: &'static str },
}

const CATCHERS: [Catcher; 20] = [
    unit("confirm-before-sync", "storage", "every_confirmed_record_survives_every_crash"),
    unit("confirm-before-sync", "broker", "confirmed_messages_and_their_topology_survive_a_crash"),
    unit("commit-before-sync", "broker", "a_crash_keeps_all_of_a_transaction_or_nothing"),
    unit("skipped-checksum", "storage", "no_flipped_bit_passes"),
    unit("skipped-checksum", "storage", "a_flipped_bit_anywhere_is_harmless_or_found"),
    unit("forgotten-directory-sync", "storage", "every_confirmed_record_survives_every_crash"),
    unit(
        "confirm-out-of-order",
        "broker",
        "a_confirm_that_needs_no_disk_never_overtakes_one_that_does",
    ),
    unit("requeue-to-tail", "domain", "agrees_with_a_naive_model"),
    unit(
        "requeue-to-tail",
        "broker",
        "requeued_messages_return_to_their_place_and_consumers_take_turns",
    ),
    unit("purge-forgotten", "broker", "purged_and_deleted_stays_gone_after_a_crash"),
    unit("segment-deleted-early", "broker", "deadlines_outlive_the_process"),
    unit(
        "checkpoint-without-segments",
        "broker",
        "confirmed_messages_and_their_topology_survive_a_crash",
    ),
    unit("checkpoint-without-leases", "broker", "a_restart_ends_no_lease_and_hands_nothing_out"),
    unit("lease-told-before-sync", "broker", "a_lease_is_told_when_it_is_on_disk"),
    unit("stale-lease-token", "broker", "time_ends_a_lease_and_counts_as_a_failure"),
    unit("checkpoint-without-done", "broker", "a_checkpoint_says_again_what_is_told"),
    unit("checkpoint-without-leases", "sim", "leases_keep_every_promise"),
    unit("lease-told-before-sync", "sim", "leases_keep_every_promise"),
    crash_loop("confirm-before-sync", "power-all", "every"),
    crash_loop("ack-lost-at-checkpoint", "kill", "mixed"),
];

const fn unit(fault: &'static str, package: &'static str, name: &'static str) -> Catcher {
    Catcher { fault, test: Test::Unit { package, name } }
}

const fn crash_loop(fault: &'static str, mode: &'static str, load: &'static str) -> Catcher {
    Catcher { fault, test: Test::CrashLoop { mode, load } }
}

/// Rounds after which the crash loop must have found it; it ends with the one that does. A round takes
/// about a second, and may not come to what the fault spoils.
const ROUNDS: &str = "60";

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
            Test::CrashLoop { mode, load } => caught_by_crash_loop(fault, mode, load)?,
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
    let mut planted = test();
    // Its complaints are what is wanted, and would only look like trouble in the log.
    planted.env(PLANTED, fault).stdout(Stdio::null()).stderr(Stdio::null());
    if status(&mut planted)?.success() {
        return Err(Failure::new(format!("`{package} {name}` does not catch `{fault}`")));
    }
    Ok(())
}

/// That the crash loop passes with nothing planted is a step of its own.
fn caught_by_crash_loop(fault: &str, mode: &str, load: &str) -> Result<(), Failure> {
    succeed(cargo(["run", "--quiet", "--package", "crashloop", "--", "--expect-failure"]).args([
        "--planted-fault",
        fault,
        "--mode",
        mode,
        "--load",
        load,
        "--rounds",
        ROUNDS,
    ]))
}

impl Test {
    fn name(&self) -> String {
        match self {
            Test::Unit { package, name } => format!("{package} {name}"),
            Test::CrashLoop { mode, load } => format!("crashloop --mode {mode} --load {load}"),
        }
    }
}
