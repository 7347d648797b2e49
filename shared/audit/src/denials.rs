//! Records the denied requests of authenticated callers for auditors: the user, the address, the request and the
//! reason. The records are kept in a stream of their own, separate from the events.

use crate::canonical::canonical;
use crate::flood::{Counted, Flood};
use bytes::Bytes;
use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;
use waybill_event_log::jetstream::Records;
use waybill_schema::{CompanyId, ErrorCode, Timestamp, UserId};
use waybill_service_kit::metrics::counter;
use waybill_service_kit::{Shutdown, now};

/// Maximum number of denied requests that wait to be recorded. Further ones are only counted.
const QUEUE: usize = 1_024;

/// Interval at which the numbers of further denied requests are recorded.
const TIDY: Duration = Duration::from_secs(10);

/// Maximum length of a recorded path, in characters.
const PATH_MAX: usize = 256;

/// Denied requests that could not be recorded for auditors.
static LOST_REFUSALS: LazyLock<IntCounter> =
    LazyLock::new(|| counter("waybill_lost_refusals_total", "Denied requests that could not be recorded for auditors"));

/// Description of a request, taken before it is known whether the request will be denied.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Company of the caller.
    pub company_id: CompanyId,
    /// The caller.
    pub user_id: UserId,
    /// Address of the caller.
    pub address: Option<IpAddr>,
    /// Id of the request.
    pub request_id: Uuid,
    /// HTTP method, or kind of a WebSocket frame.
    pub method: String,
    /// Path, or topic of a WebSocket frame. It must not contain secrets.
    pub path: String,
}

/// Record of a denied request, as it is stored and shown to auditors.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the audit trail")]
pub struct Denial {
    pub time: Timestamp,
    pub user_id: UserId,
    pub address: Option<IpAddr>,
    pub request_id: Uuid,
    pub method: String,
    pub path: String,
    pub status: u16,
    pub code: String,
    /// Number of further denied requests of the user within a minute, in a record that stands for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

impl Denial {
    /// Returns the record of further denied requests of a user.
    fn of_flood(user_id: UserId, count: u32) -> Self {
        let (method, path) = (String::new(), String::new());
        let code = ErrorCode::TooManyRequests.to_string();
        let (time, request_id) = (now(), Uuid::nil());
        Self { time, user_id, address: None, request_id, method, path, status: 429, code, count: Some(count) }
    }
}

/// Records denied requests in the background.
pub struct Recorder {
    queue: mpsc::Sender<Queued>,
    flood: Arc<Flood>,
}

/// A record that waits to be stored.
struct Queued {
    company: CompanyId,
    user: UserId,
    bytes: Bytes,
}

impl Recorder {
    /// Returns a recorder and the future that stores the records until shutdown.
    pub fn new(refusals: Records, shutdown: Shutdown) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, mut receiver) = mpsc::channel::<Queued>(QUEUE);
        let flood = Arc::<Flood>::default();
        let counted = flood.clone();
        let work = async move {
            let mut windows = tokio::time::interval(TIDY);
            loop {
                let queued: Vec<Queued> = tokio::select! {
                    queued = shutdown.unless(receiver.recv()) => match queued {
                        Some(Some(queued)) => vec![queued],
                        Some(None) | None => return,
                    },
                    _ = windows.tick() => counted.end().into_iter().filter_map(summary).collect(),
                };
                for Queued { company, user, bytes } in queued {
                    if let Err(error) = refusals.keep(company, user, bytes).await {
                        LOST_REFUSALS.inc();
                        tracing::warn!(%error, "cannot record a denied request");
                    }
                }
            }
        };
        (Self { queue, flood }, work)
    }

    /// Records a denied request with the status and the code of its answer. Failures of the server are not recorded.
    pub fn record(&self, attempt: Attempt, status: u16, code: ErrorCode) {
        // Some protocols report these server failures with a status below 500.
        if status >= 500 || matches!(code, ErrorCode::Unavailable | ErrorCode::ProjectionBehind | ErrorCode::Internal) {
            return;
        }
        let Attempt { company_id, user_id, address, request_id, method, path } = attempt;
        if !self.flood.admits(company_id, user_id) {
            return;
        }
        let path = canonical(&path).chars().take(PATH_MAX).collect();
        let code = code.to_string();
        let denial = Denial { time: now(), user_id, address, request_id, method, path, status, code, count: None };
        let Some(queued) = queued(company_id, &denial) else { return };
        if self.queue.try_send(queued).is_err() {
            LOST_REFUSALS.inc();
        }
    }
}

fn queued(company: CompanyId, denial: &Denial) -> Option<Queued> {
    let bytes = serde_json::to_vec(denial).ok()?;
    Some(Queued { company, user: denial.user_id, bytes: bytes.into() })
}

fn summary(counted: Counted) -> Option<Queued> {
    queued(counted.company, &Denial::of_flood(counted.user, counted.more))
}
