//! Log lines: one event a line on standard error, as text with its facts as `name=value`, or as a
//! JSON object. What a message carries and what a client knows as its password are never among them;
//! what libraries say of the bytes they handle is not shown at any level.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use crate::config::{LogFormat, LogLevel};

/// The crates of the house; a library has the word only when something is wrong.
const OURS: [&str; 6] = ["postroom", "amqp", "http_api", "broker", "storage", "domain"];

/// Shows what is at least as important as `level` from here on.
pub(crate) fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let shown = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(OURS.iter().map(|name| (*name, level)));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    // The only one: the process logs from its start to its end.
    _ = tracing::subscriber::set_global_default(
        tracing_subscriber::registry().with(shown).with(lines),
    );
}
