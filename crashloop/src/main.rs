//! The crash loop: starts the real broker, puts it under load with a real client, ends it (kill -9,
//! power loss or SIGTERM), starts it again on the same directory and accounts for every message,
//! queue, exchange and binding. Round after round, on the same data.

#![expect(clippy::print_stdout, reason = "a command line program reports on standard output")]

mod run;

mod vhosts;

mod load;

mod observer;

mod client;

mod ledger;

mod violation;

mod message;

mod process;

mod disk;

mod binaries;

mod arguments;

use std::process::ExitCode;

use arguments::Arguments;

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let arguments = match Arguments::parse(&words) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            println!("crashloop: {error}\n\n{}", arguments::HELP);
            return ExitCode::from(2);
        }
    };
    match run::run_modes(&arguments).await {
        Ok(summary) => summary.exit_code(arguments.expectation),
        Err(error) => {
            println!("crashloop: {error}");
            ExitCode::from(2)
        }
    }
}
