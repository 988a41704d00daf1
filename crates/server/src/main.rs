//! The binary `postroom`.

mod args;

mod backup;
mod repair;
mod serve;

mod inspect;

mod reload;

mod definitions;
mod first_user;
mod folders;
mod alerts;
mod samples;
mod traces;
mod watermarks;
mod welcome;

mod doors;

mod accept;

mod heap;
mod listeners;
mod open_files;
mod ports;
mod reserve;
mod shutdown;
mod tls;

mod logging;

mod config;

mod endpoint;

use std::process::ExitCode;

use args::Command;
use config::LogFormat;
use config::layers::SettingsError;

fn main() -> ExitCode {
    let command = match args::given() {
        Ok(arguments) => arguments.command,
        // Also --help and --version, which go to standard output and are no failure.
        Err(SettingsError::Arguments(error)) => error.exit(),
        Err(error) => {
            eprintln!("postroom: {error}");
            return ExitCode::from(2);
        }
    };
    match command {
        Command::Serve(settings) => {
            logging::start(settings.sight.log, settings.sight.log_format);
            match serve::run(&settings, args::given_settings) {
                Err(error) if settings.sight.log_format == LogFormat::Json => {
                    tracing::error!(%error, "ended");
                    ExitCode::FAILURE
                }
                outcome => ended(outcome.map(|()| ExitCode::SUCCESS)),
            }
        }
        Command::Backup(arguments) => ended(backup::run(&arguments).map(|()| ExitCode::SUCCESS)),
        Command::Inspect(arguments) => ended(inspect::run(&arguments)),
        Command::Repair(arguments) => ended(repair::run(&arguments)),
        Command::Ask(command) => cli::run(&command),
        Command::Completions { shell } => {
            args::complete(shell);
            ExitCode::SUCCESS
        }
    }
}

fn ended<E: std::fmt::Display>(outcome: Result<ExitCode, E>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("postroom: {error}");
        ExitCode::FAILURE
    })
}
