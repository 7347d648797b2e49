//! Verification of the tokens of one issuer. They are signed with keys that it publishes or, for development, with a
//! shared secret (HS256). The key determines the algorithm, and keys or URLs in the header of a token are never used.

use super::claims::{LEEWAY_S, principal};
use super::config::{IssuerConfig, IssuersError};
use super::jwks::{self, KeySet, NoKey};
use super::principal::{Principal, Role, token_invalid};
use crate::Problem;
use jsonwebtoken::errors::{self, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use waybill_schema::ErrorCode;
use waybill_service_kit::{Secrets, now};

/// Values of the header `typ` that are accepted by default (RFC 7519 §5.1, RFC 9068 §2.1).
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// The claims of a token that Waybill issues for development.
#[derive(Serialize)]
struct Minted<'a> {
    sub: String,
    company_id: String,
    roles: &'a [Role],
    iss: &'a str,
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    exp: i64,
}

/// The keys with which tokens are verified.
enum Keys {
    /// Shared secrets, for development. The first one signs.
    Secret { decoding: Vec<DecodingKey>, encoding: EncodingKey },
    /// The keys that an identity provider publishes.
    Published(Arc<KeySet>),
}

/// A refused token.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) problem: Problem,
    /// `true` if only the time is wrong: a trusted key has signed the token.
    pub(super) is_expired: bool,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { problem, is_expired: false }
    }
}

/// An issuer of tokens.
pub(super) struct Issuer {
    config: IssuerConfig,
    keys: Keys,
    /// The validation rules for each algorithm. They are created once, because creating them costs more than using
    /// them.
    validations: Vec<(Algorithm, Validation)>,
}

/// The reason why no token is issued.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// Only the identity provider issues tokens.
    #[error("only the identity provider issues tokens, because published keys are set")]
    Published,
    /// The token cannot be signed.
    #[error("cannot sign the token: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

impl Issuer {
    /// Creates an issuer with the keys that its configuration names.
    pub(super) fn new(config: IssuerConfig) -> Result<Self, IssuersError> {
        if let Some(file) = &config.secret_file {
            let secrets = Secrets::read("secret", "", Some(file))?;
            return Ok(Self::with_secrets(&secrets, config));
        }
        let url = config.jwks_url.as_deref().unwrap_or_default();
        let keys = Keys::Published(Arc::new(KeySet::new(url)?));
        Ok(Self::with(keys, &jwks::ALGORITHMS, config))
    }

    /// Creates an issuer whose tokens are signed with one of `secrets`.
    pub(super) fn with_secrets(secrets: &Secrets, config: IssuerConfig) -> Self {
        let keys = Keys::Secret {
            decoding: secrets.all().map(DecodingKey::from_secret).collect(),
            encoding: EncodingKey::from_secret(secrets.all().next().unwrap_or_default()),
        };
        Self::with(keys, &[Algorithm::HS256], config)
    }

    fn with(keys: Keys, algorithms: &[Algorithm], config: IssuerConfig) -> Self {
        let validations = algorithms.iter().map(|algorithm| (*algorithm, validation(*algorithm, &config))).collect();
        Self { config, keys, validations }
    }

    /// Returns the `iss` of its tokens.
    pub(super) fn name(&self) -> &str {
        &self.config.issuer
    }

    /// Checks that tokens can be verified at the moment. Returns a description of the keys.
    pub(super) async fn check(&self) -> Result<String, String> {
        match &self.keys {
            Keys::Secret { .. } => Ok("a shared secret (for development)".to_owned()),
            Keys::Published(keys) => match keys.fetch().await?.len() {
                0 => Err("no published key can be used for RS256, ES256 or EdDSA".to_owned()),
                count => Ok(format!("{count} published keys")),
            },
        }
    }

    /// Verifies a token and returns its owner.
    pub(super) async fn verify(&self, token: &str) -> Result<Principal, Refused> {
        let header = decode_header(token).map_err(|_| token_invalid())?;
        self.check_header(&header)?;
        let claims = match &self.keys {
            // The keys have no ids. Any plain id is accepted, but not a path or a URL.
            Keys::Secret { .. } if !header.kid.as_deref().is_none_or(is_key_name) => return Err(token_invalid().into()),
            Keys::Secret { decoding, .. } => {
                let mut verified = Err(token_invalid().into());
                for key in decoding {
                    verified = self.verified(token, Algorithm::HS256, key);
                    if verified.as_ref().map_or_else(|refused| refused.is_expired, |_| true) {
                        break;
                    }
                }
                verified
            }
            // The id of a published key can be any text (RFC 7517 §4.5). It is only compared.
            Keys::Published(keys) => {
                let found = keys.find(header.kid.as_deref().ok_or_else(token_invalid)?).await;
                let key = found.map_err(|no_key| match no_key {
                    NoKey::Unknown => token_invalid(),
                    NoKey::Unavailable => {
                        Problem::unavailable("The keys of the identity provider cannot be fetched. Try again.")
                    }
                })?;
                self.verified(token, key.algorithm, &key.decoding)
            }
        };
        let owner = principal(&claims?, &self.config, now()).ok_or_else(token_invalid)?;
        if owner.is_host() && owner.roles.len() > 1 {
            return Err(Problem::new(
                401,
                ErrorCode::TokenInvalid,
                "The role service stands for the host product. A token with this role must not have the role admin or \
                 auditor.",
            )
            .into());
        }
        Ok(owner)
    }

