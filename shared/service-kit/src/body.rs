//! Work on a request's body that goes on when the connection breaks: actix-web drops a handler whose connection broke,
//! and with it what it had read. What had arrived and was not read yet is the matter of the connection, which tells its
//! end only when all that came before it was taken.

use crate::Problem;
use crate::connection::End;
use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

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
}

impl Reader {
    fn new(body: Payload, end: Rc<End>) -> Self {
        end.begin();
        Self { body, end, reads: true }
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
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(_) => self.finish(),
            Poll::Pending => self.end.found_nothing(context.waker()),
        }
        polled
    }
}
