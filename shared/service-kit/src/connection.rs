//! A connection whose end is not told before everything that came over it was taken.
//!
//! actix-web reads ahead of whoever reads a request's body. When it sees the end of the connection while that reader is
//! busy, it tells the end and forgets what it had read ahead (up to 128 KiB). For an upload that breaks off these are
//! bytes that had arrived. So the end is held back while a body is being read, until its reader has asked for more twice
//! in vain, with actix-web having looked at what it holds in between.
//!
//! A connection is closed in steps (RFC 9112 §9.6): first our side, then, after the client has stopped sending, all of it.
//! Closing at once would reset a connection on which bytes still arrive, and a client that is sending a body would lose the
//! answer that refuses it.

use crate::tls::Stream;
use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// For how long the end is held back at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the head of a request may take that is not the first of its connection.
const HEAD_WITHIN: Duration = Duration::from_secs(16);

/// For how long a client may not read what it asked for. Who goes on later asks for the rest.
const UNREAD_WITHIN: Duration = Duration::from_secs(60);

/// How much is read in a row, before what was read is handed on: actix-web would read up to 128 KiB ahead of a body's
/// reader, and each of its buffers after that would hold as much.
const BURST_BYTES: usize = 32 * 1_024;
/// How much is dropped at once of what comes too late.
const LINGER_BUFFER_BYTES: usize = 8 * 1_024;

/// For how long a connection is read on after our side of it was closed: in all, and without anything coming.
const LINGER_WITHIN: Duration = Duration::from_secs(30);
const LINGER_QUIET: Duration = Duration::from_secs(5);

/// A client's connection.
pub(crate) struct Connection {
    stream: Stream,
    end: Rc<End>,
    /// Until when the end, which was seen, is held back.
    until: Option<Pin<Box<Sleep>>>,
    /// What was read since the last pause.
    burst_bytes: usize,
    /// When the client, which does not read, has had its time.
    unread_until: Option<Pin<Box<Sleep>>>,
    /// When the head of the next request, which has begun, has had its time.
    head_until: Option<Pin<Box<Sleep>>>,
    /// After our side was closed.
    lingering: Option<Lingering>,
}

/// The last part of a connection's life: whatever comes is dropped.
struct Lingering {
    until: Pin<Box<Sleep>>,
    quiet: Pin<Box<Sleep>>,
}

impl Lingering {
    fn begin() -> Self {
        Self { until: Box::pin(tokio::time::sleep(LINGER_WITHIN)), quiet: Box::pin(tokio::time::sleep(LINGER_QUIET)) }
    }

    /// Until the client has closed its side, too, or had its time.
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
                // Others get their turn.
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

/// What reader and connection tell each other.
#[derive(Default)]
pub(crate) struct End {
    /// How many bodies are being read; hardly ever more than one.
    readers: Cell<u32>,
    held: Cell<Held>,
    /// How many requests are being answered; hardly ever more than one.
    answering: Cell<u32>,
    /// How long the client may not read while there is something to be sent; [`UNREAD_WITHIN`] where it is not said.
    unread_within: Cell<Option<Duration>>,
    connection: RefCell<Option<Waker>>,
    reader: RefCell<Option<Waker>>,
}

/// A request that is being answered, to the last byte.
pub(crate) struct Answering(Rc<End>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.set(self.0.answering.get().saturating_sub(1));
    }
}

/// How far it is from the end of the connection to telling it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Held {
    /// There is no end yet.
    #[default]
    No,
    /// The end was seen.
    Seen,
    /// Afterwards the reader had taken all that it could get.
    Empty,
    /// Afterwards actix-web handed over what it held.
    HandedOver,
    /// Afterwards the reader had taken that, too.
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
            head_until: None,
            lingering: None,
        }
    }

    pub(crate) fn end(&self) -> Rc<End> {
        self.end.clone()
    }

    /// A write that waits for the client to read waits so long and no longer.
    fn in_time(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
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

    /// Whether the head of a request, of which something came, takes too long. actix-web looks after the first head of a
    /// connection, and after none behind it.
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

    /// Whether the end may be told.
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
    /// A request is being answered until the value is dropped.
    pub(crate) fn answer(self: &Rc<Self>) -> Answering {
        self.answering.set(self.answering.get() + 1);
        Answering(self.clone())
    }

    /// How long the client may not read from now on.
    pub(crate) fn read_within(&self, time: Duration) {
        self.unread_within.set(Some(time));
    }

    /// Somebody reads a body.
    pub(crate) fn begin(&self) {
        self.readers.set(self.readers.get() + 1);
    }

    /// Nobody reads that body any more.
    pub(crate) fn finish(&self) {
        self.readers.set(self.readers.get().saturating_sub(1));
        self.connection.take().into_iter().for_each(Waker::wake);
    }

    /// The reader found nothing to take.
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
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head comes too slowly")));
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
