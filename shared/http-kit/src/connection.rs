//! A connection that reports its end only after all received bytes were read.
//!
//! actix-web reads ahead of the reader of a request body. If it sees the end of the connection while that reader is
//! busy, it reports the end and discards the bytes that it has read ahead (up to 128 KiB). For an interrupted upload,
//! these bytes would be lost although they had arrived. Therefore this module delays the end of the connection while a
//! body is being read: until the reader has twice found nothing to read, and actix-web has handed over its buffer in
//! between.
//!
//! A connection is closed in steps (RFC 9112 §9.6): first the sending side, and after the client has stopped sending,
//! the whole connection. Closing it immediately would reset a connection on which bytes still arrive, and a client that
//! is sending a body would lose the answer that refuses it.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use waybill_service_kit::tls::Stream;

/// Maximum time for which the end of a connection is delayed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Maximum time for receiving the head of any request after the first one of a connection.
const HEAD_WITHIN: Duration = Duration::from_secs(16);

/// Maximum time for which a client may stop reading an answer. Such a client can request the rest later.
const UNREAD_WITHIN: Duration = Duration::from_secs(60);

/// Minimum throughput of an answer to a client that reads too slowly to keep up (1 KiB/s). In [`SLOW_WITHIN`], such a
/// client must read this many bytes. Otherwise it would keep its connection, and the object that it downloads, open for
/// days.
const SLOW_BYTES: usize = 300 * 1_024;
const SLOW_WITHIN: Duration = Duration::from_secs(300);

/// Number of bytes that are read before the reader gets its turn. Without this limit, actix-web would read up to 128
/// KiB ahead of the reader of a body, and all of its later buffers would have that size.
const BURST_BYTES: usize = 32 * 1_024;
/// Size of the buffer for bytes that are discarded after the sending side was closed.
const LINGER_BUFFER_BYTES: usize = 8 * 1_024;

/// Maximum time for which a connection is still read after its sending side was closed: in total, and without receiving
/// a byte.
const LINGER_WITHIN: Duration = Duration::from_secs(30);
const LINGER_QUIET: Duration = Duration::from_secs(5);

/// A connection of a client.
pub(crate) struct Connection {
    stream: Stream,
    end: Rc<End>,
    /// Timer for the maximum delay of the end, after the end was seen.
    until: Option<Pin<Box<Sleep>>>,
    /// Number of bytes that were read since the last pause.
    burst_bytes: usize,
    /// Timer for a client that does not read.
    unread_until: Option<Pin<Box<Sleep>>>,
    /// Throughput of a client that does not read as fast as the answer arrives.
    slow: Option<Box<SlowReader>>,
    /// Timer for the head of the next request, after its first byte.
    head_until: Option<Pin<Box<Sleep>>>,
    /// Set after the sending side was closed.
    lingering: Option<Lingering>,
}

/// Throughput of a client since it first kept an answer waiting.
struct SlowReader {
    began: Instant,
    bytes: usize,
    /// Time in which the answer waited for the client.
    waited: Duration,
    waits_since: Option<Instant>,
}

impl SlowReader {
    fn new(began: Instant) -> Self {
        Self { began, bytes: 0, waited: Duration::ZERO, waits_since: None }
    }

    /// The answer begins or continues to wait.
    fn waits(&mut self, now: Instant) {
        self.waited += now.duration_since(self.waits_since.replace(now).unwrap_or(now));
    }

    /// The client has made room for `bytes`.
    fn reads(&mut self, now: Instant, bytes: usize) {
        self.bytes += bytes;
        self.waited += now.duration_since(self.waits_since.take().unwrap_or(now));
    }

    /// Returns `true` if the client was the reason for a throughput below the minimum. The server may have had nothing to
    /// send.
    fn is_too_slow(&self) -> bool {
        self.bytes < SLOW_BYTES && self.waited >= SLOW_WITHIN / 2
    }
}

