//! Work on a request's body that goes on when the connection breaks: actix-web drops a handler whose connection broke,
//! and with it what it had read. What had arrived and was not read yet is the matter of the connection, which tells its
//! end only when all that came before it was taken.

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

/// How many bytes a client has to send, of which it is waited for no longer than [`ENOUGH_WITHIN`]: a hundred a second.
const ENOUGH_BYTES: usize = 3_000;
const ENOUGH_WITHIN: Duration = Duration::from_secs(30);

/// Runs `work` with the request's body to its end, whatever becomes of the connection.
///
/// # Errors
/// Those of `work`; 500 where it panics.
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

/// The body, if all of it comes within `time`; else it breaks off.
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
    PayloadError::Io(io::Error::new(io::ErrorKind::TimedOut, "the body comes too slowly"))
}

/// From now on the client of this connection has to read what is sent to it within `time`, or it is closed.
pub fn written_within(request: &HttpRequest, time: Duration) {
    if let Some(end) = request.conn_data::<Rc<End>>() {
        end.read_within(time);
    }
}

/// Whether a body broke off because it came too slowly.
pub fn is_too_slow(error: &PayloadError) -> bool {
    matches!(error, PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// Holds back that the connection has ended, until it is dropped: for work that comes before a body is read, and would be
/// dropped with what had arrived of it.
pub struct Hold(Rc<End>);

impl Hold {
    /// For the connection of a request.
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

/// A body whose reading the connection knows of.
struct Reader {
    body: Payload,
    end: Rc<End>,
    reads: bool,
    /// Wakes when it is too slow, or sooner.
    late: Option<Pin<Box<Sleep>>>,
    /// For how long it was waited for, and what came, since enough had come the last time.
    waited: (Duration, usize),
    waits_since: Option<Instant>,
}

impl Reader {
    fn new(body: Payload, end: Rc<End>) -> Self {
        end.begin();
        Self { body, end, reads: true, late: None, waited: (Duration::ZERO, 0), waits_since: None }
    }

    /// Notes what came after the wait for it.
    fn came(&mut self, bytes: usize) {
        let waited = self.waits_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.waited = (self.waited.0 + waited, self.waited.1 + bytes);
        if self.waited.1 >= ENOUGH_BYTES {
            self.waited = (Duration::ZERO, 0);
        }
    }

    /// Whether the client has had its time to send enough. Only waiting for it counts, not what is done with its bytes.
    fn is_too_slow(&mut self, context: &mut Context<'_>) -> bool {
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        let end = since + ENOUGH_WITHIN.saturating_sub(self.waited.0);
        let late = self.late.get_or_insert_with(|| Box::pin(sleep_until(end)));
        while late.as_mut().poll(context).is_ready() {
            if Instant::now() >= end {
                return true;
            }
            // It was set for an earlier wait: setting it anew for each would cost more than this.
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
