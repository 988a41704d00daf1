//! `postroom search`: finds messages of a queue by what they say and what is known of them, without
//! taking them.

use super::filter::Filter;
use super::messages::{self, Wanted};
use crate::client::Client;
use crate::failure::Failure;
use crate::place::Place;

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom search orders --body 4711
  postroom search orders --header tenant=acme --header retry
  postroom search orders --json-path '$.customer.id=42' --json
  postroom search orders --property content_type=application/json --newest
  postroom search orders --min-age-seconds 0 --min-attempts 0

All that is said has to be true of a message. Exits with 3 if none is found.";

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The queue.
    queue: String,

    #[command(flatten)]
    filter: Filter,

    /// Show at most so many messages.
    #[arg(long, value_name = "COUNT", default_value_t = 100,
          value_parser = clap::value_parser!(u64).range(1..))]
    max: u64,

    /// Those that came last first.
    #[arg(long)]
    newest: bool,

    /// Show at most so many bytes of a body.
    #[arg(long, value_name = "BYTES", default_value_t = 4_096)]
    body_bytes: u32,

    #[command(flatten)]
    pub(crate) place: Place,
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { queue, filter, max, newest, body_bytes, place } = arguments;
    let mut parameters = filter.parameters();
    parameters.push(("max_body_bytes", body_bytes.to_string()));
    parameters.extend(newest.then(|| ("order", "newest".to_owned())));
    messages::print(client, place, &Wanted { queue, parameters, max: *max })
}
