//! Load for the native HTTP API: messages published, leased and settled over plain sockets, every one
//! of them accounted for, and long polls that wait. One JSON line per run; `--help` tells the rest.
#![expect(clippy::print_stdout, reason = "the result is printed")]
#![expect(clippy::cast_precision_loss, reason = "statistics")]

mod flow;
mod polls;

mod report;

mod account;
mod queues;

mod client;

mod process;
mod times;

mod failure;

mod arguments;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Scenario};

fn main() -> ExitCode {
    let Arguments { place, scenario } = Arguments::parse();
    let report = match scenario {
        Scenario::Batch(load) => flow::run("batch", &place, &load, flow::BATCH),
        Scenario::Single(load) => flow::run("single", &place, &load, flow::SINGLE),
        Scenario::Polls(load) => polls::run(&place, &load),
    };
    match report {
        Ok(report) => {
            println!("{}", report.line());
            if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            eprintln!("httpload: {failure}");
            ExitCode::from(2)
        }
    }
}
