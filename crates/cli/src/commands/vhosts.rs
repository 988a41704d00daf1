//! `postroom vhosts`.

use super::listing;
use crate::client::{Client, Content, Method, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom vhosts
  postroom vhosts add staging
  postroom vhosts delete staging --yes";

const COLUMNS: [Column; 3] = [
    ("VHOST", "name", Show::Text),
    ("READY", "messages_ready", Show::Count),
    ("UNACKED", "messages_unacknowledged", Show::Count),
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
    /// Make a virtual host
    Add {
        /// Its name.
        name: String,
    },
    /// Delete a virtual host with everything in it
    Delete {
        /// Its name.
        name: String,
        /// Yes, with all queues and messages.
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let path = |name: &str| format!("/api/vhosts/{}", encoded(name));
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => {
            let answer = client.get("/api/vhosts")?;
            listing::print(&arguments.place, listing::rows(&answer, ""), &COLUMNS)
        }
        Action::Add { name } => {
            client.ask(Method::Put, &path(name), &Content::Nothing)?;
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
    }
}
