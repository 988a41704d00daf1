//! Where the broker is, and who asks: flags that every command has.

use std::path::PathBuf;

/// Where the broker is, who asks, and how the answer is shown.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Broker")]
pub(crate) struct Place {
    /// Address of the broker's HTTP port.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "POSTROOM_URL",
        default_value = "http://127.0.0.1:15672"
    )]
    pub(crate) url: String,

    /// Name of the user who asks.
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "POSTROOM_USER",
        default_value = "guest"
    )]
    pub(crate) user: String,

    /// Password of that user; better given by the environment.
    #[arg(
        long,
        global = true,
        value_name = "PASSWORD",
        env = "POSTROOM_PASSWORD",
        default_value = "guest",
        hide_default_value = true,
        hide_env_values = true
    )]
    pub(crate) password: String,

    /// A token, in place of name and password.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "POSTROOM_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,

    /// The authorities that the broker's certificate may be signed by, in PEM format; those of the
    /// system if not given.
    #[arg(long, global = true, value_name = "FILE", env = "POSTROOM_CA")]
    pub(crate) ca: Option<PathBuf>,

    /// The virtual host.
    #[arg(long, global = true, value_name = "NAME", env = "POSTROOM_VHOST", default_value = "/")]
    pub(crate) vhost: String,

    /// Print the broker's answer as JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}
