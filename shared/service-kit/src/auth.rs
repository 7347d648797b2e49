//! Who asks: JSON Web Tokens (RFC 7519). HS256 with a shared secret, for development; the algorithm is pinned, and
//! nothing in a token's header is ever followed.

use crate::Problem;
use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use std::future::{Ready, ready};
use waybill_schema::{CompanyId, Timestamp, UserId};

/// The shortest secret that HS256 is used with (RFC 7518 §3.2).
const SECRET_MIN_BYTES: usize = 32;

/// What a token of a client may call itself (RFC 7519 §5.1, RFC 9068 §2.1).
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// What a user may do beyond their own uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads the events of the company.
    Auditor,
    /// Sets the company's limits, and keeps its directory.
    Admin,
    /// The host product: keeps the directories of all companies. No user.
    Service,
    /// A role that Waybill gives no meaning to.
    #[serde(other)]
    Other,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user.
    pub user_id: UserId,
    /// Their company.
    pub company_id: CompanyId,
    /// What they may do.
    pub roles: Vec<Role>,
    /// When the token ends.
    pub expires_at: Timestamp,
}

impl Principal {
    /// Demands a role.
    ///
    /// # Errors
    /// 403 `role_required`.
    pub fn require(&self, role: Role, name: &str) -> Result<(), Problem> {
        if self.roles.contains(&role) {
            return Ok(());
        }
        Err(Problem::new(403, "role_required", format!("this needs a token with the role {name}")))
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    company_id: String,
    #[serde(default)]
    roles: Vec<Role>,
    iss: String,
    aud: String,
    exp: i64,
}

/// Checks and makes tokens.
#[derive(Clone)]
pub struct Authenticator {
    decoding: DecodingKey,
    encoding: EncodingKey,
    validation: Validation,
    issuer: String,
    audience: String,
}

/// The secret is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("WAYBILL_JWT_HS256_SECRET must have at least 32 bytes")]
pub struct SecretTooShort;

impl Authenticator {
    /// Tokens signed with `secret`, of `issuer`, for `audience`.
    ///
    /// # Errors
    /// [`SecretTooShort`].
    pub fn hs256(secret: &str, issuer: &str, audience: &str) -> Result<Self, SecretTooShort> {
        if secret.len() < SECRET_MIN_BYTES {
            return Err(SecretTooShort);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = 5;
        Ok(Self {
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            validation,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        })
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// 401 `token_invalid`, whatever is wrong with it.
    pub fn authenticate(&self, token: &str) -> Result<Principal, Problem> {
        let invalid = || Problem::new(401, "token_invalid", "the token is missing, expired or not for this service");
        // A token that was made for something else, such as to be exchanged for this one (RFC 8725 §3.11).
        let typ = decode_header(token).map_err(|_| invalid())?.typ;
        if !typ.is_none_or(|typ| TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known))) {
            return Err(invalid());
        }
        let claims = decode::<Claims>(token, &self.decoding, &self.validation).map_err(|_| invalid())?.claims;
        Ok(Principal {
            user_id: claims.sub.parse().map_err(|_| invalid())?,
            company_id: claims.company_id.parse().map_err(|_| invalid())?,
            roles: claims.roles,
            expires_at: Timestamp(claims.exp.saturating_mul(1_000)),
        })
    }

    /// A token for `principal`; for development.
    ///
    /// # Errors
    /// Where signing fails.
    pub fn mint(&self, principal: &Principal) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            sub: principal.user_id.to_string(),
            company_id: principal.company_id.to_string(),
            roles: principal.roles.clone(),
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            exp: principal.expires_at.0 / 1_000,
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }
}

impl FromRequest for Principal {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(from_header(request))
    }
}

fn from_header(request: &HttpRequest) -> Result<Principal, Problem> {
    // Somebody looked before.
    if let Some(principal) = request.extensions().get::<Principal>() {
        return Ok(principal.clone());
    }
    let authenticator = request.app_data::<web::Data<Authenticator>>().ok_or_else(Problem::internal)?;
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, token) = header.split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Problem::new(401, "token_missing", "send Authorization: Bearer with a JSON Web Token"));
    }
    authenticator.authenticate(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_for_another_use_is_none() {
        let authenticator = Authenticator::hs256(&"s".repeat(32), "i", "a").unwrap();
        let claims = Claims {
            sub: uuid::Uuid::nil().to_string(),
            company_id: uuid::Uuid::nil().to_string(),
            roles: Vec::new(),
            iss: "i".to_owned(),
            aud: "a".to_owned(),
            exp: 4_000_000_000,
        };
        for (typ, is_good) in [(None, true), (Some("JWT"), true), (Some("at+JWT"), true), (Some("logout+jwt"), false)] {
            let header = Header { typ: typ.map(str::to_owned), ..Header::new(Algorithm::HS256) };
            let token = encode(&header, &claims, &authenticator.encoding).unwrap();
            assert_eq!(authenticator.authenticate(&token).is_ok(), is_good, "{typ:?}");
        }
    }
}
