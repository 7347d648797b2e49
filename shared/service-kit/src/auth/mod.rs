//! Authentication with JSON Web Tokens (RFC 7519). Tokens are signed with keys that an identity provider publishes or,
//! for development, with a shared secret (HS256). The key determines the algorithm, and keys or URLs in the header of a
//! token are never used.

mod jwks;

pub use jwks::KeySetError;

use crate::Problem;
use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use jwks::{KeySet, NoKey};
use serde::{Deserialize, Serialize};
use std::future::ready;
use std::sync::Arc;
use waybill_schema::ErrorCode;
use waybill_schema::{CompanyId, Timestamp, UserId};

/// Minimum length of a secret for HS256 (RFC 7518 §3.2).
const SECRET_MIN_BYTES: usize = 32;

/// Accepted values of the header `typ` (RFC 7519 §5.1, RFC 9068 §2.1).
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// A role in a token, which gives permissions beyond the user's own uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Can read the audit of the company.
    Auditor,
    /// Can set the limits of the company and manage its directory.
    Admin,
    /// The host product, which manages the directories of all companies. Not a user.
    Service,
    /// A role that has no meaning in Waybill.
    #[serde(other)]
    Other,
}

/// The authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user.
    pub user_id: UserId,
    /// The company of the user.
    pub company_id: CompanyId,
    /// The roles in the token.
    pub roles: Vec<Role>,
    /// The time at which the token expires.
    pub expires_at: Timestamp,
}

impl Principal {
    /// Returns an error unless the caller has a role.
    ///
    /// # Errors
    /// 403 `role_required`.
    pub fn require(&self, role: Role, name: &str) -> Result<(), Problem> {
        if self.roles.contains(&role) {
            return Ok(());
        }
        Err(Problem::new(403, ErrorCode::RoleRequired, format!("This request needs a token with the role {name}.")))
    }
}

/// The claims that Waybill reads. [`Validation`] checks the other claims.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    company_id: String,
    #[serde(default)]
    roles: Vec<Role>,
    exp: i64,
}

/// The claims of a token that Waybill issues for development.
#[derive(Serialize)]
struct Minted<'a> {
    sub: String,
    company_id: String,
    roles: &'a [Role],
    iss: &'a str,
    aud: &'a str,
    exp: i64,
}

/// The keys with which tokens are verified.
#[derive(Clone)]
enum Keys {
    /// A shared secret, for development.
    Secret { decoding: DecodingKey, encoding: EncodingKey },
    /// The keys that an identity provider publishes.
    Published(Arc<KeySet>),
}

/// Verifies tokens, and issues tokens for development.
#[derive(Clone)]
pub struct Authenticator {
    keys: Keys,
    issuer: String,
    audience: String,
    /// The validation rules for each algorithm. They are created once, because creating them costs more than using
    /// them.
    validations: Arc<[(Algorithm, Validation)]>,
}

/// The secret is shorter than 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("WAYBILL_JWT_HS256_SECRET must have at least 32 bytes")]
pub struct SecretTooShort;

/// The reason why no token is issued.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// Only the identity provider issues tokens.
    #[error("only the identity provider issues tokens, because WAYBILL_JWKS_URL is set")]
    Published,
    /// The token cannot be signed.
    #[error("cannot sign the token: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

impl Authenticator {
    /// Accepts tokens of `issuer` for `audience` that are signed with `secret`.
    ///
    /// # Errors
    /// [`SecretTooShort`].
    pub fn hs256(secret: &str, issuer: &str, audience: &str) -> Result<Self, SecretTooShort> {
        if secret.len() < SECRET_MIN_BYTES {
            return Err(SecretTooShort);
        }
        let keys = Keys::Secret {
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            encoding: EncodingKey::from_secret(secret.as_bytes()),
        };
        Ok(Self::new(keys, &[Algorithm::HS256], issuer, audience))
    }

