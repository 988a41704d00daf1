//! `postroom consume`: leases messages, prints them, and says that they are done.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::listing;
use crate::client::{Client, Content, Method, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen;

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom consume orders                  one message, if there is one
  postroom consume orders --max 100
  postroom consume orders --follow         all that come, until Ctrl-C
  postroom consume orders --wait-seconds 30 --json
  postroom consume orders --keep           look at it, and give it back";

/// Messages taken at once.
const BATCH: u64 = 100;

/// How long a message is held while it is printed, in milliseconds.
const LEASE_MS: u64 = 30_000;

/// How long one request waits for messages, in milliseconds.
const WAIT_MS_MAX: u64 = 20_000;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The queue.
    queue: String,

    /// Take at most so many messages.
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..))]
    max: u64,

    /// Take all that come, until told to stop.
    #[arg(long, conflicts_with = "max")]
    follow: bool,

    /// How long to wait for a message if there is none, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait_seconds: u64,

    /// Give the messages back to their place in the queue.
    #[arg(long)]
    keep: bool,

    #[command(flatten)]
    pub(crate) place: Place,
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let path = format!("/v1/queues/{}/lease", encoded(&arguments.queue));
    let path = client.in_vhost(&path, &[]);
    let mut left = if arguments.follow { u64::MAX } else { arguments.max };
    let mut wait_ms = arguments.wait_seconds.saturating_mul(1_000);
    let mut kept = Vec::new();
    let mut taken = 0;
    while left > 0 {
        let this_ms = if arguments.follow { WAIT_MS_MAX } else { wait_ms.min(WAIT_MS_MAX) };
        let wanted = json!({ "max": left.min(BATCH), "lease_ms": LEASE_MS, "wait_ms": this_ms });
        let answer = client.ask(Method::Post, &path, &Content::Json(&wanted))?;
        let messages = listing::rows(&answer, "messages");
        if messages.is_empty() {
            wait_ms = wait_ms.saturating_sub(this_ms);
            if arguments.follow || wait_ms > 0 {
                continue;
            }
            break;
        }
        for message in messages {
            print(&arguments.place, message)?;
        }
        let leases: Vec<Json> =
            messages.iter().map(|message| json!({ "lease": message["lease"] })).collect();
        taken += leases.len() as u64;
        left -= (leases.len() as u64).min(left);
        if arguments.keep {
            // All are held until all are printed, or the first would come again.
            kept.extend(leases);
        } else {
            settle(client, "ack", &leases)?;
        }
    }
    settle(client, "release", &kept)?;
    if taken == 0 { Err(Failure::NothingThere) } else { Ok(()) }
}

fn settle(client: &Client, how: &str, leases: &[Json]) -> Result<(), Failure> {
    for batch in leases.chunks(1_000) {
        let content = json!({ how: batch });
        client.ask(Method::Post, "/v1/leases", &Content::Json(&content))?;
    }
    Ok(())
}

/// As JSON, or the body alone.
fn print(place: &Place, message: &Json) -> Result<(), Failure> {
    if place.json {
        return screen::line(&message.to_string());
    }
    if let Some(encoded) = message.get("body_base64").and_then(Json::as_str) {
        let bytes = STANDARD.decode(encoded).unwrap_or_default();
        screen::bytes(&bytes)?;
        return screen::line("");
    }
    let body = screen::at(message, "body");
    match body.as_str() {
        Some(text) => screen::line(text),
        None => screen::line(&body.to_string()),
    }
}