/// State of a connection whose sending side is closed. Received bytes are discarded.
struct Lingering {
    until: Pin<Box<Sleep>>,
    quiet: Pin<Box<Sleep>>,
}

impl Lingering {
    fn begin() -> Self {
        Self { until: Box::pin(tokio::time::sleep(LINGER_WITHIN)), quiet: Box::pin(tokio::time::sleep(LINGER_QUIET)) }
    }

    /// Completes when the client has closed its side too, or when its time is over.
    fn poll(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<()> {
        let mut dropped = [MaybeUninit::uninit(); LINGER_BUFFER_BYTES];
        let mut burst_bytes = 0;
        loop {
            let mut buffer = ReadBuf::uninit(&mut dropped);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => burst_bytes += buffer.filled().len(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
            if burst_bytes >= BURST_BYTES {
                // Let other tasks run.
                context.waker().wake_by_ref();
                break;
            }
        }
        if burst_bytes > 0 {
            self.quiet.as_mut().reset(Instant::now() + LINGER_QUIET);
        }
        if self.quiet.as_mut().poll(context).is_ready() || self.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// State that a connection shares with the readers of its bodies.
#[derive(Default)]
pub(crate) struct End {
    /// Number of bodies that are being read; rarely more than one.
    readers: Cell<u32>,
    held: Cell<Held>,
    /// Number of requests that are being answered; rarely more than one.
    answering: Cell<u32>,
    /// Maximum time for which a write may wait for the client to read; [`UNREAD_WITHIN`] if it is `None`.
    unread_within: Cell<Option<Duration>>,
    connection: RefCell<Option<Waker>>,
    reader: RefCell<Option<Waker>>,
}

/// Marks a request as being answered until the last byte was sent.
pub(crate) struct Answering(Rc<End>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.set(self.0.answering.get().saturating_sub(1));
    }
}

/// Steps between seeing the end of a connection and reporting it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Held {
    /// The end was not seen yet.
    #[default]
    No,
    /// The end was seen.
    Seen,
    /// After that, the reader found nothing more to read.
    Empty,
    /// After that, actix-web handed over its buffer.
    HandedOver,
    /// After that, the reader again found nothing more to read.
    Done,
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            end: Rc::default(),
            until: None,
            burst_bytes: 0,
            unread_until: None,
            slow: None,
            head_until: None,
            lingering: None,
        }
    }

    pub(crate) fn end(&self) -> Rc<End> {
        self.end.clone()
    }

    /// Fails a write that has waited for the client for too long, or whose client reads too slowly.
    fn in_time(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.reads_too_slowly(&written) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly")));
        }
        if written.is_ready() {
            self.unread_until = None;
            return written;
        }
        let within = self.end.unread_within.get().unwrap_or(UNREAD_WITHIN);
        let until = self.unread_until.get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        if until.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }

    /// Measures the client after a write or an attempt to write. While it does not read at all, the timer of
    /// [`Connection::in_time`] makes a further attempt.
    fn reads_too_slowly(&mut self, written: &Poll<io::Result<usize>>) -> bool {
        if self.slow.is_none() && !written.is_pending() {
            return false;
        }
        let now = Instant::now();
        let slow = self.slow.get_or_insert_with(|| Box::new(SlowReader::new(now)));
        match written {
            Poll::Pending => slow.waits(now),
            Poll::Ready(Ok(bytes)) => slow.reads(now, *bytes),
            Poll::Ready(Err(_)) => {}
        }
        if now.duration_since(slow.began) < SLOW_WITHIN {
            return false;
        }
        let is_too_slow = slow.is_too_slow();
        self.slow = None;
        is_too_slow
    }

    /// Returns `true` if the head of a request that has begun takes too long. actix-web limits only the time of the
    /// first head of a connection.
    fn head_is_late(&mut self, context: &mut Context<'_>, came: usize) -> bool {
        if self.end.answering.get() > 0 || self.end.readers.get() > 0 {
            self.head_until = None;
            return false;
        }
        if came > 0 && self.head_until.is_none() {
            self.head_until = Some(Box::pin(tokio::time::sleep(HEAD_WITHIN)));
        }
        self.head_until.as_mut().is_some_and(|until| until.as_mut().poll(context).is_ready())
    }

    /// Returns `true` if the end of the connection may be reported.
    fn tells_end(&mut self, context: &mut Context<'_>) -> bool {
        let end = &self.end;
        if end.readers.get() == 0 || end.held.get() == Held::Done {
            return true;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
        if until.as_mut().poll(context).is_ready() {
            return true;
        }
        *end.connection.borrow_mut() = Some(context.waker().clone());
        match end.held.get() {
            Held::No => {
                end.held.set(Held::Seen);
                end.reader.take().into_iter().for_each(Waker::wake);
            }
            Held::Empty => {
                end.held.set(Held::HandedOver);
                end.reader.take().into_iter().for_each(Waker::wake);
            }
            Held::Seen | Held::HandedOver | Held::Done => {}
        }
        false
    }
}

