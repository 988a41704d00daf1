//! Log lines: one event a line on standard error, with its facts as `name=value`. What a message
//! carries and what a client knows as its password are never among them.

use tracing_subscriber::filter::LevelFilter;

use crate::config::LogLevel;

/// Shows what is at least as important as `level` from here on.
pub(crate) fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
