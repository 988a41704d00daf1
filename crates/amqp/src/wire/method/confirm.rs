//! Class 85: publisher confirms (RabbitMQ).

#![expect(missing_docs, reason = "the fields and flags have the specification's names")]

methods! {
    85 "confirm"
    /// Confirms publishes from now on.
    10 "select" Select { flags: u8 } flags { NO_WAIT = 0 }
    /// Done.
    11 "select-ok" SelectOk {}
}
