//! Every setting of `postroom serve`, one struct per section.
//!
//! A setting is one field here and nothing else: its flag, its environment variable and its key in
//! the TOML file follow from the field's name (`data_dir`: `--data-dir`, `POSTROOM_DATA_DIR`,
//! `data-dir`), and all three are parsed and checked by the same parser. The first one that is
//! given wins, in this order: flag, environment, file, default.

pub(crate) mod layers;

mod nearest;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use domain::name::Name;

use crate::endpoint::Url;

/// What the whole of `postroom serve` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// TOML file with settings; its keys are the names of the flags without the dashes.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) listen: Listen,

    #[command(flatten)]
    pub(crate) tls: Tls,

    #[command(flatten)]
    pub(crate) storage: Storage,

    #[command(flatten)]
    pub(crate) users: Users,

    #[command(flatten)]
    pub(crate) limits: Limits,

    #[command(flatten)]
    pub(crate) watermarks: Watermarks,

    #[command(flatten)]
    pub(crate) sight: Sight,
}

/// Where clients find the broker.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Listening")]
pub(crate) struct Listen {
    /// Address to listen on, more than once or separated by commas
    /// [default: both loopbacks, 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) bind: Vec<IpAddr>,

    /// Port for AMQP 0-9-1; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 5672)]
    pub(crate) amqp_port: u16,

    /// Port for AMQP 0-9-1 over TLS, if --tls-cert is given; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 5671)]
    pub(crate) amqps_port: u16,

    /// Port for HTTP: the APIs, metrics and health; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 15672)]
    pub(crate) http_port: u16,

    /// Port for HTTP over TLS, if --tls-cert is given; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 15671)]
    pub(crate) https_port: u16,
}

/// An address to listen on, and what it means if the machine doesn't have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// It was asked for, or every machine has it.
    Wanted(IpAddr),
    /// It is tried; a machine without it is none the worse.
    IfThere(IpAddr),
}

impl Listen {
    pub(crate) fn addresses(&self) -> Vec<Address> {
        if self.bind.is_empty() {
            return vec![
                Address::Wanted(Ipv4Addr::LOCALHOST.into()),
                Address::IfThere(Ipv6Addr::LOCALHOST.into()),
            ];
        }
        self.bind.iter().copied().map(Address::Wanted).collect()
    }
}

/// Encryption, and clients' certificates. All files are read again at SIGHUP.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "TLS")]
#[expect(clippy::struct_field_names, reason = "a field's name is its flag's")]
pub(crate) struct Tls {
    /// The broker's certificate, and those between it and its authority, in PEM format.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM format.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    /// The authorities that clients' certificates are signed by, in PEM format. Clients are asked
    /// for a certificate only if this is given.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,

    /// Whether a client without a certificate is let in, to log in with a password.
    #[arg(long, value_name = "WHETHER", default_value = "optional")]
    pub(crate) tls_client_cert: ClientCertificate,

    /// The part of a client's certificate that is the name of the user it logs in as with EXTERNAL.
    #[arg(long, value_name = "PART", default_value = "distinguished-name")]
    pub(crate) tls_login_from: LoginFrom,
}

/// Whether clients need a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ClientCertificate {
    /// Those without one log in with a password
    Optional,
    /// Those without one are turned away
    Required,
}

/// Where in a certificate the user's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LoginFrom {
    /// The whole subject, as in `CN=client,O=Example`
    #[value(name = "distinguished-name")]
    Subject,
    /// The subject's CN
    #[value(name = "common-name")]
    Cn,
    /// The first host name among the alternative names
    #[value(name = "subject-alternative-name")]
    AlternativeHost,
}

/// What is kept, where and how safely.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct Storage {
    /// Folder for everything that survives a restart.
    #[arg(long, value_name = "FOLDER", default_value = "./postroom-data")]
    pub(crate) data_dir: PathBuf,

    /// When bytes are forced to disk: before their confirm, every interval, or when the operating
    /// system likes. Only `always` keeps confirmed messages through a power loss.
    #[arg(long, value_name = "WHEN", default_value = "always")]
    pub(crate) sync: Sync,

    /// The interval of `--sync interval`, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1_000,
          value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub(crate) sync_interval_ms: u64,

    /// How much memory messages may take, in bytes, in all virtual hosts together; from half of it
    /// on the oldest are kept on disk only. A quarter of the memory that the broker may have (the
    /// machine's, or its control group's) if not given.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1 << 20..))]
    pub(crate) memory_bytes_max: Option<u64>,

    /// How long a file of the journal gets, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20,
          value_parser = clap::value_parser!(u64).range(64 << 10..=1 << 30))]
    pub(crate) journal_file_bytes: u64,
}

/// When bytes are forced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sync {
    /// Before anything they hold is confirmed
    Always,
    /// Every `--sync-interval-ms`
    Interval,
    /// When the operating system likes
    Never,
}

/// Who may come in, and what is there when they come.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Users and definitions")]
pub(crate) struct Users {
    /// User of the first start, in place of guest, who may come from anywhere. RabbitMQ's variable
    /// RABBITMQ_DEFAULT_USER is read too.
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub(crate) default_user: Option<Name>,

