//! The binary `postroom`.

mod args;

mod serve;

mod reload;

mod accept;
mod definitions;
mod first_user;
mod folders;
mod watermarks;
mod welcome;

mod listeners;
mod open_files;
mod ports;
mod reserve;
mod shutdown;
mod tls;

mod logging;

mod config;

use std::process::ExitCode;

use args::Command;
use config::layers::SettingsError;

fn main() -> ExitCode {
    let Command::Serve(settings) = match args::given() {
        Ok(arguments) => arguments.command,
        // Also --help and --version, which go to standard output and are no failure.
        Err(SettingsError::Arguments(error)) => error.exit(),
        Err(error) => {
            eprintln!("postroom: {error}");
            return ExitCode::from(2);
        }
    };
    logging::start(settings.log);
    match serve::run(&settings, args::given_settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postroom: {error}");
            ExitCode::FAILURE
        }
    }
}
