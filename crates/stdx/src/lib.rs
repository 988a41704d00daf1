//! What std lacks: a byte reader that can't panic, the checksum of stored bytes, a clock that can
//! be replaced, an end to the process where a panic must not be survived, and the switch for planted
//! faults. Knows nothing of messages.

pub mod abort_on_panic;
pub mod checksum;
pub mod clock;
pub mod fault;
pub mod varint;
pub mod reader;
