//! `postroom message`: one message by its id: what it is doing, or what became of it.

use super::messages;
use crate::client::{Client, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom peek orders                            the ids stand in front
  postroom message AQEvAwA                        what it is doing, or what became of it
  postroom message AQEvAwA --json                 whole, for programs
  postroom queues done orders                     what became of those that are done

What became of a message is told by queues declared with x-done-ttl or x-done-max-length. Exits with 3 if
nobody knows of it.";

const FACTS: [Column; 22] = [
    ("id", "id", Show::Text),
    ("vhost", "vhost", Show::Text),
    ("queue", "queue", Show::Text),
    ("state", "state", Show::Text),
    ("outcome", "outcome", Show::Text),
    ("dead-lettered", "dead_lettered", Show::Text),
    ("attempts", "attempts", Show::Count),
    ("age", "age_ms", Show::Ms),
    ("leased by", "leased_by", Show::Text),
    ("lease ends (ms)", "lease_expires_at_ms", Show::Text),
    ("ready at (ms)", "ready_at_ms", Show::Text),
    ("published at (ms)", "published_at_ms", Show::Text),
    ("done at (ms)", "done_at_ms", Show::Text),
    ("kept until (ms)", "kept_until_ms", Show::Text),
    ("progress", "progress", Show::Json),
    ("result", "result", Show::Json),
    ("error", "error", Show::Json),
    ("exchange", "exchange", Show::Text),
    ("routing key", "routing_key", Show::Text),
    ("headers", "headers", Show::Json),
    ("size", "body_bytes", Show::Bytes),
    ("body", "shown", Show::Text),
];

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Its id, as a publish over HTTP, a lease or `postroom peek` told it.
    id: String,

    #[command(flatten)]
    pub(crate) place: Place,
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { id, place } = arguments;
    let answer = client.get(&format!("/v1/messages/{}", encoded(id)))?;
    if place.json {
        return screen::json(&answer);
    }
    let mut answer = answer;
    if answer.get("body_bytes").is_some() {
        answer = messages::with_shown(&answer);
    }
    let there: Vec<Column> =
        FACTS.into_iter().filter(|(_, path, _)| !screen::at(&answer, path).is_null()).collect();
    screen::facts(&answer, &there)
}
