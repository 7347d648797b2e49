//! `Idempotency-Key`: a repeated request runs again with the id of the first one. Commands on existing ids are
//! idempotent, so the request takes effect only once.

use crate::application::key_budget::{Exhausted, KeyBudget};
use crate::http::problems::IntoProblem;
use actix_web::HttpRequest;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::num::NonZeroU32;
use uuid::Uuid;
use waybill_event_log::jetstream::{Bucket, BucketError, CreateOutcome, Entry};
use waybill_schema::ErrorCode;
use waybill_schema::Sha256Digest;
use waybill_service_kit::{Principal, Problem};

const HEADER: &str = "Idempotency-Key";

const MAX_KEY_BYTES: usize = 255;

/// Value of a key in the bucket: the digest of the first request and the id that it got.
#[derive(Serialize, Deserialize)]
struct Record {
    request: Sha256Digest,
    id: Uuid,
}

/// Store of idempotency keys, which keeps them for 24 hours.
pub(crate) struct Idempotency {
    bucket: Bucket,
    budget: KeyBudget,
}

impl Idempotency {
    /// Uses a bucket that all companies share. Each of them may add `keys_per_company` keys in 24 hours.
    pub(crate) fn new(bucket: Bucket, keys_per_company: NonZeroU32) -> Self {
        Self { budget: KeyBudget::new(bucket.clone(), keys_per_company), bucket }
    }

    /// Returns `true` if the request has an `Idempotency-Key`, so that the client can repeat it.
    pub(crate) fn is_repeatable(request: &HttpRequest) -> bool {
        request.headers().contains_key(HEADER)
    }

    /// Returns the id for the object that the request creates: a new id, or the id of the first request with the same
    /// key.
    ///
    /// # Errors
    /// 422 `idempotency_key_reused` if the key was used with another request; 400 `idempotency_key_invalid`; 429
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

    /// Returns the problem for a key that was used with another request.
    pub(crate) fn reused() -> Problem {
        let detail = "this Idempotency-Key was used with another request; use a new key";
        Problem::new(422, ErrorCode::IdempotencyKeyReused, detail)
    }

    /// Does the same as [`Idempotency::id_for`] for a key from another place than the header.
    ///
    /// # Errors
    /// The errors of [`Idempotency::id_for`].
    pub(crate) async fn id_of(
        &self,
        sent: &[u8],
        principal: &Principal,
        route: &str,
        body: &[u8],
    ) -> Result<Uuid, Problem> {
        let new = Uuid::now_v7();
        if sent.is_empty() || sent.len() > MAX_KEY_BYTES {
            return Err(Problem::bad_request(
                ErrorCode::IdempotencyKeyInvalid,
                "Idempotency-Key must have 1 to 255 bytes",
            ));
        }
        let (company, user) = (principal.company_id.to_string(), principal.user_id.to_string());
        let key = digest(&[company.as_bytes(), user.as_bytes(), route.as_bytes(), sent]);
        let record = Record { request: digest(&[body]), id: new };
        let bytes = serde_json::to_vec(&record).map_err(|_| Problem::internal())?;
        let failed = |error: BucketError| error.into_problem("keeping an idempotency key");
        if let Err(exhausted) = self.budget.take(principal.company_id).await.map_err(failed)? {
            // Keys that the company has used already still work.
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
    /// Returns the id of the first request with the key if this request is equal to it.
    fn id_after(&self, first: &Entry) -> Result<Uuid, Problem> {
        let first: Self = serde_json::from_slice(&first.value).map_err(|_| Problem::internal())?;
        if first.request == self.request { Ok(first.id) } else { Err(Idempotency::reused()) }
    }
}

impl From<Exhausted> for Problem {
    fn from(exhausted: Exhausted) -> Self {
        let detail = "your company has used all its Idempotency-Keys of the last 24 hours; wait for Retry-After, or send the \
                      request without a key: if you get no answer, check whether it took effect before you repeat it";
        Self {
            retry_after_s: Some(exhausted.retry_after_s),
            ..Self::new(429, ErrorCode::IdempotencyKeysExhausted, detail)
        }
    }
}

/// Hashes several fields, each with its length, so that different lists of fields have different digests.
fn digest(fields: &[&[u8]]) -> Sha256Digest {
    let mut sha256 = Sha256::new();
    for field in fields {
        sha256.update((field.len() as u64).to_be_bytes());
        sha256.update(field);
    }
    Sha256Digest(sha256.finalize().into())
}
