//! The command line for people: what a broker has to tell and can be told, from a terminal or a
//! script. A client of the HTTP API and nothing else: whatever it can do, any program can.

mod command;

mod commands;

mod screen;

mod client;
mod place;

mod failure;

pub use command::{CliCommand, run};
