//! The long form: runs many seeds, and says for each that failed how to see it again.

#![expect(clippy::print_stdout, reason = "it talks to whoever started it")]

use std::process::ExitCode;

use clap::Parser;
use sim::{Lines, run, run_leases};

/// Simulates the broker on a disk that crashes, from seeds.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run what is about leases without a connection instead.
    #[arg(long)]
    leases: bool,
    /// Print everything that happens.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let lines = if arguments.trace { Lines::Kept } else { Lines::Hashed };
    let mut failed = 0;
    for seed in arguments.from..arguments.from + arguments.seeds {
        let outcome = if arguments.leases { run_leases(seed, lines) } else { run(seed, lines) };
        for line in &outcome.lines {
            println!("{line}");
        }
        if let Some(violation) = outcome.violation {
            failed += 1;
            println!("seed {seed}: {violation}");
            let which = if arguments.leases { "--leases " } else { "" };
            println!(
                "    see it: cargo run --release -p sim -- {which}--seeds 1 --from {seed} --trace"
            );
        }
    }
    println!("{} passed, {failed} failed", arguments.seeds - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
