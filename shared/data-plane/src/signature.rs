//! Signatures of requests from gateways to workers. The secret itself is never sent.
//!
//! The header `Waybill-Signature` is `TIME NONCE MAC`: milliseconds since 1970, a UUID, and the HMAC-SHA256 (RFC 2104) of
//! the method, the path with its query, the time, the nonce and the [`COVERED`] headers, in hexadecimal. A worker accepts
//! a signature once, and only within [`VALID_MS`] of its time. The body is not signed, because it is streamed: TLS
//! protects it.

use crate::{CLIENT_ADDRESS_HEADER, STARTED_HEADER};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;
use waybill_schema::Timestamp;
use waybill_service_kit::Secrets;

/// Header with the signature.
pub const SIGNATURE_HEADER: &str = "waybill-signature";

/// Headers that a signature covers.
pub const COVERED: [&str; 3] = ["x-request-id", CLIENT_ADDRESS_HEADER, STARTED_HEADER];

/// Maximum difference between the clocks of a gateway and a worker, in milliseconds.
pub const VALID_MS: i64 = 60_000;

/// The signed parts of a request.
#[derive(Clone, Copy, Debug)]
pub struct Covered<'a> {
    /// Method of the request.
    pub method: &'a str,
    /// Path with the query.
    pub path: &'a str,
    /// Values of the [`COVERED`] headers. A missing header counts as empty.
    pub headers: [&'a [u8]; COVERED.len()],
}

/// Reason why a worker refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header is missing or malformed.
    #[error("the request has no signature")]
    Missing,
    /// The clocks of gateway and worker differ, or the request is old.
    #[error("the signature is older or newer than a minute; check the clocks")]
    Time,
    /// No secret makes this signature.
    #[error("the signature does not belong to a known secret; check WAYBILL_WORKER_SECRET")]
    Wrong,
    /// The signature was used before.
    #[error("the signature was used before")]
    Repeated,
}

/// Keys that sign requests, made of secrets that gateways and workers share.
#[derive(Clone)]
pub struct RequestKeys(Vec<Hmac<Sha256>>);

impl RequestKeys {
    /// Returns the keys made of `secrets`.
    pub fn new(secrets: &Secrets) -> Self {
        // HMAC accepts keys of any length.
        let key = |secret| Hmac::<Sha256>::new_from_slice(secret).ok();
        Self(secrets.all().filter_map(key).collect())
    }

    /// Returns the value of [`SIGNATURE_HEADER`] for a request that is sent now. Each attempt needs its own nonce.
    pub fn sign(&self, covered: Covered<'_>, now: Timestamp, nonce: Uuid) -> String {
        let mac = self.0.first().map(|key| hex::encode(covered.mac(key.clone(), now.0, nonce).finalize().into_bytes()));
        format!("{} {} {}", now.0, nonce.simple(), mac.unwrap_or_default())
    }
}

impl Covered<'_> {
    fn mac(self, mut mac: Hmac<Sha256>, time: i64, nonce: Uuid) -> Hmac<Sha256> {
        let (time, nonce) = (time.to_be_bytes(), nonce.into_bytes());
        let fields = [b"waybill request 1".as_slice(), self.method.as_bytes(), self.path.as_bytes(), &time, &nonce];
        for field in fields.into_iter().chain(self.headers) {
            // With the lengths, different lists of fields never have the same bytes.
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        mac
    }
}

/// Checks signatures. Remembers the nonces of accepted ones for as long as they are valid.
pub struct SignatureChecker {
    keys: RequestKeys,
    seen: Mutex<Seen>,
}

/// Nonces of accepted signatures, in two generations: each one is kept for [`VALID_MS`] to twice that time after the last
/// moment at which its signature is valid.
#[derive(Default)]
struct Seen {
    newer: HashSet<Uuid>,
    older: HashSet<Uuid>,
    since: i64,
}

/// Time for which a generation collects nonces. A signature is valid for up to twice [`VALID_MS`], because its time can be
/// ahead of the worker's clock.
const GENERATION_MS: i64 = 2 * VALID_MS;

impl Seen {
    /// Returns `false` if the nonce was added before.
    fn add(&mut self, nonce: Uuid, now: i64) -> bool {
        if now - self.since >= GENERATION_MS {
            self.older =
                if now - self.since < 2 * GENERATION_MS { std::mem::take(&mut self.newer) } else { HashSet::new() };
            self.newer.clear();
            self.since = now;
        }
        !self.older.contains(&nonce) && self.newer.insert(nonce)
    }
}

impl SignatureChecker {
    /// Returns a checker that accepts signatures of all `keys`.
    pub fn new(keys: RequestKeys) -> Self {
        Self { keys, seen: Mutex::default() }
    }

