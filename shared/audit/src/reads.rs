//! Records downloads, lists and uses of the audit for auditors: who read what, and from where. There is one record per
//! user, target and hour, so that neither a client that reads in ranges nor one that polls fills the stream.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;
use waybill_cache::Cache;
use waybill_event_log::jetstream::Records;
use waybill_schema::{CompanyId, Sha256Digest, Timestamp, UserId};
use waybill_service_kit::metrics::counter;

/// Maximum number of records that wait to be stored.
const QUEUE: usize = 10_000;

/// Maximum number of records that are being stored at the same time.
const AT_ONCE: usize = 64;

/// Maximum number of recorded reads that are remembered. If there are more within an hour, a read can have two records.
const REMEMBERED: u64 = 200_000;

const HOUR_MS: i64 = 3_600_000;

/// Reads that could not be recorded for auditors.
static LOST_READS: LazyLock<IntCounter> =
    LazyLock::new(|| counter("waybill_lost_reads_total", "Reads that could not be recorded for auditors"));

/// Recording of reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads are not recorded.
    Off,
    /// Reads are recorded in the background. If NATS does not answer, records are lost and counted.
    Background,
    /// A read is answered after its record is stored, and refused if it cannot be stored.
    Strict,
}

/// Kind of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Downloaded a file, or a part of it.
    Download,
    /// Looked at a preview of a file.
    Preview,
    /// Listed files.
    List,
    /// Read or exported the audit.
    Audit,
}

impl Action {
    /// Returns the name of the action in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Preview => "preview",
            Self::List => "list",
            Self::Audit => "audit",
        }
    }
}

/// Record of a read, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the audit trail")]
pub struct Read {
    /// Time of the first such read within the hour.
    pub time: Timestamp,
    pub user_id: UserId,
    pub address: Option<IpAddr>,
    pub request_id: Uuid,
    pub action: Action,
    /// The downloaded file, or the one whose preview was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<Uuid>,
    /// The chatroom whose files were listed. A list without a chatroom and a thread is that of the user or, for admins,
    /// of the company.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chatroom_id: Option<Uuid>,
    /// The thread whose files were listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<Uuid>,
}

impl Read {
    /// Returns a digest that is equal for reads that have one record.
    fn digest(&self) -> Sha256Digest {
        let mut sha256 = Sha256::new();
        sha256.update(self.user_id.0.as_bytes());
        sha256.update((self.time.0 / HOUR_MS).to_be_bytes());
        sha256.update(self.action.as_str());
        for id in [self.file_id, self.chatroom_id, self.thread_id] {
            sha256.update(id.unwrap_or_default().as_bytes());
        }
        Sha256Digest(sha256.finalize().into())
    }
}

/// The read could not be recorded, and must be refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot record a read for auditors: {0}")]
pub struct NotRecorded(String);

/// Records reads.
pub struct ReadRecorder {
    mode: Mode,
    records: Records,
    recorded: Arc<Cache<(CompanyId, Sha256Digest), ()>>,
    queue: mpsc::Sender<(CompanyId, Read)>,
}

impl ReadRecorder {
    /// Returns a recorder and the future that stores the records of [`Mode::Background`]. The future ends after the recorder
    /// was dropped and all records are stored.
    pub fn new(records: Records, mode: Mode) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let recorded = Cache::builder(REMEMBERED).time_to_live(Duration::from_secs(3_600)).build();
        let recorded = Arc::new(recorded);
        let work = store_all(records.clone(), recorded.clone(), receiver);
        (Self { mode, records, recorded, queue }, work)
    }

    /// Records a read, unless the same read was recorded within the hour.
    ///
    /// # Errors
    /// [`NotRecorded`] in [`Mode::Strict`].
    pub async fn record(&self, company: CompanyId, read: Read) -> Result<(), NotRecorded> {
        let key = (company, read.digest());
        if self.mode == Mode::Off || self.recorded.contains_key(&key) {
            return Ok(());
        }
        if self.mode == Mode::Strict {
            let kept = store(&self.records, company, &read).await;
            kept.inspect(|()| self.recorded.insert(&key, ()))
        } else {
            self.recorded.insert(&key, ());
            if self.queue.try_send((company, read)).is_err() {
                LOST_READS.inc();
                self.recorded.invalidate(&key);
            }
            Ok(())
        }
    }
}

async fn store_all(
    records: Records,
    recorded: Arc<Cache<(CompanyId, Sha256Digest), ()>>,
    mut receiver: mpsc::Receiver<(CompanyId, Read)>,
) {
    let (records, recorded) = (&records, &recorded);
    let one = |(company, read): (CompanyId, Read)| async move {
        if let Err(error) = store(records, company, &read).await {
            LOST_READS.inc();
            recorded.invalidate(&(company, read.digest()));
            tracing::warn!(%error, "the audit misses a read");
        }
    };
    stream::poll_fn(|context| receiver.poll_recv(context)).for_each_concurrent(AT_ONCE, one).await;
}

async fn store(records: &Records, company: CompanyId, read: &Read) -> Result<(), NotRecorded> {
    let bytes: Bytes = serde_json::to_vec(read).map_err(|error| NotRecorded(error.to_string()))?.into();
    records.keep(company, read.user_id, bytes).await.map_err(|error| NotRecorded(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(user: u128, ms: i64, action: Action, file: Option<u128>) -> Read {
        Read {
            time: Timestamp(ms),
            user_id: UserId(Uuid::from_u128(user)),
            address: None,
            request_id: Uuid::from_u128(9),
            action,
            file_id: file.map(Uuid::from_u128),
            chatroom_id: None,
            thread_id: None,
        }
    }

    #[test]
    fn one_record_stands_for_the_reads_of_a_user_and_a_target_within_an_hour() {
        let first = read(1, 10, Action::Download, Some(2));
        assert_eq!(first.digest(), read(1, HOUR_MS - 1, Action::Download, Some(2)).digest());
        for other in [
            read(2, 10, Action::Download, Some(2)),
            read(1, HOUR_MS, Action::Download, Some(2)),
            read(1, 10, Action::Download, Some(3)),
            read(1, 10, Action::List, None),
            Read { chatroom_id: first.file_id, ..read(1, 10, Action::List, None) },
            Read { thread_id: first.file_id, ..read(1, 10, Action::List, None) },
        ] {
            assert_ne!(first.digest(), other.digest());
        }
    }
}
