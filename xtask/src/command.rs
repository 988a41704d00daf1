//! Runs other programs at the top of the checkout, with their output going straight to the terminal.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::checkout;
use crate::failure::Failure;

/// The same cargo that runs this tool.
pub(crate) fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    program(env!("CARGO"), arguments)
}

/// `program` with `arguments`, to be run at the top of the checkout.
pub(crate) fn program<const N: usize>(program: impl AsRef<Path>, arguments: [&str; N]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).current_dir(checkout::root());
    // What cargo told this tool of itself: some build scripts look at it, and build all anew.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it; anything but success is a failure that quotes the command.
pub(crate) fn succeed(command: &mut Command) -> Result<(), Failure> {
    let status = status(command)?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("{} ended with {status}", quote(command))))
}

/// As [`succeed`], and keeps what it writes, standard output and standard error in one.
pub(crate) fn succeed_and_keep(command: &mut Command, copy: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", copy.display()));
    let file = File::create(copy).map_err(failed)?;
    command.stdout(file.try_clone().map_err(failed)?).stderr(file);
    let outcome = succeed(command);
    print!("{}", std::fs::read_to_string(copy).map_err(failed)?);
    outcome
}

/// Runs it and says how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus, Failure> {
    println!("$ {}", quote(command));
    command.status().map_err(|error| Failure::new(format!("{}: {error}", quote(command))))
}

fn quote(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
