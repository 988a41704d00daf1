//! The command line.

use std::path::PathBuf;

/// What a broker's storage endures. Exits 1 if a message was lost, doubled, out of order or
/// damaged; a missed bar is only said.
#[derive(Debug, clap::Parser)]
#[command(name = "endurance")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

/// With what, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The broker's binary
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "target/release/postroom",
        overrides_with = "broker"
    )]
    pub(crate) broker: PathBuf,
    /// The load generator's binary
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "target/release/amqpload",
        overrides_with = "load"
    )]
    pub(crate) load: PathBuf,
    /// Where the data directory is made; it is deleted afterwards
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// One more argument of `postroom serve`; may be given several times
    #[arg(long, global = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    pub(crate) serve: Vec<String>,
}

/// What is measured.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Scenario {
    /// Publish into one queue that nobody reads, rest, restart twice (SIGTERM and kill -9), drain
    Backlog(Backlog),
    /// Publish round robin into many queues, then drain one of them, then the rest
    Interleaved(Interleaved),
    /// A fanout exchange to some queues, one of which nobody reads, beside the same without that one
    Fanout(Fanout),
    /// Publish and consume at an even rate for minutes: disk use and files over time
    Steady(Steady),
    /// The early speed figures of two binaries, alternately
    Compare(Compare),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Backlog {
    /// Messages
    #[arg(long, default_value_t = 10_000_000, value_name = "N")]
    pub(crate) count: u64,
    /// Bytes of each body, at least 16
    #[arg(long, default_value_t = 100, value_name = "BYTES")]
    pub(crate) body: u64,
    /// Seconds between publishing and restarting
    #[arg(long, default_value_t = 15, value_name = "S")]
    pub(crate) rest: u64,
    /// Seconds between draining and the last look at the disk
    #[arg(long, default_value_t = 20, value_name = "S")]
    pub(crate) settle: u64,
    /// Messages of the short backlog that stays in memory, to compare the drain with
    #[arg(long, default_value_t = 400_000, value_name = "N")]
    pub(crate) short: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Interleaved {
    /// Queues
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) queues: u64,
    /// Messages in each
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub(crate) each: u64,
    /// Bytes of each body, at least 16
    #[arg(long, default_value_t = 100, value_name = "BYTES")]
    pub(crate) body: u64,
    /// Seconds between publishing and draining
    #[arg(long, default_value_t = 15, value_name = "S")]
    pub(crate) rest: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Fanout {
    /// Queues, of which the last is not read
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) queues: u64,
    /// Messages to the exchange, in each run
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub(crate) count: u64,
    /// Bytes of each body, at least 16
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    pub(crate) body: u64,
    /// Runs of each kind, alternately
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) rounds: usize,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Steady {
    /// For how long
    #[arg(long, default_value_t = 600, value_name = "S")]
    pub(crate) seconds: u64,
    /// Messages per second
    #[arg(long, default_value_t = 50_000, value_name = "N")]
    pub(crate) rate: u64,
    /// Bytes of each body, at least 16
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    pub(crate) body: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// The binary to compare with
    pub(crate) old: PathBuf,
    /// The binary that is compared
    pub(crate) new: PathBuf,
    /// Runs of each, alternately
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) rounds: usize,
    /// A tenth of the messages
    #[arg(long)]
    pub(crate) short: bool,
}
