//! `postroom tokens`.

use serde_json::json;

use super::listing;
use crate::client::{Client, Content, Method, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom tokens
  postroom tokens create ci --scope publish --expires-seconds 86400
  postroom tokens revoke ci";

const COLUMNS: [Column; 4] = [
    ("TOKEN", "name", Show::Text),
    ("USER", "user", Show::Text),
    ("SCOPES", "scopes", Show::Text),
    ("VHOST", "vhost", Show::Text),
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
    /// List all tokens
    List,
    /// Make a token and print it; it is shown this once
    Create {
        /// A name for it.
        name: String,
        /// What it is good for: read, publish, consume, manage; may be given several times.
        #[arg(long = "scope", value_name = "SCOPE", required = true,
              value_parser = ["read", "publish", "consume", "manage"])]
        scopes: Vec<String>,
        /// It is good for the virtual host that is meant, and no other.
        #[arg(long)]
        only_vhost: bool,
        /// It ends after so many seconds.
        #[arg(long, value_name = "SECONDS")]
        expires_seconds: Option<u64>,
    },
    /// End a token
    Revoke {
        /// Its name.
        name: String,
    },
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    const PATH: &str = "/v1/tokens";
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => {
            let answer = client.get(PATH)?;
            listing::print(&arguments.place, listing::rows(&answer, "tokens"), &COLUMNS)
        }
        Action::Create { name, scopes, only_vhost, expires_seconds } => {
            let vhost = only_vhost.then(|| client.vhost());
            let content = json!({
                "name": name,
                "scopes": scopes,
                "vhost": vhost,
                "expires_in_seconds": expires_seconds,
            });
            let answer = client.ask(Method::Post, PATH, &Content::Json(&content))?;
            if arguments.place.json {
                return screen::json(&answer);
            }
            screen::line(screen::at(&answer, "secret").as_str().unwrap_or_default())
        }
        Action::Revoke { name } => {
            let path = format!("{PATH}/{}", encoded(name));
            client.ask(Method::Delete, &path, &Content::Nothing)?;
            screen::line(&format!("token '{name}' is revoked"))
        }
    }
}
