//! The HTTP gateway: commands, transfers, queries.
