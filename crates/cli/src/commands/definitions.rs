//! `postroom definitions`.

use std::path::PathBuf;

use serde_json::Value as Json;

use crate::client::{Client, Content, Method};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen;

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom definitions export --file definitions.json
  postroom definitions import definitions.json --dry-run
  postroom definitions import definitions.json";

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Write everything there is but messages, in RabbitMQ's format
    Export {
        /// Where to; standard output if not given.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Make what is not there; nothing is removed
    Import {
        /// From where: a file as `export` or RabbitMQ writes it.
        file: PathBuf,
        /// Only list what would change.
        #[arg(long)]
        dry_run: bool,
    },
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    const PATH: &str = "/api/definitions";
    match &arguments.action {
        Action::Export { file: None } => screen::json(&client.get(PATH)?),
        Action::Export { file: Some(path) } => {
            let text = serde_json::to_string_pretty(&client.get(PATH)?).unwrap_or_default();
            let written = std::fs::write(path, text + "\n");
            written.map_err(|error| Failure::File { path: path.clone(), error })
        }
        Action::Import { file, dry_run } => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Failure::File { path: file.clone(), error })?;
            let json: Json = serde_json::from_str(&text)
                .map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
            let path = if *dry_run { "/api/definitions?dry_run=true" } else { PATH };
            let answer = client.ask(Method::Post, path, &Content::Json(&json))?;
            if answer.is_null() { screen::line("imported") } else { screen::json(&answer) }
        }
    }
}
