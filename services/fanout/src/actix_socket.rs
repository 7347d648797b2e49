//! The [`Socket`] of a WebSocket of `actix-ws`.

use crate::guard::TooBig;
use crate::socket::{Disconnected, Frame, Incoming, Socket};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseReason, Message, ProtocolError, Session};
use bytes::Bytes;
use futures_util::{Sink, Stream, StreamExt};
use std::pin::Pin;
use std::task::{Context, Poll};

/// WebSocket of a client.
pub(crate) struct ActixSocket {
    session: Session,
    messages: AggregatedMessageStream,
    /// Set if the client sent a message that exceeds the limits.
    too_big: TooBig,
}

impl ActixSocket {
    pub(crate) fn new(session: Session, messages: AggregatedMessageStream, too_big: TooBig) -> Self {
        Self { session, messages, too_big }
    }
}

impl Stream for ActixSocket {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let polled = self.messages.poll_next_unpin(context);
        polled.map(|message| match message? {
            Ok(AggregatedMessage::Text(text)) => Some(Incoming::Text(text.into_bytes())),
            Ok(AggregatedMessage::Binary(_)) => Some(Incoming::Binary),
            Ok(AggregatedMessage::Ping(bytes)) => Some(Incoming::Ping(bytes)),
            Ok(AggregatedMessage::Pong(_)) => Some(Incoming::Pong),
            Err(ProtocolError::Overflow) => Some(Incoming::TooBig),
            Err(_) if self.too_big.get() => Some(Incoming::TooBig),
            Ok(AggregatedMessage::Close(_)) | Err(_) => None,
        })
    }
}

impl Socket for ActixSocket {
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Disconnected>> {
        Pin::new(&mut self.session).poll_ready(context).map_err(|_| Disconnected)
    }

    fn send(&mut self, frame: Frame) -> Result<(), Disconnected> {
        let message = match frame {
            Frame::Text(text) => Message::Text(String::from(text).into()),
            Frame::Ping => Message::Ping(Bytes::new()),
            Frame::Pong(bytes) => Message::Pong(bytes),
            Frame::Close(close) => Message::Close(Some(CloseReason { code: close.code().into(), description: None })),
        };
        Pin::new(&mut self.session).start_send(message).map_err(|_| Disconnected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::{FRAME_MAX_BYTES, guarded};
    use actix_web::FromRequest;
    use actix_web::body::{BoxBody, MessageBody};
    use actix_web::test::TestRequest;
    use actix_web::{dev, web};
    use futures_util::{FutureExt, stream};
    use std::future::poll_fn;
    use waybill_api::frames::Close;

    /// Opens a WebSocket whose client sends `bytes` and then nothing more. Returns it with the body of the response to
    /// the handshake, which has the frames to the client.
    async fn open(bytes: Vec<u8>) -> (ActixSocket, BoxBody) {
        let request = TestRequest::get()
            .insert_header(("Connection", "upgrade"))
            .insert_header(("Upgrade", "websocket"))
            .insert_header(("Sec-WebSocket-Version", "13"))
            .insert_header(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
            .to_http_request();
        let too_big = TooBig::default();
        let bytes = Box::pin(stream::iter([Ok(Bytes::from(bytes))]).chain(stream::pending()));
        let guarded = guarded(bytes, too_big.clone());
        let mut payload: dev::Payload = dev::Payload::Stream { payload: Box::pin(guarded) };
        let payload = web::Payload::from_request(&request, &mut payload).await.unwrap();
        let (answer, session, messages) = actix_ws::handle(&request, payload).unwrap();
        let messages = messages.max_frame_size(FRAME_MAX_BYTES).aggregate_continuations();
        (ActixSocket::new(session, messages, too_big), answer.into_body())
    }

    /// Returns a frame of a client with an empty mask.
    fn masked(opcode: u8, content: &[u8]) -> Vec<u8> {
        [&[0x80 | opcode, 0x80 | u8::try_from(content.len()).unwrap(), 0, 0, 0, 0][..], content].concat()
    }

    #[actix_web::test]
    async fn frames_are_written_as_rfc_6455_says() {
        let (mut socket, mut body) = open(Vec::new()).await;
        let pong = Bytes::from_static(b"x");
        for frame in [Frame::Text("{}".into()), Frame::Ping, Frame::Pong(pong), Frame::Close(Close::TooSlow)] {
            poll_fn(|context| socket.poll_room(context)).await.unwrap();
            socket.send(frame).unwrap();
        }
        let written = poll_fn(|context| Pin::new(&mut body).poll_next(context)).await.unwrap().unwrap();
        let close = [&[0x88, 2][..], &4_008_u16.to_be_bytes()].concat();
        assert_eq!(written, [&[0x81, 2][..], b"{}", &[0x89, 0, 0x8a, 1], b"x", &close].concat());
    }

    #[actix_web::test]
    async fn messages_are_told_apart_and_end_with_the_close_frame() {
        let all = [(1, &b"{}"[..]), (2, b"x"), (9, b"y"), (10, b""), (8, &[3, 232])];
        let (mut socket, _body) =
            open(all.iter().flat_map(|(opcode, content)| masked(*opcode, content)).collect()).await;
        assert!(matches!(socket.next().await, Some(Incoming::Text(text)) if *text == b"{}"[..]));
        assert!(matches!(socket.next().await, Some(Incoming::Binary)));
        assert!(matches!(socket.next().await, Some(Incoming::Ping(bytes)) if *bytes == b"y"[..]));
        assert!(matches!(socket.next().await, Some(Incoming::Pong)));
        assert!(socket.next().await.is_none());
    }

    #[actix_web::test]
    async fn a_frame_that_is_too_big_is_told_from_its_header() {
        let gibibyte = [&[0x81, 0x80 | 127][..], &(1_u64 << 30).to_be_bytes()].concat();
        let endless = [vec![0x01, 0x80, 0, 0, 0, 0], [0x00, 0x80, 0, 0, 0, 0].repeat(64)].concat();
        for bytes in [gibibyte, endless] {
            let (mut socket, _body) = open(bytes).await;
            assert!(matches!(socket.next().await, Some(Incoming::TooBig)));
        }
    }

    #[actix_web::test]
    async fn there_is_no_room_without_a_reader_and_none_after_it_has_left() {
        let (mut socket, body) = open(Vec::new()).await;
        let mut sent = 0;
        while let Some(room) = poll_fn(|context| socket.poll_room(context)).now_or_never() {
            room.unwrap();
            socket.send(Frame::Ping).unwrap();
            sent += 1;
            assert!(sent <= 32);
        }
        drop(body);
        assert!(poll_fn(|context| socket.poll_room(context)).await.is_err());
    }
}
