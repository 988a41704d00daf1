//! `postroom peek`: looks at a queue's messages without taking them.

use super::messages::{self, Wanted};
use crate::client::Client;
use crate::failure::Failure;
use crate::place::Place;

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom peek orders                     the ten that came first
  postroom peek orders --newest --max 3    the three that came last
  postroom peek orders --state leased      what is being worked on
  postroom peek orders --json              whole, a line each, for programs";

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The queue.
    queue: String,

    /// Show at most so many messages.
    #[arg(long, value_name = "COUNT", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..))]
    max: u64,

    /// Those that came last first.
    #[arg(long)]
    newest: bool,

    /// Only those that are doing this: ready, leased (over HTTP), delivered (to a consumer) or delayed.
    #[arg(long, value_name = "STATE", value_parser = ["ready", "leased", "delivered", "delayed"])]
    state: Option<String>,

    /// Show at most so many bytes of a body.
    #[arg(long, value_name = "BYTES", default_value_t = 4_096)]
    body_bytes: u32,

    #[command(flatten)]
    pub(crate) place: Place,
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { queue, max, newest, state, body_bytes, place } = arguments;
    let mut parameters = vec![("max_body_bytes", body_bytes.to_string())];
    parameters.extend(newest.then(|| ("order", "newest".to_owned())));
    parameters.extend(state.clone().map(|state| ("state", state)));
    messages::print(client, place, &Wanted { queue, parameters, max: *max })
}
