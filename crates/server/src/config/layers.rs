//! Flag over environment over file over default: the file's values take the place of the defaults,
//! so that one parser reads and checks them all.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};

use super::nearest::nearest;

/// Every environment variable that is a setting begins with this.
const PREFIX: &str = "POSTROOM_";

/// Variables that speak to the tests, not to the broker that they start.
const FOR_TESTS: [&str; 2] = ["POSTROOM_BINARY", "POSTROOM_PLANTED_FAULT"];

/// Variables that speak to the commands that ask a broker.
const FOR_CLIENTS: [&str; 7] = [
    "POSTROOM_URL",
    "POSTROOM_USER",
    "POSTROOM_PASSWORD",
    "POSTROOM_NEW_PASSWORD",
    "POSTROOM_TOKEN",
    "POSTROOM_CA",
    "POSTROOM_VHOST",
];

/// Why the settings could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The command line, or the value of an environment variable; also a wish for `--help`.
    #[error(transparent)]
    Arguments(#[from] clap::Error),

    #[error("{variable} is not a setting; the nearest is {nearest}")]
    UnknownVariable { variable: String, nearest: String },

    #[error("{}: {error}", file.display())]
    UnreadableFile { file: PathBuf, error: std::io::Error },

    #[error("{}: {error}", file.display())]
    NotToml { file: PathBuf, error: Box<toml::de::Error> },

    #[error("{}: {key} is not a setting; the nearest is {nearest}", file.display())]
    UnknownKey { file: PathBuf, key: String, nearest: String },

    #[error(
        "{}: {key} must be a text, a number, true or false, or a list of such values",
        file.display()
    )]
    NotAValue { file: PathBuf, key: String },

    #[error("{}: {error}", file.display())]
    BadValue { file: PathBuf, error: clap::Error },
}

/// Gives each argument of `command` the environment variable that its name says.
pub(crate) fn with_environment(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_long().map(variable) {
        Some(variable) => arg.env(variable).hide_env_values(true),
        None => arg,
    })
}

/// Reads `arguments` as those of `command`, whose subcommand `serve` has the settings; what other
/// subcommands want stands on the command line alone.
pub(crate) fn read(
    command: &Command,
    arguments: &[OsString],
    variables: impl Iterator<Item = OsString>,
) -> Result<ArgMatches, SettingsError> {
    let matches = command.clone().try_get_matches_from(arguments)?;
    let Some((name @ "serve", serve)) = matches.subcommand() else { return Ok(matches) };
    let keys = keys(command, name);
    check_variables(&keys, variables)?;
    let Some(file) = serve.get_one::<PathBuf>("config") else { return Ok(matches) };
    let values = file_values(file, &keys)?;
    command
        .clone()
        .mut_subcommand(name, |serve| {
            values.into_iter().fold(serve, |serve, (key, values)| {
                serve.mut_arg(key.replace('-', "_"), |arg| arg.default_values(values))
            })
        })
        .try_get_matches_from(arguments)
        .map_err(|error| SettingsError::BadValue { file: file.clone(), error })
}

/// The names of all settings, as the file spells them.
fn keys(command: &Command, subcommand: &str) -> Vec<String> {
    command
        .find_subcommand(subcommand)
        .into_iter()
        .flat_map(Command::get_arguments)
        .filter_map(Arg::get_long)
        .map(str::to_owned)
        .collect()
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('-', "_").to_uppercase())
}

fn check_variables(
    keys: &[String],
    found: impl Iterator<Item = OsString>,
) -> Result<(), SettingsError> {
    for found in found {
        let found = found.to_string_lossy();
        let Some(name) = found.strip_prefix(PREFIX) else { continue };
        let others = FOR_TESTS.contains(&&*found) || FOR_CLIENTS.contains(&&*found);
        if others || keys.iter().any(|key| variable(key) == found) {
            continue;
        }
        let typed = name.replace('_', "-").to_lowercase();
        return Err(SettingsError::UnknownVariable {
            variable: found.clone().into_owned(),
            nearest: nearest(&typed, keys).map(variable).unwrap_or_default(),
        });
    }
    Ok(())
}

/// What the file says, each value as it would be written on the command line.
fn file_values(file: &Path, keys: &[String]) -> Result<Vec<(String, Vec<String>)>, SettingsError> {
    let path = || file.to_path_buf();
    let text = std::fs::read_to_string(file)
        .map_err(|error| SettingsError::UnreadableFile { file: path(), error })?;
    let table: toml::Table = toml::from_str(&text)
        .map_err(|error| SettingsError::NotToml { file: path(), error: Box::new(error) })?;
    let mut values = Vec::new();
    for (key, value) in table {
        // A file that names another file is not a layer we have.
        if key == "config" || !keys.contains(&key) {
            let keys: Vec<String> = keys.iter().filter(|key| *key != "config").cloned().collect();
            let nearest = nearest(&key, &keys).unwrap_or_default().to_owned();
            return Err(SettingsError::UnknownKey { file: path(), key, nearest });
        }
        match spelled_out(&value) {
            Some(spelled) => values.push((key, spelled)),
            None => return Err(SettingsError::NotAValue { file: path(), key }),
        }
    }
    Ok(values)
}

fn spelled_out(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Float(number) => Some(vec![number.to_string()]),
        toml::Value::Boolean(flag) => Some(vec![flag.to_string()]),
        toml::Value::Array(values) => {
            let values: Option<Vec<Vec<String>>> = values.iter().map(spelled_out).collect();
            Some(values?.concat())
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}
