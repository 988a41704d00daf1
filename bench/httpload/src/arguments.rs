//! The command line.

/// Load for Postroom's native HTTP API. Exits 1 if a message was lost or doubled; a missed bar is
/// only said.
#[derive(Debug, clap::Parser)]
#[command(name = "httpload")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

/// Where the broker is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// Its HTTP port
    #[arg(long, global = true, value_name = "HOST:PORT", default_value = "127.0.0.1:15672")]
    pub(crate) address: String,
    /// Who asks
    #[arg(long, global = true, value_name = "USER:PASSWORD", default_value = "guest:guest")]
    pub(crate) login: String,
    /// Its process, to tell what CPU it takes
    #[arg(long, global = true, value_name = "PID")]
    pub(crate) pid: Option<u32>,
}

/// What is measured.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Scenario {
    /// Publish 100 messages with a request, lease and settle 100 with another
    Batch(Load),
    /// The same with one message for each request
    Single(Load),
    /// Long polls that wait, and what it takes to wake one
    Polls(Polls),
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    /// For how long to publish
    #[arg(long, default_value_t = 10, value_name = "S")]
    pub(crate) seconds: u64,
    /// Connections that publish
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = at_least_one())]
    pub(crate) publishers: u64,
    /// Connections that lease and settle
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = at_least_one())]
    pub(crate) workers: u64,
    /// Queues, which publishers and workers share
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one())]
    pub(crate) queues: u64,
    /// Bytes of each body, at least 12
    #[arg(long, default_value_t = 100, value_name = "BYTES")]
    pub(crate) body: usize,
    /// Messages in the queues at which publishers wait for workers
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    pub(crate) backlog: u64,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Polls {
    /// Polls that wait at the same time
    #[arg(long = "polls", default_value_t = 2_000, value_name = "N", value_parser = at_least_one())]
    pub(crate) count: u64,
    /// Queues at which they wait, the same number at each
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one())]
    pub(crate) queues: u64,
    /// Messages published, one after the other
    #[arg(long, default_value_t = 500, value_name = "N")]
    pub(crate) messages: u64,
    /// Messages published per second
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = at_least_one())]
    pub(crate) rate: u64,
    /// For how long they wait before that, for nothing
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=40))]
    pub(crate) idle: u64,
}

fn at_least_one() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}
