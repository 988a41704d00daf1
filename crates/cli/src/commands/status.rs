//! `postroom status`.

use crate::client::Client;
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom status
  postroom status --json
  postroom status --url https://broker.example:15671 --ca ca.pem --user admin";

const FACTS: [Column; 14] = [
    ("version", "version", Show::Text),
    ("up for", "uptime_ms", Show::Ms),
    ("alarms", "alarms", Show::Text),
    ("connections", "connections", Show::Count),
    ("channels", "channels", Show::Count),
    ("queues", "queues", Show::Count),
    ("consumers", "consumers", Show::Count),
    ("ready", "ready", Show::Count),
    ("unacked", "unacked", Show::Count),
    ("published", "rates.published", Show::Rate),
    ("delivered", "rates.delivered", Show::Rate),
    ("acknowledged", "rates.acknowledged", Show::Rate),
    ("memory for messages", "messages_memory_bytes", Show::Bytes),
    ("disk free", "disk_free_bytes", Show::Bytes),
];

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let answer = client.get("/v1/overview")?;
    if arguments.place.json {
        return screen::json(&answer);
    }
    screen::facts(&answer, &FACTS)
}