    /// Password of that user; better given by the environment, where other users of the machine
    /// don't see it. RabbitMQ's variable RABBITMQ_DEFAULT_PASS is read too.
    #[arg(long, value_name = "PASSWORD")]
    pub(crate) default_pass: Option<Secret>,

    /// File of definitions as RabbitMQ exports them: vhosts, users, permissions, exchanges, queues
    /// and bindings that are not there are made at each start. Nothing is removed.
    #[arg(long, value_name = "FILE")]
    pub(crate) definitions: Option<PathBuf>,

    /// What to do with the file: import it, or list what an import would make and change, and end.
    #[arg(long, value_name = "HOW", default_value = "import")]
    pub(crate) definitions_mode: DefinitionsMode,
}

/// What to do with a file of definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DefinitionsMode {
    /// Make what is not there, at each start
    Import,
    /// List what an import would do, and end
    DryRun,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

fn parse_name(text: &str) -> Result<Name, domain::name::NameTooLong> {
    Name::new(text)
}

/// What one client may take.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Largest message body accepted, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20,
          value_parser = clap::value_parser!(u32).range(1..=512 << 20))]
    pub(crate) max_message_bytes: u32,

    /// Largest AMQP frame offered to clients, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 128 << 10,
          value_parser = clap::value_parser!(u32).range(4_096..=16 << 20))]
    pub(crate) frame_max_bytes: u32,

    /// Most connections in all; no limit if not given.
    #[arg(long, value_name = "CONNECTIONS")]
    pub(crate) connections_max: Option<u32>,

    /// Most connections to each virtual host; no limit if not given.
    #[arg(long, value_name = "CONNECTIONS")]
    pub(crate) vhost_connections_max: Option<u32>,

    /// Most connections of each user; no limit if not given.
    #[arg(long, value_name = "CONNECTIONS")]
    pub(crate) user_connections_max: Option<u32>,

    /// Most channels on one connection.
    #[arg(long, value_name = "CHANNELS", default_value_t = 2_047,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) channel_max: u16,

    /// Heartbeat interval offered to clients, in seconds; 0 leaves it to the client.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) heartbeat_seconds: u16,

    /// How long a delivery of a quorum queue may be unacknowledged where neither the queue nor the
    /// consumer says, in milliseconds; 0 for ever.
    #[arg(long, value_name = "MS", default_value_t = 1_800_000)]
    pub(crate) consumer_timeout_ms: u64,

    /// Most queues with metrics of their own; all others are added up in one series.
    #[arg(long, value_name = "QUEUES", default_value_t = 1_000)]
    pub(crate) metrics_queues_max: usize,
}

/// When publishers are blocked, so that consumers can make room. Read again at SIGHUP.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Watermarks")]
pub(crate) struct Watermarks {
    /// Publishers are blocked while the data directory's disk has less free space, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 50_000_000)]
    pub(crate) disk_free_min_bytes: u64,

    /// So much of the disk is held back for the moment when it is full, in bytes, so that
    /// acknowledgements can still be written down; publishers are blocked while it is used. 0: nothing.
    #[arg(long, value_name = "BYTES", default_value_t = 16_777_216)]
    pub(crate) disk_reserve_bytes: u64,

    /// Publishers are blocked while the broker uses more than this share of the memory that it may
    /// have (the machine's, or its control group's); 0 blocks them always.
    #[arg(long, value_name = "SHARE", default_value_t = 0.6, value_parser = share)]
    pub(crate) memory_high_watermark: f64,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _other => Err("a number from 0 to 1 is needed".to_owned()),
    }
}

/// What the broker tells those who run it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sight")]
pub(crate) struct Sight {
    /// The least important log lines to show.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: LogLevel,

    /// How a log line is written.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// Where spans of traced messages go, by OTLP over HTTP: the URL to which /v1/traces is added,
    /// as http://127.0.0.1:4318. No spans are made if not given.
    #[arg(long, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<Url>,

    /// Headers that go with them, as NAME=VALUE, separated by commas; better given by the environment.
    #[arg(long, value_name = "HEADERS")]
    pub(crate) otlp_headers: Option<Secret>,

    /// The share of the traces, of those that their makers record, from which there are spans.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    pub(crate) otlp_sample_share: f64,

    /// Where alerts are posted, when they begin and when they are over, as Prometheus' Alertmanager
    /// posts them. Nowhere if not given.
    #[arg(long, value_name = "URL")]
    pub(crate) alert_webhook: Option<Url>,

    /// Headers that go with them, as NAME=VALUE, separated by commas; better given by the environment.
    #[arg(long, value_name = "HEADERS")]
    pub(crate) alert_headers: Option<Secret>,

    /// How long something is alarming before it is told, in milliseconds; each condition has a time
    /// of its own if not given.
    #[arg(long, value_name = "MS")]
    pub(crate) alert_after_ms: Option<u64>,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// A JSON object a line, for programs; nothing else is printed
    Json,
}

/// How much the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogLevel {
    /// Nothing
    Off,
    /// What needs somebody's attention now
    Error,
    /// What may need it soon
    Warn,
    /// Starting, stopping, connections
    Info,
    /// What explains a bug
    Debug,
    /// Everything
    Trace,
}
