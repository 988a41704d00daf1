//! Measures what a broker's storage endures. Starts the binary itself, lets `amqpload` publish and
//! drain, watches memory, disk and what is written and read, and prints one JSON line for each
//! scenario, with the same in words on standard error. `--help` tells the rest.
#![expect(clippy::print_stdout, reason = "the result is printed")]
#![expect(clippy::cast_precision_loss, reason = "statistics: what is counted stays far below 2^52")]

mod backlog;
mod compare;
mod fanout;
mod interleaved;
mod steady;

mod report;

mod broker;
mod load;
mod watch;

mod args;

mod proc;

mod failure;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Scenario};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.scenario {
        Scenario::Backlog(backlog) => backlog::run(&arguments.place, backlog),
        Scenario::Interleaved(interleaved) => interleaved::run(&arguments.place, interleaved),
        Scenario::Fanout(fanout) => fanout::run(&arguments.place, fanout),
        Scenario::Steady(steady) => steady::run(&arguments.place, steady),
        Scenario::Compare(compare) => compare::run(&arguments.place, compare),
    };
    match outcome {
        Ok(report) => {
            println!("{}", report.line());
            if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            eprintln!("endurance: {failure}");
            ExitCode::from(2)
        }
    }
}
