//! Records the denied requests of authenticated callers for auditors: the user, the address, the request and the
//! reason. The records are kept in a stream of their own, separate from the events.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use tokio::sync::mpsc;
use uuid::Uuid;
use waybill_event_log::jetstream::Refusals;
use waybill_schema::ErrorCode;
use waybill_schema::{CompanyId, Timestamp, UserId};
use waybill_service_kit::{Principal, Problem, RequestId, Shutdown, metrics, now};

/// Maximum number of denied requests that wait to be recorded. Further ones are only counted.
const QUEUE: usize = 1_024;

/// Description of a request, taken before it is known whether the request will be denied.
pub struct Refused {
    company: CompanyId,
    user: UserId,
    id: RequestId,
    method: String,
    path: String,
}

impl Refused {
    /// Describes a request: a method and a path, or a WebSocket frame and a topic. `path` must not contain secrets.
    pub fn new(principal: &Principal, id: RequestId, method: &str, path: &str) -> Self {
        Self {
            company: principal.company_id,
            user: principal.user_id,
            id,
            method: method.to_owned(),
            path: path.chars().take(PATH_MAX).collect(),
        }
    }
}

/// Maximum length of a recorded path, in characters.
const PATH_MAX: usize = 256;

/// Record of a denied request, as it is stored and shown to auditors.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the audit trail")]
pub struct Refusal {
    pub time: Timestamp,
    pub user_id: UserId,
    pub address: Option<IpAddr>,
    pub request_id: Uuid,
    pub method: String,
    pub path: String,
    pub status: u16,
    pub code: String,
}

/// Records denied requests in the background.
pub struct Keeper(mpsc::Sender<(CompanyId, UserId, Bytes)>);

impl Keeper {
    /// Returns a keeper and the future that stores the records until shutdown.
    pub fn new(refusals: Refusals, shutdown: Shutdown) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let work = async move {
            while let Some(Some((company, user, refusal))) = shutdown.unless(receiver.recv()).await {
                if let Err(error) = refusals.keep(company, user, refusal).await {
                    metrics::LOST_REFUSALS.inc();
                    tracing::warn!(%error, "cannot record a denied request");
                }
            }
        };
        (Self(sender), work)
    }

    /// Records a denied request. Failures of the server are not recorded.
    pub fn keep(&self, refused: Refused, problem: &Problem) {
        // Some protocols report these server failures with a status below 500.
        if problem.status >= 500
            || matches!(problem.code, ErrorCode::Unavailable | ErrorCode::ProjectionBehind | ErrorCode::Internal)
        {
            return;
        }
        let refusal = Refusal {
            time: now(),
            user_id: refused.user,
            address: refused.id.address,
            request_id: refused.id.id,
            method: refused.method,
            path: refused.path,
            status: problem.status,
            code: problem.code.to_string(),
        };
        let Ok(bytes) = serde_json::to_vec(&refusal) else { return };
        if self.0.try_send((refused.company, refused.user, bytes.into())).is_err() {
            metrics::LOST_REFUSALS.inc();
        }
    }
}
