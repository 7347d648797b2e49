//! Order of concurrent requests that send bytes of one upload through this gateway. A newer request ends the older
//! ones: directly if they have not reached a worker yet, and by a message to the worker otherwise.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use waybill_schema::UploadId;

type Running = HashMap<UploadId, Vec<Arc<Turn>>>;

/// The running requests of all uploads, in the order of their arrival.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<Running>>);

/// The turn of one request.
#[derive(Default)]
pub(crate) struct Turn {
    superseded: CancellationToken,
    done: CancellationToken,
}

impl Turn {
    /// Tells the request to end.
    pub(crate) fn supersede(&self) {
        self.superseded.cancel();
    }

    /// Waits until the request has ended.
    pub(crate) async fn done(&self) {
        self.done.cancelled().await;
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.is_cancelled()
    }
}

/// A turn that ends when the value is dropped.
pub(crate) struct Held {
    turns: Turns,
    upload: UploadId,
    turn: Arc<Turn>,
}

impl Held {
    /// Returns `true` if a newer request for the upload has arrived.
    pub(crate) fn is_superseded(&self) -> bool {
        self.turn.superseded.is_cancelled()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut running = self.turns.running();
        if let Some(turns) = running.get_mut(&self.upload) {
            turns.retain(|turn| !Arc::ptr_eq(turn, &self.turn));
            if turns.is_empty() {
                running.remove(&self.upload);
            }
        }
        self.turn.done.cancel();
    }
}

impl Turns {
    /// Begins the turn of a request that sends bytes.
    pub(crate) fn begin(&self, upload: UploadId) -> Held {
        let turn = Arc::<Turn>::default();
        self.running().entry(upload).or_default().push(turn.clone());
        Held { turns: self.clone(), upload, turn }
    }

    /// Returns the turns that began before `own`, or all turns if `own` is `None`.
    pub(crate) fn before(&self, upload: UploadId, own: Option<&Held>) -> Vec<Arc<Turn>> {
        let running = self.running();
        let turns = running.get(&upload).into_iter().flatten();
        turns.take_while(|turn| own.is_none_or(|own| !Arc::ptr_eq(turn, &own.turn))).cloned().collect()
    }

    /// Returns `true` if no request for the upload has arrived after this one.
    pub(crate) fn is_newest(&self, held: &Held) -> bool {
        let running = self.running();
        running.get(&held.upload).and_then(|turns| turns.last()).is_some_and(|last| Arc::ptr_eq(last, &held.turn))
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
