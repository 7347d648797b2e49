//! Reasons for which the server closes a WebSocket connection.

/// Reason for which the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The process is stopping. The client should reconnect.
    Restart,
    /// The token has expired.
    TokenExpired,
    /// The client may not watch its topics any more.
    AccessLost,
    /// The client does not read fast enough.
    TooSlow,
    /// The client sent too many frames, or the user has too many connections.
    TooMany,
    /// The client sent a message that is too big.
    TooBig,
    /// The client has disconnected or closes the connection.
    Gone,
}

impl Close {
    /// Returns the status code of the close frame (RFC 6455 §7.4).
    pub const fn code(self) -> u16 {
        match self {
            Self::Restart => 1012,
            Self::TokenExpired => 4001,
            Self::AccessLost => 4003,
            Self::TooSlow => 4008,
            Self::TooMany => 4029,
            Self::TooBig => 1009,
            Self::Gone => 1000,
        }
    }
}
