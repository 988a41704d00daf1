//! The commands there are, and what becomes of each: an exit code.

use std::process::ExitCode;

use crate::client::Client;
use crate::commands::{
    bindings, connections, consume, definitions, exchanges, health, message, peek, publish, queues,
    search, status, tasks, tokens, users, vhosts,
};
use crate::failure::Failure;
use crate::place::Place;

/// What a broker can be asked and told from a terminal.
#[derive(Debug, clap::Subcommand)]
pub enum CliCommand {
    /// Show what the broker is doing
    #[command(after_help = status::EXAMPLES)]
    Status(status::Arguments),
    /// List, show, declare, purge and delete queues
    #[command(after_help = queues::EXAMPLES)]
    Queues(queues::Arguments),
    /// List, declare and delete exchanges
    #[command(after_help = exchanges::EXAMPLES)]
    Exchanges(exchanges::Arguments),
    /// List, add and remove bindings
    #[command(after_help = bindings::EXAMPLES)]
    Bindings(bindings::Arguments),
    /// Publish messages to a queue or an exchange
    #[command(after_help = publish::EXAMPLES)]
    Publish(publish::Arguments),
    /// Take messages out of a queue and print them
    #[command(after_help = consume::EXAMPLES)]
    Consume(consume::Arguments),
    /// Look at a queue's messages without taking them
    #[command(after_help = peek::EXAMPLES)]
    Peek(peek::Arguments),
    /// Find messages of a queue by what they say, without taking them
    #[command(after_help = search::EXAMPLES)]
    Search(search::Arguments),
    /// Show a message by its id: what it is doing, or what became of it
    #[command(after_help = message::EXAMPLES)]
    Message(message::Arguments),
    /// Delete, move or replay messages of a queue that a filter means
    #[command(after_help = tasks::EXAMPLES)]
    Tasks(tasks::Arguments),
    /// List and close connections
    #[command(after_help = connections::EXAMPLES)]
    Connections(connections::Arguments),
    /// List, make and delete users, and say what they may do
    #[command(after_help = users::EXAMPLES)]
    Users(users::Arguments),
    /// List, make and delete virtual hosts
    #[command(after_help = vhosts::EXAMPLES)]
    Vhosts(vhosts::Arguments),
    /// List, make and revoke tokens
    #[command(after_help = tokens::EXAMPLES)]
    Tokens(tokens::Arguments),
    /// Export and import users, vhosts, queues, exchanges and bindings
    #[command(after_help = definitions::EXAMPLES)]
    Definitions(definitions::Arguments),
    /// Ask whether the broker is well; exits with 0 if it is
    #[command(after_help = health::EXAMPLES)]
    Health(health::Arguments),
}

/// Does it; what went wrong is told on standard error.
pub fn run(command: &CliCommand) -> ExitCode {
    match done(command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough: `postroom queues | head`.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("postroom: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn done(command: &CliCommand) -> Result<(), Failure> {
    let client = |place: &Place| Client::new(place);
    match command {
        CliCommand::Status(it) => status::run(&client(&it.place)?, it),
        CliCommand::Queues(it) => queues::run(&client(&it.place)?, it),
        CliCommand::Exchanges(it) => exchanges::run(&client(&it.place)?, it),
        CliCommand::Bindings(it) => bindings::run(&client(&it.place)?, it),
        CliCommand::Publish(it) => publish::run(&client(&it.place)?, it),
        CliCommand::Consume(it) => consume::run(&client(&it.place)?, it),
        CliCommand::Peek(it) => peek::run(&client(&it.place)?, it),
        CliCommand::Search(it) => search::run(&client(&it.place)?, it),
        CliCommand::Message(it) => message::run(&client(&it.place)?, it),
        CliCommand::Tasks(it) => tasks::run(&client(&it.place)?, it),
        CliCommand::Connections(it) => connections::run(&client(&it.place)?, it),
        CliCommand::Users(it) => users::run(&client(&it.place)?, it),
        CliCommand::Vhosts(it) => vhosts::run(&client(&it.place)?, it),
        CliCommand::Tokens(it) => tokens::run(&client(&it.place)?, it),
        CliCommand::Definitions(it) => definitions::run(&client(&it.place)?, it),
        CliCommand::Health(it) => health::run(&client(&it.place)?, it),
    }
}
