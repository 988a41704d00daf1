//! `postroom exchanges`.

use serde_json::json;

use super::listing;
use super::values::{self, NamedValue};
use crate::client::{Client, Content, Method, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom exchanges
  postroom exchanges declare events --type topic
  postroom exchanges delete events --if-unused";

const COLUMNS: [Column; 6] = [
    ("EXCHANGE", "name", Show::Text),
    ("TYPE", "type", Show::Text),
    ("DURABLE", "durable", Show::Text),
    ("INTERNAL", "internal", Show::Text),
    ("IN", "published_in_per_s", Show::Rate),
    ("OUT", "published_out_per_s", Show::Rate),
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
    /// List all exchanges
    List,
    /// Make an exchange, or find it as it should be
    Declare {
        /// Its name.
        exchange: String,
        /// How it routes.
        #[arg(long = "type", value_name = "TYPE", default_value = "direct",
              value_parser = ["direct", "fanout", "topic", "headers"])]
        exchange_type: String,
        /// It goes with the broker.
        #[arg(long)]
        transient: bool,
        /// It goes with its last binding.
        #[arg(long)]
        auto_delete: bool,
        /// Only exchanges may publish to it.
        #[arg(long)]
        internal: bool,
        /// An argument, such as alternate-exchange=unrouted; may be given several times.
        #[arg(long = "argument", short = 'a', value_name = "NAME=VALUE",
              value_parser = values::parse)]
        arguments: Vec<NamedValue>,
    },
    /// Delete an exchange and the bindings from it
    Delete {
        /// Its name.
        exchange: String,
        /// Not while it has bindings.
        #[arg(long)]
        if_unused: bool,
    },
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let place = &arguments.place;
    let path = |exchange: &str| format!("/v1/exchanges/{}", encoded(exchange));
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => listing::pages(client, place, "/v1/exchanges", &COLUMNS),
        Action::Declare {
            exchange,
            exchange_type,
            transient,
            auto_delete,
            internal,
            arguments,
        } => {
            let settings = json!({
                "type": exchange_type,
                "durable": !transient,
                "auto_delete": auto_delete,
                "internal": internal,
                "arguments": values::object(arguments),
            });
            let path = client.in_vhost(&path(exchange), &[]);
            client.ask(Method::Put, &path, &Content::Json(&settings))?;
            screen::line(&format!("exchange '{exchange}' is there"))
        }
        Action::Delete { exchange, if_unused } => {
            let path = client.in_vhost(&path(exchange), &[("if_unused", &if_unused.to_string())]);
            client.ask(Method::Delete, &path, &Content::Nothing)?;
            screen::line(&format!("exchange '{exchange}' is deleted"))
        }
    }
}
