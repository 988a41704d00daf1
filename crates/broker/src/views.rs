//! What there is to see of a virtual host, as it was at some moment: plain values that whoever looks
//! may keep as long as he likes.

pub mod channel;
pub mod exchange;
pub mod message;
pub mod queue;

pub mod counts;
pub mod lives;

pub use channel::{ChannelView, ConsumerCounts, ConsumerView};
pub use counts::{ExchangeCounts, MessageCounts};
pub use exchange::{BindingEnd, BindingView, ExchangeView};
pub use lives::MessageLives;
pub use message::{LeaseView, MessageState, MessageView};
pub use queue::{QueueTraffic, QueueView};
