//! `postroom vhosts`.

use serde_json::json;

use super::{limits, listing};
use crate::client::{Client, Content, Method, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom vhosts
  postroom vhosts add staging --description 'what is tried before Friday'
  postroom vhosts limit staging max-queues 1000
  postroom vhosts limits
  postroom vhosts delete staging --yes";

const COLUMNS: [Column; 5] = [
    ("VHOST", "name", Show::Text),
    ("QUEUES", "queues", Show::Count),
    ("READY", "ready", Show::Count),
    ("UNACKED", "unacked", Show::Count),
    ("DESCRIPTION", "description", Show::Text),
];

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List all virtual hosts
    List,
    /// Make a virtual host, or note something on it
    Add {
        /// Its name.
        name: String,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Delete a virtual host with everything in it
    Delete {
        /// Its name.
        name: String,
        /// Yes, with all queues and messages.
        #[arg(long)]
        yes: bool,
    },
    #[command(flatten)]
    Limits(limits::Action),
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let path = |name: &str| format!("/v1/vhosts/{}", encoded(name));
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => listing::all_pages(client, &arguments.place, "/v1/vhosts", &COLUMNS),
        Action::Add { name, description } => {
            let content = json!({ "description": description });
            client.ask(Method::Put, &path(name), &Content::Json(&content))?;
            screen::line(&format!("vhost '{name}' is there"))
        }
        Action::Delete { name, yes: false } => {
            let what =
                format!("this deletes all queues and messages of '{name}': say so with --yes");
            Err(Failure::Usage(what))
        }
        Action::Delete { name, yes: true } => {
            client.ask(Method::Delete, &path(name), &Content::Nothing)?;
            screen::line(&format!("vhost '{name}' is deleted"))
        }
        Action::Limits(action) => limits::run(client, &arguments.place, limits::Of::Vhosts, action),
    }
}