    fn check_header(&self, header: &Header) -> Result<(), Problem> {
        // Refuse tokens that bring their own key or the URL of a key (RFC 8725 §3.10).
        let has_key = header.jku.is_some() || header.x5u.is_some() || header.jwk.is_some() || header.x5c.is_some();
        // Refuse extensions that must be understood: Waybill knows none (RFC 7515 §4.1.11).
        let has_extension = header.crit.is_some();
        // Refuse tokens that were issued for another purpose, such as a logout token (RFC 8725 §3.11).
        let typ = header.typ.as_deref();
        let is_access_token = if self.config.types.is_empty() {
            typ.is_none_or(|typ| TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known)))
        } else {
            typ.is_some_and(|typ| self.config.types.iter().any(|known| typ.eq_ignore_ascii_case(known)))
        };
        if has_key || has_extension || !is_access_token { Err(token_invalid()) } else { Ok(()) }
    }

    /// Returns the claims of a token with a valid signature. The key determines the algorithm, never the token.
    fn verified(&self, token: &str, algorithm: Algorithm, key: &DecodingKey) -> Result<Value, Refused> {
        let validation = self.validations.iter().find(|(of, _)| *of == algorithm);
        let (_, validation) = validation.ok_or_else(token_invalid)?;
        // The signature is checked before the expiry.
        let is_expired = |error: &errors::Error| *error.kind() == ErrorKind::ExpiredSignature;
        let decoded = decode::<Value>(token, key, validation);
        let decoded = decoded.map_err(|error| Refused { is_expired: is_expired(&error), problem: token_invalid() })?;
        Ok(decoded.claims)
    }

    /// Issues a token for `principal`.
    pub(super) fn mint(&self, principal: &Principal) -> Result<String, MintError> {
        let Keys::Secret { encoding, .. } = &self.keys else { return Err(MintError::Published) };
        let claims = Minted {
            sub: principal.user_id.to_string(),
            company_id: principal.company_id.to_string(),
            roles: &principal.roles,
            iss: &self.config.issuer,
            aud: &self.config.audience,
            iat: principal.issued_at.map(|at| at.0 / 1_000),
            exp: principal.expires_at.0 / 1_000,
        };
        Ok(encode(&Header::new(Algorithm::HS256), &claims, encoding)?)
    }
}

/// Returns the validation rules for tokens that are signed with this algorithm.
fn validation(algorithm: Algorithm, config: &IssuerConfig) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[&config.issuer]);
    validation.set_audience(&[&config.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    validation.leeway = u64::from(LEEWAY_S);
    validation
}

/// Returns `true` if a `kid` is a plain name and not a path or URL.
fn is_key_name(kid: &str) -> bool {
    (1..=128).contains(&kid.len())
        && kid.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.=".contains(&b))
        && !kid.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(text: &str) -> Secrets {
        Secrets::read("WAYBILL_JWT_HS256_SECRET", text, None).unwrap()
    }

    fn token(secret: &str, header: &Header) -> String {
        let nil = uuid::Uuid::nil().to_string();
        let claims =
            Minted { sub: nil.clone(), company_id: nil, roles: &[], iss: "i", aud: "a", iat: None, exp: 4_000_000_000 };
        encode(header, &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    #[tokio::test]
    async fn a_jwt_of_another_type_than_an_access_token_is_refused() {
        let secret = "s".repeat(32);
        let is_good = async |types: &[&str], typ: Option<&str>| {
            let types = types.iter().map(|typ| (*typ).to_owned()).collect();
            let config = IssuerConfig { types, ..IssuerConfig::of("i", "a") };
            let issuer = Issuer::with_secrets(&secrets(&secret), config);
            let header = Header { typ: typ.map(str::to_owned), ..Header::new(Algorithm::HS256) };
            issuer.verify(&token(&secret, &header)).await.is_ok()
        };
        for (typ, expected) in [(None, true), (Some("JWT"), true), (Some("at+JWT"), true), (Some("logout+jwt"), false)]
        {
            assert_eq!(is_good(&[], typ).await, expected, "{typ:?}");
        }
        // An ID token has the type JWT or none.
        for (typ, expected) in [(None, false), (Some("JWT"), false), (Some("at+jwt"), true)] {
            assert_eq!(is_good(&["at+jwt"], typ).await, expected, "{typ:?}");
        }
    }

    #[tokio::test]
    async fn every_secret_of_the_list_is_accepted_and_the_first_one_signs() {
        let (new, old) = ("n".repeat(32), "o".repeat(32));
        let issuer = |text: &str| Issuer::with_secrets(&secrets(text), IssuerConfig::of("i", "a"));
        let of_old = token(&old, &Header::new(Algorithm::HS256));
        assert!(issuer(&format!("{new},{old}")).verify(&of_old).await.is_ok());
        assert!(issuer(&new).verify(&of_old).await.is_err());
        let owner = issuer(&new).verify(&token(&new, &Header::new(Algorithm::HS256))).await.unwrap();
        let minted = issuer(&format!("{new},{old}")).mint(&owner).unwrap();
        assert!(issuer(&new).verify(&minted).await.is_ok());
    }

    #[test]
    fn published_keys_are_fetched_only_over_https_or_from_loopback() {
        let issuer =
            |url: &str| Issuer::new(IssuerConfig { jwks_url: Some(url.to_owned()), ..IssuerConfig::of("i", "a") });
        for url in ["http://keys.example/jwks", "ftp://127.0.0.1/jwks", "keys"] {
            assert!(issuer(url).is_err(), "{url}");
        }
        assert!(issuer("https://keys.example/jwks").is_ok());
        assert!(issuer("http://127.0.0.1:1/jwks").is_ok());
    }
}
