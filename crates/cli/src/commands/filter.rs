//! Which messages of a queue are meant: flags that several commands have.

use serde_json::{Value as Json, json};

/// Which messages are meant.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which messages")]
pub(super) struct Filter {
    /// Those that are doing this: ready, leased (over HTTP), delivered (to a consumer) or delayed.
    #[arg(long, value_name = "STATE", value_parser = ["ready", "leased", "delivered", "delayed"])]
    state: Option<String>,

    /// Those that have a header, of a value if one is said; may be given several times.
    #[arg(long, value_name = "NAME[=VALUE]")]
    header: Vec<String>,

    /// Those that have a property, such as message_id=… or routing_key=…; may be given
    /// several times.
    #[arg(long, value_name = "NAME[=VALUE]")]
    property: Vec<String>,

    /// Those whose body has this text in it.
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,

    /// Those whose body is JSON that has something there, or this: $.customer.id=42.
    #[arg(long, value_name = "PATH[=VALUE]")]
    json_path: Option<String>,

    /// Those that have been there for so long or longer.
    #[arg(long, value_name = "SECONDS")]
    min_age_seconds: Option<u64>,

    /// Those that have been there for so long or shorter.
    #[arg(long, value_name = "SECONDS")]
    max_age_seconds: Option<u64>,

    /// Those that were handed out so often or more often.
    #[arg(long, value_name = "COUNT")]
    min_attempts: Option<u32>,

    /// Those that were handed out so often or less often.
    #[arg(long, value_name = "COUNT")]
    max_attempts: Option<u32>,
}

impl Filter {
    /// As JSON.
    pub(super) fn document(&self) -> Json {
        let ms = |seconds: Option<u64>| seconds.map(|seconds| seconds.saturating_mul(1_000));
        let all = [
            ("state", json!(self.state)),
            ("header", json!(self.header)),
            ("property", json!(self.property)),
            ("body", json!(self.body)),
            ("json_path", json!(self.json_path)),
            ("min_age_ms", json!(ms(self.min_age_seconds))),
            ("max_age_ms", json!(ms(self.max_age_seconds))),
            ("min_attempts", json!(self.min_attempts)),
            ("max_attempts", json!(self.max_attempts)),
        ];
        let said = all.into_iter().filter(|(_, value)| !value.is_null());
        Json::Object(said.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// As the API has it.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        let ms = |seconds: u64| seconds.saturating_mul(1_000).to_string();
        all.extend(self.state.clone().map(|it| ("state", it)));
        all.extend(self.header.iter().map(|it| ("header", it.clone())));
        all.extend(self.property.iter().map(|it| ("property", it.clone())));
        all.extend(self.body.clone().map(|it| ("body", it)));
        all.extend(self.json_path.clone().map(|it| ("json_path", it)));
        all.extend(self.min_age_seconds.map(|it| ("min_age_ms", ms(it))));
        all.extend(self.max_age_seconds.map(|it| ("max_age_ms", ms(it))));
        all.extend(self.min_attempts.map(|it| ("min_attempts", it.to_string())));
        all.extend(self.max_attempts.map(|it| ("max_attempts", it.to_string())));
        all
    }
}
