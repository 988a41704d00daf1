//! `postroom connections`.

use super::listing;
use crate::client::{Client, Content, Method, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom connections
  postroom connections close '127.0.0.1:51234 -> 127.0.0.1:5672'";

const COLUMNS: [Column; 7] = [
    ("CONNECTION", "name", Show::Text),
    ("USER", "user", Show::Text),
    ("VHOST", "vhost", Show::Text),
    ("PROTOCOL", "protocol", Show::Text),
    ("STATE", "state", Show::Text),
    ("RECEIVED", "received_bytes", Show::Bytes),
    ("SENT", "sent_bytes", Show::Bytes),
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
    /// List all connections
    List,
    /// Close a connection; its client is told
    Close {
        /// Its name, as the list has it.
        connection: String,
    },
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => listing::pages(client, &arguments.place, "/v1/connections", &COLUMNS),
        Action::Close { connection } => {
            let path = format!("/api/connections/{}", encoded(connection));
            client.ask(Method::Delete, &path, &Content::Nothing)?;
            screen::line(&format!("connection '{connection}' is closed"))
        }
    }
}
