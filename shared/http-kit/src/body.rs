//! Processing of request bodies that continues after the connection breaks. actix-web drops a handler whose connection
//! breaks, and with it the bytes that it has read; [`outliving`] runs the handler as a separate task. The module
//! `connection` protects bytes that have arrived but were not read yet: it reports the end of a connection only after
//! they were read.

use crate::Problem;
use crate::connection::End;
use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::stream::poll_fn;
use futures_util::{Stream, StreamExt};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Minimum throughput of a request body: after [`ENOUGH_WITHIN`] of waiting for the client, it must have delivered this
/// many bytes (100 B/s). Otherwise the body is aborted.
const ENOUGH_BYTES: usize = 3_000;
const ENOUGH_WITHIN: Duration = Duration::from_secs(30);

/// Runs `work` with the body of a request to completion, even if the connection breaks.
///
/// # Errors
/// The errors of `work`; 500 if it panics.
pub async fn outliving<T: 'static, W>(
    request: &HttpRequest,
    body: Payload,
    work: impl FnOnce(Payload) -> W,
) -> Result<T, Problem>
where
    W: Future<Output = Result<T, Problem>> + 'static,
{
    let end = request.conn_data::<Rc<End>>().cloned().unwrap_or_default();
    let reader = Reader::new(body, end);
    let task = actix_web::rt::spawn(work(Payload::Stream { payload: Box::pin(reader) }));
    task.await.map_err(|_| Problem::internal())?
}

/// Returns a body that fails if it has not arrived completely within `time`.
pub fn within(body: Payload, time: Duration) -> Payload {
    let mut late = Box::pin(tokio::time::sleep(time));
    let mut body = body;
    let timed = poll_fn(move |context| {
        let polled = body.poll_next_unpin(context);
        if polled.is_pending() && late.as_mut().poll(context).is_ready() {
            Poll::Ready(Some(Err(too_slow())))
        } else {
            polled
        }
    });
    Payload::Stream { payload: Box::pin(timed) }
}

fn too_slow() -> PayloadError {
    PayloadError::Io(io::Error::new(io::ErrorKind::TimedOut, "the body arrives too slowly"))
}

/// Closes the connection if a write to the client waits for longer than `time` from now on.
pub fn written_within(request: &HttpRequest, time: Duration) {
    if let Some(end) = request.conn_data::<Rc<End>>() {
        end.read_within(time);
    }
}

/// Returns `true` if a body failed because it arrived too slowly.
pub fn is_too_slow(error: &PayloadError) -> bool {
    matches!(error, PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// Delays the report of the connection's end until the value is dropped. Use it for work before the body is read:
/// actix-web would otherwise drop that work, and the bytes of the body that have arrived.
pub struct Hold(Rc<End>);

impl Hold {
    /// Delays the end of the connection of a request.
    pub fn of(request: &HttpRequest) -> Self {
        let end = request.conn_data::<Rc<End>>().cloned().unwrap_or_default();
        end.begin();
        Self(end)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// A body that reports to its connection while it is being read.
struct Reader {
    body: Payload,
    end: Rc<End>,
    reads: bool,
    /// Wakes the task when the body is too slow, or earlier.
    late: Option<Pin<Box<Sleep>>>,
    /// Time spent waiting and number of bytes received since the last time that [`ENOUGH_BYTES`] had arrived.
    waited: (Duration, usize),
    waits_since: Option<Instant>,
}

impl Reader {
    fn new(body: Payload, end: Rc<End>) -> Self {
        end.begin();
        Self { body, end, reads: true, late: None, waited: (Duration::ZERO, 0), waits_since: None }
    }

    /// Adds the received bytes and the time spent waiting for them.
    fn came(&mut self, bytes: usize) {
        let waited = self.waits_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.waited = (self.waited.0 + waited, self.waited.1 + bytes);
        if self.waited.1 >= ENOUGH_BYTES {
            self.waited = (Duration::ZERO, 0);
        }
    }

    /// Returns `true` if the client had enough time to send [`ENOUGH_BYTES`]. Only the time spent waiting for the
    /// client counts, not the time to process its bytes.
    fn is_too_slow(&mut self, context: &mut Context<'_>) -> bool {
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        let end = since + ENOUGH_WITHIN.saturating_sub(self.waited.0);
        let late = self.late.get_or_insert_with(|| Box::pin(sleep_until(end)));
        while late.as_mut().poll(context).is_ready() {
            if Instant::now() >= end {
                return true;
            }
            // The timer was set for an earlier wait. Resetting it for each wait would cost more.
            late.as_mut().reset(end);
        }
        false
    }

    fn finish(&mut self) {
        if std::mem::take(&mut self.reads) {
            self.end.finish();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Stream for Reader {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.poll_next_unpin(context);
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => self.came(bytes.len()),
            Poll::Ready(_) => self.finish(),
            Poll::Pending if self.is_too_slow(context) => {
                self.finish();
                return Poll::Ready(Some(Err(too_slow())));
            }
            Poll::Pending => self.end.found_nothing(context.waker()),
        }
        polled
    }
}
