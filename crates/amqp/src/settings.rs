//! What a server of AMQP offers and allows; the same for all its connections.

/// Limits and words of the server. The defaults are RabbitMQ's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmqpSettings {
    /// The largest frame, its eight bytes of frame included; at least 4096.
    pub frame_bytes_max: u32,
    /// The highest channel number.
    pub channel_max: u16,
    /// How often each side of an idle connection gives a sign of life; 0: never. A client may
    /// choose another pace.
    pub heartbeat_seconds: u16,
    /// The largest body of a message.
    pub message_bytes_max: u32,
    /// How long a client may take until its connection is open.
    pub handshake_ms_max: u64,
    /// How long we wait, once a connection is being closed, for the client to agree and go.
    pub close_ms_max: u64,
    /// How long a client that was refused and can't be told why has to wait for the end, so that
    /// guessing passwords is slow.
    pub refused_login_ms: u64,
    /// What the server calls itself in `cluster_name`.
    pub cluster_name: String,
}

impl Default for AmqpSettings {
    fn default() -> AmqpSettings {
        AmqpSettings {
            frame_bytes_max: 131_072,
            channel_max: 2_047,
            heartbeat_seconds: 60,
            message_bytes_max: 16 << 20,
            handshake_ms_max: 10_000,
            close_ms_max: 5_000,
            refused_login_ms: 1_000,
            cluster_name: "postroom".to_owned(),
        }
    }
}
