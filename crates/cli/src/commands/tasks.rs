//! `postroom tasks`: does something with all messages of a queue that a filter means, and shows how far
//! that is.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value as Json, json};

use super::filter::Filter;
use super::listing;
use crate::client::{Client, Content, Method, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom tasks delete orders --header tenant=acme --dry-run
  postroom tasks delete orders --header tenant=acme
  postroom tasks move orders parked --json-path '$.customer.id=42' --rate 100
  postroom tasks replay dead-orders --max-age-seconds 3600
  postroom tasks
  postroom tasks cancel 1764043200007";

const COLUMNS: [Column; 9] = [
    ("TASK", "id", Show::Text),
    ("STATE", "state", Show::Text),
    ("ACTION", "action", Show::Text),
    ("QUEUE", "queue", Show::Text),
    ("TO", "to", Show::Text),
    ("USER", "user", Show::Text),
    ("PASSED", "passed", Show::Count),
    ("MATCHED", "matched", Show::Count),
    ("DONE", "done", Show::Count),
];

const FACTS: [Column; 10] = [
    ("task", "id", Show::Text),
    ("state", "state", Show::Text),
    ("action", "action", Show::Text),
    ("queue", "queue", Show::Text),
    ("dry run", "dry_run", Show::Text),
    ("matched", "matched", Show::Count),
    ("done", "done", Show::Count),
    ("gone meanwhile", "gone", Show::Count),
    ("refused", "refused", Show::Count),
    ("problem", "problem", Show::Text),
];

/// How often it is asked how far a task is.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List tasks that are at work or were not long ago
    List,
    /// Show one task
    Show {
        /// Its id.
        task: String,
    },
    /// Cancel a task: what was done stays done
    Cancel {
        /// Its id.
        task: String,
    },
    /// Delete messages of a queue
    Delete {
        /// The queue.
        queue: String,
        #[command(flatten)]
        work: Work,
    },
    /// Move messages of a queue to another one
    Move {
        /// The queue.
        queue: String,
        /// Where they go.
        to: String,
        #[command(flatten)]
        work: Work,
    },
    /// Put dead letters back into the queues that gave them up
    Replay {
        /// The queue that they are in.
        queue: String,
        #[command(flatten)]
        work: Work,
    },
}

#[derive(Debug, clap::Args)]
struct Work {
    #[command(flatten)]
    filter: Filter,

    /// Only count the messages, and show some.
    #[arg(long)]
    dry_run: bool,

    /// Do at most so many messages a second.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    rate: u32,

    /// Don't wait until it is over.
    #[arg(long)]
    detach: bool,
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let place = &arguments.place;
    let path = |task: &str| format!("/v1/tasks/{}", encoded(task));
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => {
            let answer = client.get("/v1/tasks")?;
            listing::print(place, listing::rows(&answer, "items"), &COLUMNS)
        }
        Action::Show { task } => shown(place, &client.get(&path(task))?),
        Action::Cancel { task } => {
            shown(place, &client.ask(Method::Delete, &path(task), &Content::Nothing)?)
        }
        Action::Delete { queue, work } => {
            begin(client, place, &json!({ "action": "delete", "queue": queue }), work)
        }
        Action::Move { queue, to, work } => {
            begin(client, place, &json!({ "action": "move", "queue": queue, "to": to }), work)
        }
        Action::Replay { queue, work } => {
            begin(client, place, &json!({ "action": "replay", "queue": queue }), work)
        }
    }
}

fn shown(place: &Place, task: &Json) -> Result<(), Failure> {
    if place.json {
        return screen::json(task);
    }
    screen::facts(task, &FACTS)?;
    for message in listing::rows(screen::at(task, "sample"), "") {
        screen::line(&message.to_string())?;
    }
    Ok(())
}

/// Begins a task, and waits until it is over.
fn begin(client: &Client, place: &Place, deed: &Json, work: &Work) -> Result<(), Failure> {
    let mut wanted: Map<String, Json> = deed.as_object().cloned().unwrap_or_default();
    wanted.insert("vhost".to_owned(), json!(client.vhost()));
    wanted.insert("filter".to_owned(), work.filter.document());
    wanted.insert("dry_run".to_owned(), json!(work.dry_run));
    wanted.insert("rate_per_s".to_owned(), json!(work.rate));
    let mut task = client.ask(Method::Post, "/v1/tasks", &Content::Json(&Json::Object(wanted)))?;
    if !work.detach {
        let path = format!("/v1/tasks/{}", screen::at(&task, "id").as_str().unwrap_or_default());
        let bar = bar(&task);
        while is_running(&task) {
            std::thread::sleep(LOOK);
            task = client.get(&path)?;
            bar.set_position(screen::at(&task, "passed").as_u64().unwrap_or_default());
            bar.set_message(format!("{} done", screen::at(&task, "done")));
        }
        bar.finish_and_clear();
    }
    shown(place, &task)?;
    match screen::at(&task, "problem").as_str() {
        Some(problem) => Err(Failure::Unfinished(problem.to_owned())),
        None => Ok(()),
    }
}

fn is_running(task: &Json) -> bool {
    screen::at(task, "state").as_str() == Some("running")
}

/// A bar for people; nothing where nobody looks.
fn bar(task: &Json) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(screen::at(task, "total").as_u64().unwrap_or_default());
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} {eta}");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}
