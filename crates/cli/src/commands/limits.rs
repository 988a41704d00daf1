//! Limits of single virtual hosts and users: the same words under `postroom vhosts` and
//! `postroom users`.

use serde_json::{Value as Json, json};

use super::listing;
use crate::client::{Client, Content, Method, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

/// Whose limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Vhosts,
    Users,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Action {
    /// List the limits that are set
    Limits,
    /// Set a limit; what is open or there already stays
    Limit {
        /// Whose.
        name: String,
        /// max-connections; of a vhost also max-queues, of a user also max-channels.
        limit: String,
        /// How many there may be; none: as many as come, whatever the settings say.
        #[arg(value_parser = max)]
        max: Json,
    },
    /// Clear a limit: what the settings say for all holds again
    Unlimit {
        /// Whose.
        name: String,
        /// Which limit.
        limit: String,
    },
}

const OF_VHOSTS: [Column; 3] =
    [("VHOST", "vhost", Show::Text), ("LIMIT", "limit", Show::Text), ("MAX", "max", Show::Count)];

const OF_USERS: [Column; 3] =
    [("USER", "user", Show::Text), ("LIMIT", "limit", Show::Text), ("MAX", "max", Show::Count)];

fn max(text: &str) -> Result<Json, String> {
    match text {
        "none" => Ok(Json::Null),
        number => match number.parse::<u32>() {
            Ok(max) => Ok(json!(max)),
            Err(error) => Err(format!("{error}: a number is needed, or none")),
        },
    }
}

pub(crate) fn run(client: &Client, place: &Place, of: Of, action: &Action) -> Result<(), Failure> {
    let (all, columns, what) = match of {
        Of::Vhosts => ("/v1/vhost-limits", &OF_VHOSTS, "vhost"),
        Of::Users => ("/v1/user-limits", &OF_USERS, "user"),
    };
    let path = |name: &str, limit: &str| format!("{all}/{}/{}", encoded(name), encoded(limit));
    match action {
        Action::Limits => listing::all_pages(client, place, all, columns),
        Action::Limit { name, limit, max } => {
            let content = json!({ "max": max });
            client.ask(Method::Put, &path(name, limit), &Content::Json(&content))?;
            let max = if max.is_null() { "without a bound".to_owned() } else { max.to_string() };
            screen::line(&format!("{limit} of {what} '{name}' is {max}"))
        }
        Action::Unlimit { name, limit } => {
            client.ask(Method::Delete, &path(name, limit), &Content::Nothing)?;
            screen::line(&format!("{limit} of {what} '{name}' is what the settings say"))
        }
    }
}