    /// Checks the value of [`SIGNATURE_HEADER`] of a request that arrived now.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn check(&self, value: &str, covered: Covered<'_>, now: Timestamp) -> Result<(), SignatureError> {
        let mut fields = value.split(' ');
        let mut next = || fields.next().ok_or(SignatureError::Missing);
        let time: i64 = next()?.parse().map_err(|_| SignatureError::Missing)?;
        let nonce = Uuid::try_parse(next()?).map_err(|_| SignatureError::Missing)?;
        let mac = hex::decode(next()?).map_err(|_| SignatureError::Missing)?;
        if now.0.abs_diff(time) > VALID_MS.unsigned_abs() {
            return Err(SignatureError::Time);
        }
        let is_made_with = |key: &Hmac<Sha256>| covered.mac(key.clone(), time, nonce).verify_slice(&mac).is_ok();
        if !self.keys.0.iter().any(is_made_with) {
            return Err(SignatureError::Wrong);
        }
        let is_new = self.seen.lock().unwrap_or_else(PoisonError::into_inner).add(nonce, now.0);
        if is_new { Ok(()) } else { Err(SignatureError::Repeated) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn keys(secrets: &str) -> RequestKeys {
        RequestKeys::new(&Secrets::read("EXAMPLE", secrets, None).unwrap())
    }

    fn secret(letter: &str) -> String {
        letter.repeat(32)
    }

    const REQUEST: Covered<'_> = Covered {
        method: "PUT",
        path: "/internal/v1/uploads/a/b/bytes?from=0&to=9",
        headers: [b"id", b"192.0.2.1", b""],
    };

    #[test]
    fn a_signature_is_accepted_once() {
        let (signer, checker) = (keys(&secret("a")), SignatureChecker::new(keys(&secret("a"))));
        let signature = signer.sign(REQUEST, NOW, Uuid::from_u128(1));
        assert!(!signature.contains(&secret("a")));
        assert_eq!(checker.check(&signature, REQUEST, NOW), Ok(()));
        assert_eq!(checker.check(&signature, REQUEST, NOW), Err(SignatureError::Repeated));
        let last = Timestamp(NOW.0 + VALID_MS);
        assert_eq!(checker.check(&signature, REQUEST, last), Err(SignatureError::Repeated));
        assert_eq!(checker.check(&signer.sign(REQUEST, NOW, Uuid::from_u128(2)), REQUEST, NOW), Ok(()));
    }

    #[test]
    fn a_nonce_is_remembered_while_its_signature_is_valid() {
        let (signer, checker) = (keys(&secret("a")), SignatureChecker::new(keys(&secret("a"))));
        // The gateway's clock is ahead by as much as it may be.
        let ahead = Timestamp(NOW.0 + VALID_MS);
        let signature = signer.sign(REQUEST, ahead, Uuid::from_u128(1));
        assert_eq!(checker.check(&signature, REQUEST, NOW), Ok(()));
        for later in (0..=2 * VALID_MS).step_by(10_000) {
            let at = Timestamp(NOW.0 + later);
            assert_eq!(checker.check(&signature, REQUEST, at), Err(SignatureError::Repeated), "{later}");
            let other = signer.sign(REQUEST, at, Uuid::from_u128(later.unsigned_abs().into()));
            assert!(matches!(checker.check(&other, REQUEST, at), Ok(()) | Err(SignatureError::Repeated)));
        }
    }

    #[test]
    fn a_signature_covers_everything_but_the_body() {
        let (signer, checker) = (keys(&secret("a")), SignatureChecker::new(keys(&secret("a"))));
        let signature = signer.sign(REQUEST, NOW, Uuid::from_u128(1));
        let others = [
            Covered { method: "POST", ..REQUEST },
            Covered { path: "/internal/v1/uploads/a/c/bytes?from=0&to=9", ..REQUEST },
            Covered { headers: [b"id", b"192.0.2.2", b""], ..REQUEST },
            Covered { headers: [b"id", b"192.0.2.1", b"eyJ9"], ..REQUEST },
            Covered { headers: [b"id1", b"92.0.2.1", b""], ..REQUEST },
        ];
        for other in others {
            assert_eq!(checker.check(&signature, other, NOW), Err(SignatureError::Wrong), "{other:?}");
        }
        let later = signature.replacen("1800000000000", "1800000000001", 1);
        assert_eq!(checker.check(&later, REQUEST, NOW), Err(SignatureError::Wrong));
        for malformed in ["", "1", "1 2", "x y z", &signature[..signature.len() - 1]] {
            assert_eq!(checker.check(malformed, REQUEST, NOW), Err(SignatureError::Missing), "{malformed}");
        }
    }

    #[test]
    fn old_and_early_signatures_are_refused() {
        let (signer, checker) = (keys(&secret("a")), SignatureChecker::new(keys(&secret("a"))));
        for difference in [VALID_MS + 1, -VALID_MS - 1] {
            let signature = signer.sign(REQUEST, Timestamp(NOW.0 + difference), Uuid::from_u128(1));
            assert_eq!(checker.check(&signature, REQUEST, NOW), Err(SignatureError::Time));
        }
    }

    #[test]
    fn a_secret_is_replaced_in_three_steps_without_a_refused_request() {
        let (a, b) = (secret("a"), secret("b"));
        let steps = [a.clone(), format!("{a},{b}"), format!("{b},{a}"), b.clone()];
        let mut nonce = 0;
        // While a step is rolled out, each process has the secrets of that step or of the one before.
        for pair in steps.windows(2) {
            for (signer, checker) in [(&pair[0], &pair[1]), (&pair[1], &pair[0]), (&pair[1], &pair[1])] {
                nonce += 1;
                let signature = keys(signer).sign(REQUEST, NOW, Uuid::from_u128(nonce));
                assert_eq!(SignatureChecker::new(keys(checker)).check(&signature, REQUEST, NOW), Ok(()));
            }
        }
        let signature = keys(&a).sign(REQUEST, NOW, Uuid::from_u128(0));
        let after = SignatureChecker::new(keys(&b));
        assert_eq!(after.check(&signature, REQUEST, NOW), Err(SignatureError::Wrong));
    }
}
