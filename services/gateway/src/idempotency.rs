//! `Idempotency-Key`: a repeated request gets the ids of the first one and runs again with them; what was done by then
//! is not done twice, for commands on known ids are idempotent.

use crate::key_budget::{Exhausted, KeyBudget};
use crate::problems::IntoProblem;
use actix_web::HttpRequest;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::num::NonZeroU32;
use uuid::Uuid;
use waybill_event_log::jetstream::{Bucket, BucketError, CreateOutcome, Entry};
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
pub(crate) struct Idempotency {
    bucket: Bucket,
    budget: KeyBudget,
}

impl Idempotency {
    /// Those in a bucket, of which each company has a share.
    pub(crate) fn new(bucket: Bucket, keys_per_company: NonZeroU32) -> Self {
        Self { budget: KeyBudget::new(bucket.clone(), keys_per_company), bucket }
    }

    /// Whether the request may come again and mean the same.
    pub(crate) fn is_repeatable(request: &HttpRequest) -> bool {
        request.headers().contains_key(HEADER)
    }

    /// The id for what the request makes: a new one, or that of the first request with its key.
    ///
    /// # Errors
    /// 422 `idempotency_key_reused` where the key came with another request before; 400 for a malformed key; 429
    /// `idempotency_keys_exhausted` if the key is new and the company has used its share.
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
        let failed = |error: BucketError| error.into_problem("keeping an idempotency key");
        if let Err(exhausted) = self.budget.take(principal.company_id).await.map_err(failed)? {
            // What came before still comes to the same.
            let first = self.bucket.get(&key.to_string()).await.map_err(failed)?;
            return first.map_or_else(|| Err(exhausted.into()), |first| record.id_after(&first));
        }
        match self.bucket.create(&key.to_string(), bytes.into()).await.map_err(failed)? {
            CreateOutcome::Created => Ok(new),
            CreateOutcome::Exists(first) => {
                self.budget.give_back(principal.company_id).await;
                record.id_after(&first)
            }
        }
    }
}

impl Record {
    /// The id of the first request with the key, if this one is the same.
    fn id_after(&self, first: &Entry) -> Result<Uuid, Problem> {
        let first: Self = serde_json::from_slice(&first.value).map_err(|_| Problem::internal())?;
        if first.request == self.request { Ok(first.id) } else { Err(Idempotency::reused()) }
    }
}

impl From<Exhausted> for Problem {
    fn from(exhausted: Exhausted) -> Self {
        let detail = "your company has used its Idempotency-Keys of 24 hours; wait, or send the request without a key: if its \
                      answer is lost, look whether it was done before you send it again";
        Self { retry_after_s: Some(exhausted.retry_after_s), ..Self::new(429, "idempotency_keys_exhausted", detail) }
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
