//! `postroom users`.

use serde_json::json;

use super::{limits, listing};
use crate::client::{Client, Content, Method, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom users
  postroom users add worker --new-password \"$WORKER_PASSWORD\"
  postroom users add admin --new-password \"$ADMIN_PASSWORD\" --tags administrator
  postroom users permit worker --configure '^$' --write '.*' --read '.*'
  postroom users permissions
  postroom users limit worker max-channels 100
  postroom users limits
  postroom users delete worker";

const COLUMNS: [Column; 2] = [("USER", "name", Show::Text), ("TAGS", "tags", Show::Text)];

const PERMISSIONS: [Column; 5] = [
    ("USER", "user", Show::Text),
    ("VHOST", "vhost", Show::Text),
    ("CONFIGURE", "configure", Show::Text),
    ("WRITE", "write", Show::Text),
    ("READ", "read", Show::Text),
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
    /// List all users
    List,
    /// Make a user, or change its password and tags
    Add {
        /// The user's name.
        name: String,
        /// The user's password. Without one a new user can't log in with a password, and one that is
        /// there keeps its own.
        #[arg(
            long,
            value_name = "PASSWORD",
            env = "POSTROOM_NEW_PASSWORD",
            hide_env_values = true
        )]
        new_password: Option<String>,
        /// Tags, separated by commas: administrator, monitoring, policymaker, management.
        /// Without any, a user that is there keeps its own.
        #[arg(long, value_name = "TAGS", value_delimiter = ',')]
        tags: Option<Vec<String>>,
    },
    /// Delete a user; its connections are closed
    Delete {
        /// The user's name.
        name: String,
    },
    /// List what users may do in virtual hosts
    Permissions,
    /// Say what a user may do in the virtual host: patterns of names
    Permit {
        /// The user's name.
        name: String,
        /// What it may make and delete.
        #[arg(long, value_name = "PATTERN", default_value = ".*")]
        configure: String,
        /// Where it may publish.
        #[arg(long, value_name = "PATTERN", default_value = ".*")]
        write: String,
        /// From where it may consume.
        #[arg(long, value_name = "PATTERN", default_value = ".*")]
        read: String,
    },
    /// Take from a user all it may do in the virtual host
    Forbid {
        /// The user's name.
        name: String,
    },
    #[command(flatten)]
    Limits(limits::Action),
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let place = &arguments.place;
    let user = |name: &str| format!("/v1/users/{}", encoded(name));
    let permission =
        |name: &str| client.in_vhost(&format!("/v1/permissions/{}", encoded(name)), &[]);
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => listing::all_pages(client, place, "/v1/users", &COLUMNS),
        Action::Add { name, new_password, tags } => {
            let content = json!({ "password": new_password, "tags": tags });
            client.ask(Method::Put, &user(name), &Content::Json(&content))?;
            screen::line(&format!("user '{name}' is there"))
        }
        Action::Delete { name } => {
            client.ask(Method::Delete, &user(name), &Content::Nothing)?;
            screen::line(&format!("user '{name}' is deleted"))
        }
        Action::Permissions => listing::all_pages(client, place, "/v1/permissions", &PERMISSIONS),
        Action::Permit { name, configure, write, read } => {
            let content = json!({ "configure": configure, "write": write, "read": read });
            client.ask(Method::Put, &permission(name), &Content::Json(&content))?;
            screen::line(&format!("user '{name}' may do that in '{}'", client.vhost()))
        }
        Action::Forbid { name } => {
            client.ask(Method::Delete, &permission(name), &Content::Nothing)?;
            screen::line(&format!("user '{name}' may do nothing in '{}'", client.vhost()))
        }
        Action::Limits(action) => limits::run(client, place, limits::Of::Users, action),
    }
}
