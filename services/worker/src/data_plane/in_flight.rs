//! The parts of one body that are being stored: several at once, and recorded in the order of the file.

use super::PlaneError;
use super::read_part::PartRead;
use super::request::Ingest;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use waybill_event_log::AppendError;

/// Failure while a body is read or stored.
pub(super) enum Failed {
    Reading(PlaneError),
    Storing(PlaneError),
}

/// The parts of a body that are being stored.
#[derive(Default)]
pub(super) struct Storing<'a> {
    parts: FuturesUnordered<BoxFuture<'a, Result<(), PlaneError>>>,
    /// Resolves when the newest part is recorded or has failed, with `true` if the log accepts events.
    newest: Option<oneshot::Receiver<bool>>,
}

impl<'a> Storing<'a> {
    /// Waits for `work` while parts are being stored. Returns early if one of them fails.
    pub(super) async fn unless_failed<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failed> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(stored) = self.parts.next() => stored.map_err(Failed::Storing)?,
                done = &mut work => return Ok(done),
            }
        }
    }

    /// Waits until one more part may be stored. One part is always allowed. More are allowed if this is faster and
    /// there is memory for them.
    pub(super) async fn make_room(&mut self, request: &Ingest<'_>, part_bytes: u64) -> Result<(), Failed> {
        let Ingest { worker, upload, .. } = request;
        while !self.parts.is_empty() {
            let is_spare = request.held_back.is_none() && worker.budget.has_spare(upload.aggregate.company, part_bytes);
            if is_spare && worker.pace.allows(self.parts.len()) {
                break;
            }
            if let Some(stored) = self.parts.next().await {
                stored.map_err(Failed::Storing)?;
            }
        }
        Ok(())
    }

    /// Begins to store a part. Parts are recorded in the order of the file, even if the store receives a later one
    /// first.
    pub(super) fn begin(&mut self, request: &'a Ingest<'a>, read: PartRead) {
        let (done, newest) = oneshot::channel();
        let mut before = Before { end: self.newest.replace(newest), takes_events: true };
        self.parts.push(Box::pin(async move {
            let kept = request.keep_part(read, &mut before).await;
            // Also wait for the previous part if this one was not recorded.
            let takes_events = before.takes_events().await && !matches!(kept, Err(PlaneError::Execute(_)));
            // There may be no next part that waits.
            done.send(takes_events).ok();
            kept
        }));
    }

    /// Waits for all parts. Returns the first failure.
    pub(super) async fn finish(mut self) -> Result<(), Failed> {
        let mut first = Ok(());
        while let Some(stored) = self.parts.next().await {
            first = first.and(stored.map_err(Failed::Storing));
        }
        first
    }
}

/// The previous part of the same body.
pub(super) struct Before {
    /// Resolves when the previous part has ended, with `true` if the log accepts events.
    end: Option<oneshot::Receiver<bool>>,
    takes_events: bool,
}

impl Before {
    /// Waits for the end of the previous part. Returns `false` if the log did not accept its event.
    async fn takes_events(&mut self) -> bool {
        if let Some(end) = self.end.take() {
            self.takes_events = end.await.unwrap_or(true);
        }
        self.takes_events
    }

    /// Waits for the end of the previous part.
    ///
    /// # Errors
    /// If the log did not accept its event. The log would not accept the next events either, and each attempt takes
    /// seconds.
    pub(super) async fn ended(&mut self) -> Result<(), PlaneError> {
        if self.takes_events().await {
            return Ok(());
        }
        let error = AppendError::Unavailable("the log did not accept the event of the previous part".to_owned());
        Err(PlaneError::Execute(error.into()))
    }
}
