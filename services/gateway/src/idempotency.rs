//! `Idempotency-Key`: a repeated request gets the ids of the first one and runs again with them; what was done by then
//! is not done twice, for commands on known ids are idempotent.

use crate::problems::IntoProblem;
use actix_web::HttpRequest;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use waybill_event_log::jetstream::{Bucket, CreateOutcome};
use waybill_schema::Sha256Digest;
use waybill_service_kit::{Principal, Problem};

const HEADER: &str = "Idempotency-Key";
const MAX_KEY_BYTES: usize = 255;

#[derive(Serialize, Deserialize)]
struct Record {
    request: Sha256Digest,
    id: Uuid,
}

/// What repeated requests are known by, for 24 hours.
pub(crate) struct Idempotency(Bucket);

impl Idempotency {
    pub(crate) fn new(bucket: Bucket) -> Self {
        Self(bucket)
    }

    /// Whether the request may come again and mean the same.
    pub(crate) fn is_repeatable(request: &HttpRequest) -> bool {
        request.headers().contains_key(HEADER)
    }

    /// The id for what the request makes: a new one, or that of the first request with its key.
    ///
    /// # Errors
    /// 422 `idempotency_key_reused` where the key came with another request before; 400 for a malformed key.
    pub(crate) async fn id_for(
        &self,
        request: &HttpRequest,
        principal: &Principal,
        route: &str,
        body: &[u8],
    ) -> Result<Uuid, Problem> {
        match request.headers().get(HEADER) {
            Some(sent) => self.id_of(sent.as_bytes(), principal, route, body).await,
            None => Ok(Uuid::now_v7()),
        }
    }

    /// The answer to another request with the same key.
    pub(crate) fn reused() -> Problem {
        let detail = "this Idempotency-Key came with another request before; use a new one";
        Problem::new(422, "idempotency_key_reused", detail)
    }

    /// The same, for a key that came elsewhere in the request.
    ///
    /// # Errors
    /// As [`Idempotency::id_for`].
    pub(crate) async fn id_of(
        &self,
        sent: &[u8],
        principal: &Principal,
        route: &str,
        body: &[u8],
    ) -> Result<Uuid, Problem> {
        let new = Uuid::now_v7();
        if sent.is_empty() || sent.len() > MAX_KEY_BYTES {
            return Err(Problem::bad_request("idempotency_key_invalid", "Idempotency-Key has 1 to 255 bytes"));
        }
        let (company, user) = (principal.company_id.to_string(), principal.user_id.to_string());
        let key = digest(&[company.as_bytes(), user.as_bytes(), route.as_bytes(), sent]);
        let record = Record { request: digest(&[body]), id: new };
        let bytes = serde_json::to_vec(&record).map_err(|_| Problem::internal())?;
        let outcome = self.0.create(&key.to_string(), bytes.into()).await;
        match outcome.map_err(|error| error.into_problem("keeping an idempotency key"))? {
            CreateOutcome::Created => Ok(new),
            CreateOutcome::Exists(entry) => {
                let first: Record = serde_json::from_slice(&entry.value).map_err(|_| Problem::internal())?;
                if first.request == record.request {
                    return Ok(first.id);
                }
                Err(Self::reused())
            }
        }
    }
}

/// A digest of several fields, each with its length, so that no two lists of fields are alike.
fn digest(fields: &[&[u8]]) -> Sha256Digest {
    let mut sha256 = Sha256::new();
    for field in fields {
        sha256.update((field.len() as u64).to_be_bytes());
        sha256.update(field);
    }
    Sha256Digest(sha256.finalize().into())
}
