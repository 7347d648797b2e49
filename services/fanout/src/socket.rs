//! The client's end of a connection, as the connection needs it. [`crate::actix_socket`] implements it for WebSockets,
//! and tests implement it in memory.

use bytes::Bytes;
use futures_util::Stream;
use std::task::{Context, Poll};
use waybill_api::frames::Close;

/// Frame to the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// JSON text of a [`ServerFrame`](waybill_api::frames::ServerFrame).
    Text(Box<str>),
    /// A ping without content, which the client must answer.
    Ping,
    /// Answer to a ping of the client, with its content.
    Pong(Bytes),
    /// The last frame. Its status code is [`Close::code`].
    Close(Close),
}

/// Message from the client. The stream of messages ends when the client closes the connection or has disconnected.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A text message, which is valid UTF-8.
    Text(Bytes),
    /// A binary message, which the protocol does not have.
    Binary,
    /// A ping with its content.
    Ping(Bytes),
    /// The answer to a ping.
    Pong,
    /// A message that exceeds the limits. It was not buffered.
    TooBig,
}

/// Error for a client that has disconnected.
#[derive(Debug)]
pub(crate) struct Disconnected;

/// The client's end of a connection: a stream of its messages, and a sink for frames to it.
///
/// A connection polls its socket directly, so sending a frame needs no future. Thousands of connections sleep at the
/// same time.
pub(crate) trait Socket: Stream<Item = Incoming> + Unpin {
    /// Returns `Ready` if there is room for one frame. Otherwise the task of `context` is woken when there is.
    ///
    /// # Errors
    /// [`Disconnected`].
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Disconnected>>;

    /// Sends a frame. Each call needs a previous [`Socket::poll_room`] that was `Ready`.
    ///
    /// # Errors
    /// [`Disconnected`].
    fn send(&mut self, frame: Frame) -> Result<(), Disconnected>;
}
