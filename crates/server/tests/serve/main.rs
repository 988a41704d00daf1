//! The binary as its user meets it: settings, ports, the data directory, signals.

mod data_directory;
mod settings;
mod stopping;

mod amqp_client;
mod running;
