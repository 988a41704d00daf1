//! `postroom health`.

use crate::client::Client;
use crate::failure::Failure;
use crate::place::Place;
use crate::screen;

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom health                  is it ready to serve?
  postroom health alarms           are publishers blocked?
  postroom health live && echo up";

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to ask.
    #[arg(default_value = "ready", value_parser = ["live", "ready", "alarms"])]
    check: String,

    #[command(flatten)]
    pub(crate) place: Place,
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let answer = client.get(&format!("/health/{}", arguments.check))?;
    if arguments.place.json { screen::json(&answer) } else { screen::line("ok") }
}
