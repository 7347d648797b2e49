//! Shares of the files among the processes with this role.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;
use waybill_read_model::Database;
use waybill_read_model::alive::{self, Group};
use waybill_read_model::queries::Share;
use waybill_service_kit::{Shutdown, new_id};

/// Interval in which a process announces that it is alive, and the time for which that is valid.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(3);
const ALIVE_FOR: Duration = Duration::from_secs(10);

/// Announcement of this process, and its share of the files.
pub(crate) struct Announced {
    id: Uuid,
    database: Database,
    /// `None` before the first announcement.
    share: Mutex<Option<Share>>,
}

impl Announced {
    pub(crate) fn new(database: Database) -> Self {
        Self { id: new_id(), database, share: Mutex::default() }
    }

    pub(crate) async fn announce_until(&self, shutdown: &Shutdown) {
        shutdown.unless(self.announce()).await;
        if let Err(error) = alive::withdraw(&self.database, Group::Compressors, self.id).await {
            tracing::debug!(%error, "cannot withdraw this process; its announcement expires");
        }
    }

    /// Announces this process again and again, and notes its share of the files.
    async fn announce(&self) {
        loop {
            match alive::announce(&self.database, Group::Compressors, self.id, ALIVE_FOR).await {
                // The share stays the same as long as the same processes run, so that a large file is not begun twice.
                Ok(alive) => {
                    let share = alive::share_of(self.id, &alive, 0);
                    *self.share.lock().unwrap_or_else(PoisonError::into_inner) = Some(share);
                }
                Err(error) => tracing::debug!(%error, "cannot announce that this process is alive; will try again"),
            }
            tokio::time::sleep(ANNOUNCE_EVERY).await;
        }
    }

    /// Returns the share of this process; `None` before the first announcement.
    pub(crate) fn share(&self) -> Option<Share> {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
