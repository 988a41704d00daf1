//! Owns virtual hosts at run time: applies what sessions ask for, makes changes durable, hands out
//! deliveries. The only place where a decision of `domain` becomes a record of `storage`.
//!
//! Protocols see [`Broker`], [`Session`], [`Batch`] and [`Event`]; everything else is inside.

mod export;
mod import;

mod grants;
mod limiting;
mod parameters;
mod passes;
mod vhosts;

mod accounts;

mod watch;

mod browse;

mod rehearsal;

mod repair;

mod inspect;

mod broker;

mod opening;

mod sight;

mod looks;

mod logins;

mod catalogue;

mod session;

mod writers;

mod alarms;
mod connection_limits;

mod disks;
mod node;

mod recover;

mod hub;
mod vhost;

mod times;

mod journaled;

mod first_user;

mod register;

pub mod definitions;

mod vhost_notes;

mod permissions;
mod users;

mod tokens;

mod passwords;

mod confirms;
mod outbox;

pub mod event;

pub mod views;

pub mod connections;

pub mod traces;

mod explain;

mod batch;
pub mod operation;

pub mod done;

pub mod removal;

pub mod lease;

mod chunk;
mod memory;

pub mod limits;
mod histogram;
mod channel_limits;
mod own_limits;
mod rate;
mod message_id;
mod session_id;

pub use accounts::{Credentials, DeleteUserError, Put, PutUserError, UserView};
pub use alarms::{Alarms, Resource};
pub use batch::{Batch, LargeMessage};
pub use broker::{
    Background, Broker, BrokerSettings, ConnectRefusal, Entropy, OpenError, Recovered, WriterDrive,
};
pub use browse::{Begin, Browse, BrowseCursor, BrowseError, Browsed, NoCursor, Onward, Viewer};
pub use catalogue::Unwritten;
pub use chunk::{Chunk, ChunkBuilder, Message, MessageHead, NotMessages, Persistence};
pub use connection_limits::{ConnectionLimits, Full};
pub use disks::{Disks, Relief};
pub use event::{Closing, DeliveryRun, Event, Reply};
pub use explain::{RefusalKind, explain};
pub use first_user::{FIRST_VHOST, FirstUser};
pub use grants::{ClearError, GrantError};
pub use histogram::Histogram;
pub use import::ImportError;
pub use inspect::{
    Bodies, Detail, Field, InspectError, Inspected, Inspection, Note, inspect, is_stored_file,
};
pub use limiting::SetLimitError;
pub use logins::{Hashing, Login, PasswordCheck, Turn};
pub use looks::Listing;
pub use memory::MessagesMemory;
pub use message_id::{MessageId, NoMessageId};
pub use node::{Machine, NodeView};
pub use outbox::{Outbox, Wake};
pub use own_limits::{LimitKind, Limited, Max, OwnLimit};
pub use parameters::{ClearParameterError, PutParameterError};
pub use passes::{MakeTokenError, RevokeError, TokenView, TokenWish};
pub use passwords::{HashError, HashFailed, PasswordHash};
pub use permissions::{NoPattern, Permission, Right, TopicPermission, check_pattern};
pub use recover::{AfterLoss, ReplayError};
pub use rehearsal::rehearse;
pub use repair::{
    Aside, Damages, RepairError, examine_catalogue, examine_vhost, repair_catalogue, repair_vhost,
};
pub use session::Session;
pub use session_id::SessionId;
pub use sight::{JournalView, Sight};
pub use times::JournalTimes;
pub use tokens::Scopes;
pub use users::{GUEST, LoginRefusal, Reach, User};
pub use vhost::load_job::ReadError;
pub use vhost::stats::Stats;
pub use vhost::tallies::TotalsSample;
pub use vhost::views::Totals;
pub use vhost_notes::VhostNotes;
pub use vhosts::{CreateVhostError, DeleteVhostError, VhostView};
pub use views::{BindingEnd, MessageLives};
