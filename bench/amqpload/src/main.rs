//! Load for AMQP 0-9-1 brokers: hand-encoded frames over plain sockets, a ledger that finds every
//! lost, doubled, reordered or damaged message, one JSON line per run. `--help` tells the rest.
#![expect(clippy::print_stdout, reason = "the result is printed")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "statistics: 2^52 nanoseconds are 52 days, and a wrong figure harms nobody's message"
)]

mod churn;
mod counts;
mod idle;
mod load;

mod report;

mod consumer;
mod publisher;

mod args;

mod amqp;
mod net;

mod ledger;
mod pace;
mod hist;
mod json;
mod proc;
mod stamp;

use std::process::ExitCode;

use args::{Opts, Phase};

fn main() -> ExitCode {
    if std::env::args().any(|a| a == "--help" || a == "-h") {
        print!("{}", args::USAGE);
        return ExitCode::SUCCESS;
    }
    let opts = Opts::parse(std::env::args().skip(1)).unwrap_or_else(|e| die(&e));
    let ok = match opts.phase {
        Phase::Idle => idle::run(&opts),
        Phase::Counts => counts::run(&opts),
        Phase::Churn => churn::run(&opts),
        Phase::Both | Phase::PublishOnly | Phase::DrainOnly => load::run(&opts),
    };
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn die(e: &str) -> ! {
    eprintln!("amqpload: {e}");
    std::process::exit(2);
}
