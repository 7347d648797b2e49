//! Limits what a client may send, before any of it is buffered. The WebSocket parser that reads the stream afterwards
//! would buffer frames of any declared length (RFC 6455 §5.2) and any number of continuation frames.

use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::future::ready;
use futures_util::stream::poll_fn;
use futures_util::{Stream, StreamExt};
use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Maximum size of a frame or message of a client in bytes.
pub(crate) const FRAME_MAX_BYTES: usize = 4 * 1_024;
/// Maximum number of frames in one message.
const FRAMES_MAX: u32 = 64;
/// Time during which further bytes of a client that exceeded a limit are read and discarded.
const THROWN_AWAY_FOR: Duration = Duration::from_secs(2);
/// Maximum length of a header in bytes: 2 bytes, 8 bytes for the length and 4 bytes for the mask.
const HEADER_MAX: usize = 14;

/// Flag that is `true` if a client exceeded a limit.
pub(crate) type TooBig = Rc<Cell<bool>>;

/// Passes `stream` on until a frame is too long or a message has too many frames or bytes. Then sets `too_big` and ends
/// with an error. Further bytes are read and discarded for [`THROWN_AWAY_FOR`]: closing a connection with unread bytes
/// resets it, and the client would not receive the close frame.
pub(crate) fn guarded(
    stream: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
    too_big: TooBig,
) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    let (mut headers, mut stream) = (Headers::default(), Some(stream));
    poll_fn(move |context| {
        let Some(open) = &mut stream else { return Poll::Ready(None) };
        let polled = open.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(bytes))) = &polled
            && !headers.accept(bytes)
        {
            too_big.set(true);
            if let Some(rest) = stream.take() {
                let thrown_away = rest.take_while(|bytes| ready(bytes.is_ok())).for_each(|_| ready(()));
                actix_web::rt::spawn(tokio::time::timeout(THROWN_AWAY_FOR, thrown_away));
            }
            return Poll::Ready(Some(Err(PayloadError::Overflow)));
        }
        polled
    })
}

/// Parser of frame headers, which skips the payloads.
#[derive(Default)]
struct Headers {
    header: Vec<u8>,
    /// Number of bytes that are left of the current payload.
    left: u64,
    /// Number of frames of the current message so far.
    frames: u32,
    /// Total length of these frames in bytes.
    bytes: u64,
}

impl Headers {
    /// Reads the next bytes and returns `true` if they are within the limits.
    fn accept(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= skipped as u64;
            bytes = &bytes[skipped..];
            let Some((byte, rest)) = bytes.split_first().filter(|_| self.left == 0) else { continue };
            self.header.push(*byte);
            bytes = rest;
            match declared(&self.header) {
                Some(length) => {
                    if !self.count(length) {
                        return false;
                    }
                    self.left = length;
                    self.header.clear();
                }
                None if self.header.len() >= HEADER_MAX => return false,
                None => {}
            }
        }
        true
    }

    /// Counts one more frame of `length` bytes and returns `true` if its message is within the limits. Control frames
    /// can arrive between the frames of a message and do not belong to it.
    fn count(&mut self, length: u64) -> bool {
        let first = self.header.first().copied().unwrap_or_default();
        let (is_last, opcode) = (first & 0x80 != 0, first & 0x0f);
        if opcode & 0x08 != 0 {
            return length <= FRAME_MAX_BYTES as u64;
        }
        let (frames, bytes) = (self.frames + 1, self.bytes.saturating_add(length));
        (self.frames, self.bytes) = if is_last { (0, 0) } else { (frames, bytes) };
        frames <= FRAMES_MAX && bytes <= FRAME_MAX_BYTES as u64
    }
}

/// Returns the length of the payload that a complete header declares. Returns a length above the limit even before the
/// mask has arrived.
fn declared(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let (mask, extended) = match second & 0x7f {
        126 => (if second & 0x80 == 0 { 0 } else { 4 }, 2),
        127 => (if second & 0x80 == 0 { 0 } else { 4 }, 8),
        _ => (if second & 0x80 == 0 { 0 } else { 4 }, 0),
    };
    let length = header.get(2..2 + extended)?.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
    let length = if extended == 0 { u64::from(second & 0x7f) } else { length };
    (length > FRAME_MAX_BYTES as u64 || header.len() == 2 + extended + mask).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match length {
            0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
            _ => frame.extend([&[0x80 | 126][..], &u16::try_from(length).unwrap().to_be_bytes()].concat()),
        }
        frame.extend([0; 4]);
        frame.extend(vec![0xff; length]);
        frame
    }

    #[test]
    fn frames_pass_however_they_are_cut_up() {
        let all = [frame(0x81, 5), frame(0x89, 0), frame(0x81, 4_000), frame(0x01, 200), frame(0x80, 1)].concat();
        for size in [1, 3, 7, 4_096] {
            let mut headers = Headers::default();
            assert!(all.chunks(size).all(|piece| headers.accept(piece)), "{size}");
            assert_eq!(headers.left, 0);
        }
    }

    #[test]
    fn a_length_is_refused_by_its_header_alone() {
        let mut headers = Headers::default();
        let gibibyte = [&[0x81, 0x80 | 127][..], &(1_u64 << 30).to_be_bytes()].concat();
        assert!(!headers.accept(&gibibyte));
        assert!(!Headers::default().accept(&frame(0x81, 4_097)));
    }

    #[test]
    fn a_message_has_so_many_frames_and_bytes_and_no_more() {
        let mut headers = Headers::default();
        assert!(headers.accept(&frame(0x01, 0)));
        let accepted = (0..1_000).take_while(|_| headers.accept(&frame(0x00, 0))).count();
        assert_eq!(accepted, 63);
        let mut headers = Headers::default();
        assert!(
            headers.accept(&frame(0x01, 4_000)) && headers.accept(&frame(0x00, 96)) && !headers.accept(&frame(0x00, 1))
        );
    }
}
