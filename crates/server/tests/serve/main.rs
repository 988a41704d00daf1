//! The binary as its user meets it: settings, ports, the data directory, signals.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod data_directory;
mod settings;
mod stopping;

mod amqp_client;
mod running;
