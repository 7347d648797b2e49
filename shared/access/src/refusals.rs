//! What was refused to authenticated callers, kept for auditors beside the events: who, from where, what, and why.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use tokio::sync::mpsc;
use uuid::Uuid;
use waybill_event_log::jetstream::Refusals;
use waybill_schema::{CompanyId, Timestamp, UserId};
use waybill_service_kit::{Principal, Problem, RequestId, Shutdown, metrics, now};

/// How many wait to be kept; more are only counted.
const QUEUE: usize = 1_024;

/// A request, before it is known that it will be refused.
pub struct Refused {
    company: CompanyId,
    user: UserId,
    id: RequestId,
    method: String,
    path: String,
}

impl Refused {
    /// What somebody asks for: a method and a path, or a frame and a topic.
    pub fn new(principal: &Principal, id: RequestId, method: &str, path: &str) -> Self {
        Self {
            company: principal.company_id,
            user: principal.user_id,
            id,
            method: method.to_owned(),
            path: without_secrets(path),
        }
    }
}

/// A path as it is kept. Paths hold ids alone, but for those with download tokens.
fn without_secrets(path: &str) -> String {
    if path.starts_with("/d/") { "/d/…".to_owned() } else { path.chars().take(PATH_MAX).collect() }
}

/// The longest path that is kept, in characters.
const PATH_MAX: usize = 256;

/// A refusal, as it is kept and shown.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the audit trail")]
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

/// Keeps refusals, beside the requests.
pub struct Keeper(mpsc::Sender<(CompanyId, UserId, Bytes)>);

impl Keeper {
    /// Keeps them until shutdown; the future does the work.
    pub fn new(refusals: Refusals, shutdown: Shutdown) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let work = async move {
            while let Some(Some((company, user, refusal))) = shutdown.unless(receiver.recv()).await {
                if let Err(error) = refusals.keep(company, user, refusal).await {
                    metrics::LOST_REFUSALS.inc();
                    tracing::warn!(%error, "a refusal is not kept");
                }
            }
        };
        (Self(sender), work)
    }

    /// Keeps one; what went wrong on our side is none.
    pub fn keep(&self, refused: Refused, problem: &Problem) {
        // Some protocols say it with another status.
        if problem.status >= 500 || matches!(problem.code.as_str(), "unavailable" | "projection_behind" | "internal") {
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
            code: problem.code.clone(),
        };
        let Ok(bytes) = serde_json::to_vec(&refusal) else { return };
        if self.0.try_send((refused.company, refused.user, bytes.into())).is_err() {
            metrics::LOST_REFUSALS.inc();
        }
    }
}