impl End {
    /// Marks a request as being answered until the value is dropped.
    pub(crate) fn answer(self: &Rc<Self>) -> Answering {
        self.answering.set(self.answering.get() + 1);
        Answering(self.clone())
    }

    /// Sets the maximum time for which a write may wait for the client to read.
    pub(crate) fn read_within(&self, time: Duration) {
        self.unread_within.set(Some(time));
    }

    /// Registers a reader of a body.
    pub(crate) fn begin(&self) {
        self.readers.set(self.readers.get() + 1);
    }

    /// Unregisters a reader of a body.
    pub(crate) fn finish(&self) {
        self.readers.set(self.readers.get().saturating_sub(1));
        self.connection.take().into_iter().for_each(Waker::wake);
    }

    /// Notes that a reader found nothing to read.
    pub(crate) fn found_nothing(&self, waker: &Waker) {
        *self.reader.borrow_mut() = Some(waker.clone());
        match self.held.get() {
            Held::Seen => self.held.set(Held::Empty),
            Held::HandedOver => self.held.set(Held::Done),
            Held::No | Held::Empty | Held::Done => return,
        }
        self.connection.take().into_iter().for_each(Waker::wake);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.burst_bytes >= BURST_BYTES {
            self.burst_bytes = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) else {
            self.burst_bytes = 0;
            if self.head_is_late(context, 0) {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the head of the request arrives too slowly",
                )));
            }
            return Poll::Pending;
        };
        let came = buffer.filled().len() - before;
        self.head_is_late(context, came);
        self.burst_bytes += came;
        let is_end = read.is_err() || (buffer.filled().len() == before && buffer.remaining() > 0);
        if is_end && !self.tells_end(context) { Poll::Pending } else { Poll::Ready(read) }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let lingering = match &mut this.lingering {
            Some(lingering) => lingering,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
                this.lingering.insert(Lingering::begin())
            }
        };
        lingering.poll(&mut this.stream, context).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `true` if a client is too slow that reads `bytes` every ten seconds, after it kept the answer waiting for
    /// `wait` each time.
    fn is_too_slow(bytes: usize, wait: Duration) -> bool {
        let began = Instant::now();
        let mut slow = SlowReader::new(began);
        for round in 0..30 {
            let at = began + Duration::from_secs(10) * round;
            slow.waits(at);
            slow.waits(at + wait / 2);
            slow.reads(at + wait, bytes);
        }
        slow.is_too_slow()
    }

    #[test]
    fn m11_a_client_that_reads_less_than_a_kibibyte_per_second_is_too_slow() {
        let s = Duration::from_secs;
        assert!(is_too_slow(10_000, s(10)));
        assert!(!is_too_slow(10_300, s(10)), "fast enough");
        assert!(!is_too_slow(10_000, s(4)), "the server has nothing to send");
    }
}
