//! The command line: `postroom serve`, `backup`, `inspect`, `repair`, the commands that ask a
//! running broker, `--help`, `--version`.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};

use crate::backup::BackupArguments;
use crate::config::Settings;
use crate::config::layers::{self, SettingsError};
use crate::inspect::InspectArguments;
use crate::repair::RepairArguments;

/// A message broker: RabbitMQ's clients work with it unmodified, and a confirmed message is on disk.
#[derive(Debug, clap::Parser)]
#[command(name = "postroom", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run the broker until it is told to stop
    ///
    /// Every setting can be given as a flag, as an environment variable or in the TOML file that
    /// --config names; if in more than one place, the first of these wins. Unknown settings are
    /// errors.
    Serve(Box<Settings>),
    /// Copy the data directory of a broker that may be running into one that starts
    Backup(BackupArguments),
    /// Print what is in a data directory, and what of it is damaged; change nothing
    ///
    /// Journals frame by frame, segments run by run. The exit code is 1 if something is damaged.
    Inspect(InspectArguments),
    /// Say what of a data directory is damaged and what is lost; with --yes give that up
    ///
    /// Without --yes nothing is changed, and the exit code is 1 if something is damaged. With --yes
    /// the broker starts afterwards with everything that can still be read; the originals of all
    /// files that are changed or taken away are in a folder damaged-SECONDS of the data directory.
    Repair(RepairArguments),
    #[command(flatten)]
    Ask(Box<cli::CliCommand>),
    /// Print completions for a shell
    #[command(
        after_help = "Examples:\n  postroom completions bash > /etc/bash_completion.d/postroom"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Prints completions for a shell.
pub(crate) fn complete(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Arguments::command(), "postroom", &mut std::io::stdout());
}

/// Reads what this process was started with; the file as it is now.
pub(crate) fn given() -> Result<Arguments, SettingsError> {
    let arguments: Vec<_> = std::env::args_os().collect();
    read(&arguments, std::env::vars_os().map(|(name, _)| name))
}

/// The same, of a process that was started to serve.
pub(crate) fn given_settings() -> Result<Settings, SettingsError> {
    match given()?.command {
        Command::Serve(settings) => Ok(*settings),
        Command::Backup(_)
        | Command::Inspect(_)
        | Command::Repair(_)
        | Command::Ask(_)
        | Command::Completions { .. } => {
            let kind = clap::error::ErrorKind::InvalidSubcommand;
            Err(clap::Error::raw(kind, "this process was not started to serve").into())
        }
    }
}

/// Reads the command line, the environment and the file.
pub(crate) fn read(
    arguments: &[OsString],
    variables: impl Iterator<Item = OsString>,
) -> Result<Arguments, SettingsError> {
    let command = Arguments::command().mut_subcommand("serve", layers::with_environment);
    let matches = layers::read(&command, arguments, variables)?;
    Ok(Arguments::from_arg_matches(&matches)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Arguments, Command, read};
    use crate::config::{Settings, Sync};

    fn settings(flags: &[&str], variables: &[&str]) -> Result<Settings, String> {
        let arguments: Vec<_> = ["postroom", "serve"].iter().chain(flags).map(Into::into).collect();
        match read(&arguments, variables.iter().map(Into::into)) {
            Ok(Arguments { command: Command::Serve(settings) }) => Ok(*settings),
            Ok(Arguments { command }) => Err(format!("{command:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn flag_over_file_over_default() {
        let file = file("sync = \"never\"\namqp-port = 1\nbind = [\"::1\", \"10.0.0.1\"]");
        let config = ["--config", file.path().to_str().unwrap(), "--amqp-port", "2"];
        let settings = settings(&config, &[]).unwrap();
        assert_eq!(settings.storage.sync, Sync::Never);
        assert_eq!(settings.listen.amqp_port, 2);
        assert_eq!(settings.listen.http_port, 15_672);
        let bind: Vec<String> = settings.listen.bind.iter().map(ToString::to_string).collect();
        assert_eq!(bind, ["::1", "10.0.0.1"]);
    }

    #[test]
    fn what_is_unknown_names_the_nearest() {
        let table = [
            ("snyc = 1", "snyc is not a setting; the nearest is sync"),
            ("config = \"x\"", "config is not a setting; the nearest is "),
            ("[storage]\nsync = 1", "storage is not a setting; the nearest is "),
            ("sync = { a = 1 }", "sync must be a text, a number, true or false, or a list"),
            ("sync = \"sometimes\"", "invalid value 'sometimes' for '--sync <WHEN>'"),
            ("amqp-port = 70000", "invalid value '70000' for '--amqp-port <PORT>'"),
            ("sync = ", "TOML parse error at line 1"),
        ];
        for (text, expected) in table {
            let file = file(text);
            let path = file.path().to_str().unwrap();
            let error = settings(&["--config", path], &[]).unwrap_err();
            assert!(error.starts_with(&format!("{path}: ")), "{text}: {error}");
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!(
            settings(&[], &["HOME", "POSTROOM_BINARY", "POSTROOM_DATADIR"]).unwrap_err(),
            "POSTROOM_DATADIR is not a setting; the nearest is POSTROOM_DATA_DIR"
        );
        assert!(settings(&["--snyc", "always"], &[]).unwrap_err().contains("'--sync'"));
        let missing = settings(&["--config", "no-such-file.toml"], &[]).unwrap_err();
        assert!(missing.starts_with("no-such-file.toml: No such file"), "{missing}");
    }
}
