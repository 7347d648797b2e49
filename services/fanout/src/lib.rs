//! Streams progress over WebSocket.
