//! Error of the commands.

/// Error of a command, with a text for users.
pub type CommandError = Box<dyn std::error::Error + Send + Sync>;
