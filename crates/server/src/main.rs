//! The binary `postroom`.

mod args;

mod config;
mod listeners;
mod logging;
mod ports;
mod shutdown;

fn main() {
    let arguments: Vec<_> = std::env::args_os().collect();
    match args::read(&arguments, std::env::vars_os().map(|(name, _)| name)) {
        Ok(arguments) => eprintln!("{arguments:#?}"),
        Err(config::layers::SettingsError::Arguments(error)) => error.exit(),
        Err(error) => {
            eprintln!("postroom: {error}");
            std::process::exit(2);
        }
    }
}