    /// Accepts tokens of `issuer` for `audience` that are signed with a key that is published at `url`: RS256, ES256 or
    /// EdDSA.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn published(url: &str, issuer: &str, audience: &str) -> Result<Self, KeySetError> {
        let keys = Keys::Published(Arc::new(KeySet::new(url)?));
        Ok(Self::new(keys, &jwks::ALGORITHMS, issuer, audience))
    }

    fn new(keys: Keys, algorithms: &[Algorithm], issuer: &str, audience: &str) -> Self {
        let validations = algorithms.iter().map(|algorithm| (*algorithm, validation(*algorithm, issuer, audience)));
        let validations = validations.collect();
        Self { keys, issuer: issuer.to_owned(), audience: audience.to_owned(), validations }
    }

    /// Checks that tokens can be verified at the moment. Returns a description of the keys.
    ///
    /// # Errors
    /// A description of the problem.
    pub async fn check(&self) -> Result<String, String> {
        match &self.keys {
            Keys::Secret { .. } => Ok("a shared secret (for development)".to_owned()),
            Keys::Published(keys) => match keys.fetch().await?.len() {
                0 => Err("no published key can be used for RS256, ES256 or EdDSA".to_owned()),
                count => Ok(format!("{count} published keys")),
            },
        }
    }

    /// Verifies a token and returns its owner.
    ///
    /// # Errors
    /// 401 `token_invalid` if anything is wrong with the token; 503 if the published keys cannot be fetched.
    pub async fn authenticate(&self, token: &str) -> Result<Principal, Problem> {
        let invalid =
            || Problem::new(401, ErrorCode::TokenInvalid, "The token is invalid, expired or not for this service.");
        let header = decode_header(token).map_err(|_| invalid())?;
        // Refuse tokens that bring their own key or the URL of a key (RFC 8725 §3.10).
        if header.jku.is_some() || header.x5u.is_some() || header.jwk.is_some() || header.x5c.is_some() {
            return Err(invalid());
        }
        // Refuse tokens that were issued for another purpose, such as a logout token (RFC 8725 §3.11).
        if !header.typ.is_none_or(|typ| TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known))) {
            return Err(invalid());
        }
        let published;
        let (algorithm, decoding) = match &self.keys {
            Keys::Secret { decoding, .. } => {
                // The only key has no id. Any plain id is accepted, but not a path or a URL.
                if !header.kid.as_deref().is_none_or(is_key_name) {
                    return Err(invalid());
                }
                (Algorithm::HS256, decoding)
            }
            // The id of a published key can be any text (RFC 7517 §4.5). It is only compared.
            Keys::Published(keys) => {
                let found = keys.find(header.kid.as_deref().ok_or_else(invalid)?).await;
                published = found.map_err(|no_key| match no_key {
                    NoKey::Unknown => invalid(),
                    NoKey::Unavailable => {
                        Problem::unavailable("The keys of the identity provider cannot be fetched. Try again.")
                    }
                })?;
                (published.algorithm, &published.decoding)
            }
        };
        // The key determines the algorithm, never the token.
        let validation = self.validations.iter().find(|(of, _)| *of == algorithm).map(|(_, validation)| validation);
        let decoded = decode::<Claims>(token, decoding, validation.ok_or_else(invalid)?);
        let claims = decoded.map_err(|_| invalid())?.claims;
        Ok(Principal {
            user_id: claims.sub.parse().map_err(|_| invalid())?,
            company_id: claims.company_id.parse().map_err(|_| invalid())?,
            roles: claims.roles,
            expires_at: Timestamp(claims.exp.saturating_mul(1_000)),
        })
    }

    /// Issues a token for `principal`, for development.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn mint(&self, principal: &Principal) -> Result<String, MintError> {
        let Keys::Secret { encoding, .. } = &self.keys else { return Err(MintError::Published) };
        let claims = Minted {
            sub: principal.user_id.to_string(),
            company_id: principal.company_id.to_string(),
            roles: &principal.roles,
            iss: &self.issuer,
            aud: &self.audience,
            exp: principal.expires_at.0 / 1_000,
        };
        Ok(encode(&Header::new(Algorithm::HS256), &claims, encoding)?)
    }
}

/// Returns the validation rules for tokens that are signed with this algorithm.
fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_nbf = true;
    validation.leeway = 5;
    validation
}

/// Returns `true` if a `kid` is a plain name and not a path or URL.
fn is_key_name(kid: &str) -> bool {
    (1..=128).contains(&kid.len())
        && kid.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.=".contains(&b))
        && !kid.contains("..")
}

impl FromRequest for Principal {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // The request was authenticated before.
        if let Some(principal) = request.extensions().get::<Self>() {
            return Box::pin(ready(Ok(principal.clone())));
        }
        let request = request.clone();
        Box::pin(async move { from_header(&request).await })
    }
}

async fn from_header(request: &HttpRequest) -> Result<Principal, Problem> {
    let authenticator = request.app_data::<web::Data<Authenticator>>().ok_or_else(Problem::internal)?;
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, token) = header.split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Problem::new(
            401,
            ErrorCode::TokenMissing,
            "Send a JSON Web Token in the header Authorization: Bearer.",
        ));
    }
    authenticator.authenticate(token.trim()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_for_another_use_is_none() {
        let secret = "s".repeat(32);
        let authenticator = Authenticator::hs256(&secret, "i", "a").unwrap();
        let nil = uuid::Uuid::nil().to_string();
        let claims = Minted { sub: nil.clone(), company_id: nil, roles: &[], iss: "i", aud: "a", exp: 4_000_000_000 };
        for (typ, is_good) in [(None, true), (Some("JWT"), true), (Some("at+JWT"), true), (Some("logout+jwt"), false)] {
            let header = Header { typ: typ.map(str::to_owned), ..Header::new(Algorithm::HS256) };
            let token = encode(&header, &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
            assert_eq!(authenticator.authenticate(&token).await.is_ok(), is_good, "{typ:?}");
        }
    }

    #[test]
    fn keys_come_from_where_nobody_changes_them() {
        for url in ["http://keys.example/jwks", "ftp://127.0.0.1/jwks", "keys"] {
            assert!(Authenticator::published(url, "i", "a").is_err(), "{url}");
        }
        assert!(Authenticator::published("https://keys.example/jwks", "i", "a").is_ok());
        assert!(Authenticator::published("http://127.0.0.1:1/jwks", "i", "a").is_ok());
    }
}
