//! `postroom publish`.

use std::io::{BufRead as _, Read as _};
use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use super::values::{self, NamedValue};
use crate::client::{Client, Content, Method, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen;

pub(crate) const EXAMPLES: &str = "\
Examples:
  postroom publish orders 'one message'
  postroom publish orders --json-body '{\"id\": 7}' --header tenant=acme
  postroom publish --exchange events --key order.created 'a message'
  echo 'from a pipe' | postroom publish orders -
  seq 1000 | postroom publish orders --lines -";

/// Messages in one request.
const BATCH: usize = 500;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The queue; with --exchange, the message.
    #[arg(required_unless_present = "exchange")]
    queue: Option<String>,

    /// The message; `-` reads it from standard input.
    body: Option<String>,

    /// Publish to an exchange in place of a queue.
    #[arg(long, value_name = "NAME")]
    exchange: Option<String>,

    /// The routing key.
    #[arg(long, value_name = "KEY", default_value = "", requires = "exchange")]
    key: String,

    /// Read the message from a file.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Each line of the input is a message.
    #[arg(long)]
    lines: bool,

    /// The message is JSON; it is checked, and labelled so.
    #[arg(long, value_name = "JSON")]
    json_body: Option<String>,

    /// A header; may be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = values::parse)]
    headers: Vec<NamedValue>,

    /// The content type.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,

    /// The priority.
    #[arg(long, value_name = "NUMBER")]
    priority: Option<u8>,

    /// How long it may wait in a queue, in milliseconds.
    #[arg(long, value_name = "MS")]
    ttl_ms: Option<u32>,

    /// The message goes with the broker.
    #[arg(long)]
    transient: bool,

    #[command(flatten)]
    pub(crate) place: Place,
}

impl Arguments {
    fn path(&self, client: &Client) -> String {
        match (&self.exchange, &self.queue) {
            (Some(exchange), _) => {
                let path = format!("/v1/exchanges/{}/messages", encoded(exchange));
                client.in_vhost(&path, &[("routing_key", &self.key)])
            }
            (None, queue) => {
                let queue = encoded(queue.as_deref().unwrap_or_default());
                client.in_vhost(&format!("/v1/queues/{queue}/messages"), &[])
            }
        }
    }

    /// What was said on the command line to be the message.
    fn said(&self) -> Option<&str> {
        if self.exchange.is_some() { self.queue.as_deref() } else { self.body.as_deref() }
    }

    fn input(&self) -> Result<Vec<u8>, Failure> {
        if let Some(path) = &self.file {
            let read = std::fs::read(path);
            return read.map_err(|error| Failure::File { path: path.clone(), error });
        }
        match self.said() {
            Some("-") => {
                let mut bytes = Vec::new();
                let read = std::io::stdin().lock().read_to_end(&mut bytes);
                read.map_err(|error| Failure::File { path: "standard input".into(), error })?;
                Ok(bytes)
            }
            Some(text) => Ok(text.as_bytes().to_vec()),
            None => {
                let what = "there is no message: give it behind the queue, as `-` for standard \
                            input, or with --file or --json-body";
                Err(Failure::Usage(what.to_owned()))
            }
        }
    }

    /// A message with these bytes, as the API takes it.
    fn message(&self, body: &[u8]) -> Json {
        use base64::Engine as _;
        let mut message = Map::new();
        match std::str::from_utf8(body) {
            Ok(text) => message.insert("body".to_owned(), json!(text)),
            Err(_not_text) => {
                let encoded = base64::engine::general_purpose::STANDARD.encode(body);
                message.insert("body_base64".to_owned(), json!(encoded))
            }
        };
        let mut put = |name: &str, value: Option<Json>| {
            if let Some(value) = value {
                message.insert(name.to_owned(), value);
            }
        };
        put("content_type", self.content_type.as_ref().map(|text| json!(text)));
        put("priority", self.priority.map(|priority| json!(priority)));
        put("ttl_ms", self.ttl_ms.map(|ms| json!(ms)));
        put("persistent", self.transient.then_some(json!(false)));
        let headers =
            (!self.headers.is_empty()).then(|| Json::Object(values::object(&self.headers)));
        put("headers", headers);
        Json::Object(message)
    }
}

pub(crate) fn run(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.path(client);
    let mut published = 0;
    if let Some(text) = &arguments.json_body {
        let body: Json = serde_json::from_str(text)
            .map_err(|error| Failure::Usage(format!("--json-body is not JSON: {error}")))?;
        let mut message = arguments.message(b"");
        message["content_type"] =
            json!(arguments.content_type.as_deref().unwrap_or("application/json"));
        // As it was written, to the last digit.
        message["body"] = if body.is_string() { json!(text) } else { body };
        published += send(client, &path, &[message])?;
    } else if arguments.lines && arguments.said() == Some("-") {
        let mut batch = Vec::new();
        for line in std::io::stdin().lock().lines() {
            let line =
                line.map_err(|error| Failure::File { path: "standard input".into(), error })?;
            batch.push(arguments.message(line.as_bytes()));
            if batch.len() == BATCH {
                published += send(client, &path, &batch)?;
                batch.clear();
            }
        }
        published += send(client, &path, &batch)?;
    } else if arguments.lines {
        let input = arguments.input()?;
        let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
        let lines = lines.strip_suffix(&[&b""[..]]).unwrap_or(&lines);
        for batch in lines.chunks(BATCH) {
            let messages: Vec<Json> = batch.iter().map(|line| arguments.message(line)).collect();
            published += send(client, &path, &messages)?;
        }
    } else {
        published += send(client, &path, &[arguments.message(&arguments.input()?)])?;
    }
    if arguments.place.json {
        return screen::json(&json!({ "published": published }));
    }
    screen::line(&format!("{published} published"))
}

fn send(client: &Client, path: &str, messages: &[Json]) -> Result<u64, Failure> {
    if messages.is_empty() {
        return Ok(0);
    }
    let content = json!({ "messages": messages });
    let answer = client.ask(Method::Post, path, &Content::Json(&content))?;
    let failed = answer.get("failed").and_then(Json::as_array);
    if let Some(first) = failed.and_then(|failed| failed.first()) {
        let count = failed.map_or(0, Vec::len);
        let detail = format!(
            "{count} of {} messages were not published: {}",
            messages.len(),
            screen::at(first, "reason").as_str().unwrap_or_default()
        );
        return Err(Failure::Refused { status: 409, detail, remedy: None });
    }
    Ok(answer.get("published").and_then(Json::as_u64).unwrap_or_default())
}
