//! `postroom queues`.

use serde_json::json;

use super::listing;
use super::values::{self, NamedValue};
use crate::client::{Client, Content, Method, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom queues
  postroom queues declare orders -a x-queue-type=quorum -a x-delivery-limit=5
  postroom queues show orders
  postroom queues purge orders
  postroom queues done orders
  postroom queues forget orders
  postroom queues delete orders --if-empty";

const COLUMNS: [Column; 7] = [
    ("QUEUE", "name", Show::Text),
    ("TYPE", "type", Show::Text),
    ("READY", "ready", Show::Count),
    ("UNACKED", "unacked", Show::Count),
    ("CONSUMERS", "consumers", Show::Count),
    ("OLDEST", "oldest_age_ms", Show::Ms),
    ("IN", "rates.published_per_s", Show::Rate),
];

const DONE: [Column; 6] = [
    ("ID", "id", Show::Text),
    ("OUTCOME", "outcome", Show::Text),
    ("ATTEMPTS", "attempts", Show::Count),
    ("DONE AT (MS)", "done_at_ms", Show::Text),
    ("RESULT", "result", Show::Json),
    ("ERROR", "error.type", Show::Json),
];

const FACTS: [Column; 13] = [
    ("queue", "name", Show::Text),
    ("vhost", "vhost", Show::Text),
    ("type", "type", Show::Text),
    ("durable", "durable", Show::Text),
    ("arguments", "arguments", Show::Text),
    ("ready", "ready", Show::Count),
    ("unacked", "unacked", Show::Count),
    ("done", "done", Show::Count),
    ("consumers", "consumers", Show::Count),
    ("oldest", "oldest_age_ms", Show::Ms),
    ("in", "rates.published_per_s", Show::Rate),
    ("out", "rates.delivered_per_s", Show::Rate),
    ("acknowledged", "rates.acknowledged_per_s", Show::Rate),
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
    /// List all queues
    List,
    /// Show one queue
    Show {
        /// Its name.
        queue: String,
    },
    /// Make a queue, or find it as it should be
    Declare {
        /// Its name.
        queue: String,
        /// It goes with the broker.
        #[arg(long)]
        transient: bool,
        /// It goes with its last consumer.
        #[arg(long)]
        auto_delete: bool,
        /// An argument, such as x-message-ttl=60000; may be given several times.
        #[arg(long = "argument", short = 'a', value_name = "NAME=VALUE",
              value_parser = values::parse)]
        arguments: Vec<NamedValue>,
    },
    /// Drop the ready messages of a queue
    Purge {
        /// Its name.
        queue: String,
    },
    /// List the done messages that a queue tells of, and what became of each
    Done {
        /// Its name.
        queue: String,
    },
    /// Have a queue forget what became of messages
    Forget {
        /// Its name.
        queue: String,
    },
    /// Delete a queue with its messages
    Delete {
        /// Its name.
        queue: String,
        /// Not while it has ready messages.
        #[arg(long)]
        if_empty: bool,
        /// Not while it has consumers.
        #[arg(long)]
        if_unused: bool,
    },
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let place = &arguments.place;
    let path = |queue: &str| format!("/v1/queues/{}", encoded(queue));
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => listing::pages(client, place, "/v1/queues", &COLUMNS),
        Action::Show { queue } => {
            let answer = client.get(&client.in_vhost(&path(queue), &[]))?;
            if place.json { screen::json(&answer) } else { screen::facts(&answer, &FACTS) }
        }
        Action::Declare { queue, transient, auto_delete, arguments } => {
            let settings = json!({
                "durable": !transient,
                "auto_delete": auto_delete,
                "arguments": values::object(arguments),
            });
            let path = client.in_vhost(&path(queue), &[]);
            client.ask(Method::Put, &path, &Content::Json(&settings))?;
            screen::line(&format!("queue '{queue}' is there"))
        }
        Action::Purge { queue } => {
            let path = client.in_vhost(&format!("{}/purge", path(queue)), &[]);
            let answer = client.ask(Method::Post, &path, &Content::Nothing)?;
            screen::line(&format!("{} messages dropped", screen::at(&answer, "messages")))
        }
        Action::Done { queue } => {
            listing::pages(client, place, &format!("{}/done", path(queue)), &DONE)
        }
        Action::Forget { queue } => {
            let path = client.in_vhost(&format!("{}/done", path(queue)), &[]);
            let answer = client.ask(Method::Delete, &path, &Content::Nothing)?;
            screen::line(&format!("{} done messages forgotten", screen::at(&answer, "forgotten")))
        }
        Action::Delete { queue, if_empty, if_unused } => {
            let (empty, unused) = (if_empty.to_string(), if_unused.to_string());
            let parameters = [("if_empty", &*empty), ("if_unused", &*unused)];
            let path = client.in_vhost(&path(queue), &parameters);
            let answer = client.ask(Method::Delete, &path, &Content::Nothing)?;
            let messages = screen::at(&answer, "messages");
            screen::line(&format!("queue '{queue}' is deleted, with {messages} messages"))
        }
    }
}
