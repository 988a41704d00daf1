//! What single virtual hosts and single users may have.

use domain::name::Name;

/// Whose limit it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Limited {
    Vhost(Name),
    User(Name),
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKind {
    /// Connections to a virtual host, or of a user.
    Connections,
    /// Queues in a virtual host.
    Queues,
    /// Channels of a user, over all its connections.
    Channels,
}

impl LimitKind {
    /// RabbitMQ's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            LimitKind::Connections => "max-connections",
            LimitKind::Queues => "max-queues",
            LimitKind::Channels => "max-channels",
        }
    }

    /// The limit of that name, where there is one.
    pub fn named(name: &str, of: &Limited) -> Option<LimitKind> {
        match (name, of) {
            ("max-connections", _) => Some(LimitKind::Connections),
            ("max-queues", Limited::Vhost(_)) => Some(LimitKind::Queues),
            ("max-channels", Limited::User(_)) => Some(LimitKind::Channels),
            (_, _) => None,
        }
    }
}

/// How many there may be; `None`: as many as come, whatever the setting for all says.
pub type Max = Option<u32>;

/// One limit, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct OwnLimit {
    pub of: Limited,
    pub kind: LimitKind,
    pub max: Max,
}

/// How many connections one virtual host and one user may have, and how many channels the user,
/// where that is set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectionsMax {
    pub(crate) vhost: Option<Max>,
    pub(crate) user: Option<Max>,
    pub(crate) user_channels: Max,
}
