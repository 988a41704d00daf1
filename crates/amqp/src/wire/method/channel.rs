//! Class 20: channels.

#![expect(missing_docs, reason = "the fields and flags have the specification's names")]

use crate::wire::field::{LongString, ShortString};

methods! {
    20 "channel"
    /// Opens it.
    10 "open" Open<'a> { reserved_1: ShortString<'a> }
    /// It is open.
    11 "open-ok" OpenOk<'a> { reserved_1: LongString<'a> }
    /// Asks the other side to stop or go on sending contents.
    20 "flow" Flow { flags: u8 } flags { ACTIVE = 0 }
    /// What the other side does now.
    21 "flow-ok" FlowOk { flags: u8 } flags { ACTIVE = 0 }
    /// Ends the channel; class and method are those of the request at fault, or 0.
    40 "close" Close<'a> {
        reply_code: u16,
        reply_text: ShortString<'a>,
        class_id: u16,
        method_id: u16,
    }
    /// Agreed.
    41 "close-ok" CloseOk {}
}
