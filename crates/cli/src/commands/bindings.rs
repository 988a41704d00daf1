//! `postroom bindings`.

use serde_json::{Value as Json, json};

use super::listing;
use super::values::{self, NamedValue};
use crate::client::{Client, Content, Method};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom bindings
  postroom bindings add events orders --key 'order.*'
  postroom bindings remove events orders --key 'order.*'";

const COLUMNS: [Column; 5] = [
    ("SOURCE", "source", Show::Text),
    ("DESTINATION", "destination", Show::Text),
    ("KIND", "destination_type", Show::Text),
    ("KEY", "routing_key", Show::Text),
    ("ARGUMENTS", "arguments", Show::Text),
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
    /// List all bindings
    List,
    /// Add a binding; nothing happens if it is there
    Add(Binding),
    /// Remove a binding
    Remove(Binding),
}

#[derive(Debug, clap::Args)]
struct Binding {
    /// The exchange that messages come from.
    source: String,
    /// The queue that they go to.
    destination: String,
    /// The destination is an exchange.
    #[arg(long)]
    to_exchange: bool,
    /// The binding key.
    #[arg(long, value_name = "KEY", default_value = "")]
    key: String,
    /// An argument, such as x-match=any; may be given several times.
    #[arg(long = "argument", short = 'a', value_name = "NAME=VALUE",
          value_parser = values::parse)]
    arguments: Vec<NamedValue>,
}

impl Binding {
    fn destination_type(&self) -> &'static str {
        if self.to_exchange { "exchange" } else { "queue" }
    }
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    const PATH: &str = "/v1/bindings";
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => listing::pages(client, &arguments.place, PATH, &COLUMNS),
        Action::Add(binding) => {
            let content = json!({
                "source": binding.source,
                "destination": binding.destination,
                "destination_type": binding.destination_type(),
                "routing_key": binding.key,
                "arguments": values::object(&binding.arguments),
            });
            client.ask(Method::Post, &client.in_vhost(PATH, &[]), &Content::Json(&content))?;
            screen::line("the binding is there")
        }
        Action::Remove(binding) => {
            let arguments = Json::Object(values::object(&binding.arguments)).to_string();
            let path = client.in_vhost(
                PATH,
                &[
                    ("source", &binding.source),
                    ("destination", &binding.destination),
                    ("destination_type", binding.destination_type()),
                    ("routing_key", &binding.key),
                    ("arguments", &arguments),
                ],
            );
            client.ask(Method::Delete, &path, &Content::Nothing)?;
            screen::line("the binding is gone")
        }
    }
}
