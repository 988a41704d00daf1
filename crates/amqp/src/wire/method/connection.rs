//! Class 10: the connection itself, on channel 0.

#![expect(missing_docs, reason = "the fields and flags have the specification's names")]

use domain::table::Table;

use crate::wire::field::{LongString, ShortString};

methods! {
    10 "connection"
    /// The server begins.
    10 "start" Start<'a> {
        version_major: u8,
        version_minor: u8,
        server_properties: Table,
        mechanisms: LongString<'a>,
        locales: LongString<'a>,
    }
    /// The client says who it is.
    11 "start-ok" StartOk<'a> {
        client_properties: Table,
        mechanism: ShortString<'a>,
        response: LongString<'a>,
        locale: ShortString<'a>,
    }
    /// The server's next question to prove it.
    20 "secure" Secure<'a> { challenge: LongString<'a> }
    /// The client's answer.
    21 "secure-ok" SecureOk<'a> { response: LongString<'a> }
    /// The server proposes limits.
    30 "tune" Tune { channel_max: u16, frame_max: u32, heartbeat: u16 }
    /// The client takes or lowers them.
    31 "tune-ok" TuneOk { channel_max: u16, frame_max: u32, heartbeat: u16 }
    /// Enters a virtual host.
    40 "open" Open<'a> { virtual_host: ShortString<'a>, reserved_1: ShortString<'a>, reserved_2: u8 }
    /// It is entered.
    41 "open-ok" OpenOk<'a> { reserved_1: ShortString<'a> }
    /// Ends the connection; class and method are those of the request at fault, or 0.
    50 "close" Close<'a> {
        reply_code: u16,
        reply_text: ShortString<'a>,
        class_id: u16,
        method_id: u16,
    }
    /// Agreed.
    51 "close-ok" CloseOk {}
    /// The server takes no publishes for now (RabbitMQ).
    60 "blocked" Blocked<'a> { reason: ShortString<'a> }
    /// It does again (RabbitMQ).
    61 "unblocked" Unblocked {}
    /// A new secret in place of the one logged in with (RabbitMQ).
    70 "update-secret" UpdateSecret<'a> { new_secret: LongString<'a>, reason: ShortString<'a> }
    /// Taken.
    71 "update-secret-ok" UpdateSecretOk {}
}
