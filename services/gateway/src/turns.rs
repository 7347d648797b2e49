//! Whose turn it is to bring an upload's bytes, among the requests of this process, in the order in which they came. A
//! newer one ends the older ones: here for those that have not reached a worker yet, by a message to the worker for those
//! that have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use waybill_schema::UploadId;

type Running = HashMap<UploadId, Vec<Arc<Turn>>>;

/// The turns of all uploads.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<Running>>);

/// One request's turn.
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

    /// Until the request has ended.
    pub(crate) async fn done(&self) {
        self.done.cancelled().await;
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.is_cancelled()
    }
}

/// A turn that lasts as long as the value.
pub(crate) struct Held {
    turns: Turns,
    upload: UploadId,
    turn: Arc<Turn>,
}

impl Held {
    /// Whether a newer request came.
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
    /// A turn for a request that brings bytes.
    pub(crate) fn begin(&self, upload: UploadId) -> Held {
        let turn = Arc::<Turn>::default();
        self.running().entry(upload).or_default().push(turn.clone());
        Held { turns: self.clone(), upload, turn }
    }

    /// The turns that began before `own`; all of them without.
    pub(crate) fn before(&self, upload: UploadId, own: Option<&Held>) -> Vec<Arc<Turn>> {
        let running = self.running();
        let turns = running.get(&upload).into_iter().flatten();
        turns.take_while(|turn| own.is_none_or(|own| !Arc::ptr_eq(turn, &own.turn))).cloned().collect()
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
