//! `Idempotency-Key`: a repeated request runs again with the id of the first one. Commands on existing ids are
//! idempotent, so the request takes effect only once.

use crate::application::key_budget::{Exhausted, KeyBudget, KeyShares, Owner};
use crate::http::problems::IntoProblem;
use actix_web::HttpRequest;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use waybill_event_log::{Bucket, BucketError, CreateOutcome, Entry};
use waybill_http_kit::{Principal, Problem};
use waybill_schema::ErrorCode;
use waybill_schema::{Sha256Digest, Timestamp};
use waybill_service_kit::new_id;

const HEADER: &str = "Idempotency-Key";

const MAX_KEY_BYTES: usize = 255;

/// Value of a key in the bucket: the digest of the first request and the id that it got.
#[derive(Serialize, Deserialize)]
struct Record {
    request: Sha256Digest,
    id: Uuid,
}

/// Id of the object that a request creates.
pub(crate) struct ReservedId {
    pub(crate) id: Uuid,
    /// `true` if an earlier request with the same key got this id.
    pub(crate) is_repeated: bool,
}

impl ReservedId {
    /// Returns the time at which the first request with the key arrived, if this request repeats it.
    pub(crate) fn first_sent_at(&self) -> Option<Timestamp> {
        let (seconds, nanoseconds) = self.id.get_timestamp().filter(|_| self.is_repeated)?.to_unix();
        let ms = seconds.saturating_mul(1_000).saturating_add(u64::from(nanoseconds / 1_000_000));
        i64::try_from(ms).ok().map(Timestamp)
    }
}

/// Store of idempotency keys, which keeps them for 24 hours.
pub(crate) struct Idempotency {
    bucket: Bucket,
    budget: KeyBudget,
}

impl Idempotency {
    /// Uses a bucket that all companies share.
    pub(crate) fn new(bucket: Bucket, shares: KeyShares) -> Self {
        Self { budget: KeyBudget::new(&bucket, shares), bucket }
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
    /// `idempotency_keys_exhausted` if the key is new and the user or the company has used its share.
    pub(crate) async fn id_for(
        &self,
        request: &HttpRequest,
        principal: &Principal,
        route: &str,
        body: &[u8],
    ) -> Result<Uuid, Problem> {
        Ok(self.reserve(request, principal, route, body).await?.id)
    }

    /// Does the same as [`Idempotency::id_for`], and also tells whether the request is repeated.
    ///
    /// # Errors
    /// The errors of [`Idempotency::id_for`].
    pub(crate) async fn reserve(
        &self,
        request: &HttpRequest,
        principal: &Principal,
        route: &str,
        body: &[u8],
    ) -> Result<ReservedId, Problem> {
        match request.headers().get(HEADER) {
            Some(sent) => self.reserve_for(sent.as_bytes(), principal, route, body).await,
            None => Ok(ReservedId { id: new_id(), is_repeated: false }),
        }
    }

    /// Returns the problem for a key that was used with another request.
    pub(crate) fn reused() -> Problem {
        let detail = "this Idempotency-Key was used with another request; use a new key";
        Problem::new(422, ErrorCode::IdempotencyKeyReused, detail)
    }

    async fn reserve_for(
        &self,
        sent: &[u8],
        principal: &Principal,
        route: &str,
        body: &[u8],
    ) -> Result<ReservedId, Problem> {
        let new = new_id();
        if sent.is_empty() || sent.len() > MAX_KEY_BYTES {
            return Err(Problem::bad_request(
                ErrorCode::IdempotencyKeyInvalid,
                "Idempotency-Key must have 1 to 255 bytes",
            ));
        }
        let (company, user) = (principal.company_id.to_string(), principal.counted_as().to_string());
        let key = digest(&[company.as_bytes(), user.as_bytes(), route.as_bytes(), sent]);
        let record = Record { request: digest(&[body]), id: new };
        let bytes = serde_json::to_vec(&record).map_err(|_| Problem::internal())?;
        let failed = |error: BucketError| error.into_problem("keeping an idempotency key");
        if let Err(exhausted) = self.budget.take(principal).await.map_err(failed)? {
            // Keys that were used already still work.
            let first = self.bucket.get(&key.to_string()).await.map_err(failed)?;
            return first.map_or_else(|| Err(exhausted.into()), |first| record.id_after(&first));
        }
        match self.bucket.create(&key.to_string(), bytes.into()).await.map_err(failed)? {
            CreateOutcome::Created => Ok(ReservedId { id: new, is_repeated: false }),
            CreateOutcome::Exists(first) => {
                self.budget.give_back(principal).await;
                record.id_after(&first)
            }
        }
    }
}

impl Record {
    /// Returns the id of the first request with the key if this request is equal to it.
    fn id_after(&self, first: &Entry) -> Result<ReservedId, Problem> {
        let first: Self = serde_json::from_slice(&first.value).map_err(|_| Problem::internal())?;
        let repeated = ReservedId { id: first.id, is_repeated: true };
        if first.request == self.request { Ok(repeated) } else { Err(Idempotency::reused()) }
    }
}

impl From<Exhausted> for Problem {
    fn from(exhausted: Exhausted) -> Self {
        let who = match exhausted.owner {
            Owner::Company => "your company has used all its",
            Owner::User => "you have used all your",
        };
        let detail = format!(
            "{who} Idempotency-Keys of the last 24 hours; wait for Retry-After, or send the request without a key: if you \
             get no answer, check whether it took effect before you repeat it"
        );
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
