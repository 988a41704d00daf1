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

const FACTS: [Column; 13] = [
    ("version", "version", Show::Text),
    ("up for", "uptime_ms", Show::Ms),
    ("publishers blocked", "publishers_blocked", Show::Text),
    ("connections", "connections", Show::Count),
    ("vhosts", "vhosts", Show::Count),
    ("queues", "queues", Show::Count),
    ("without consumers", "queues_without_consumers", Show::Count),
    ("ready", "ready", Show::Count),
    ("unacked", "unacked", Show::Count),
    ("oldest", "oldest_age_ms", Show::Ms),
    ("published", "rates.published_per_s", Show::Rate),
    ("delivered", "rates.delivered_per_s", Show::Rate),
    ("acknowledged", "rates.acknowledged_per_s", Show::Rate),
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
