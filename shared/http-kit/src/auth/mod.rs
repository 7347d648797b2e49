//! Authentication with JSON Web Tokens (RFC 7519). Each issuer has its keys and the rules which users, roles and
//! companies it may assert. The `iss` of a token selects the issuer.

mod claims;
mod config;
mod issuer;
mod jwks;
mod listener_kind;
mod principal;

pub use config::{ClaimNames, IssuerConfig, IssuersError};
pub use issuer::MintError;
pub use jwks::KeySetError;
pub use listener_kind::ListenerKind;
pub use principal::{Principal, Role, token_invalidated};

use crate::Problem;
use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use issuer::{Issuer, Refused};
use jsonwebtoken::dangerous::insecure_decode;
use principal::token_invalid;
use serde::Deserialize;
use std::future::ready;
use std::sync::Arc;
use waybill_schema::ErrorCode;
use waybill_service_kit::Secrets;

/// Verifies tokens, and issues tokens for development.
#[derive(Clone)]
pub struct Authenticator {
    issuers: Arc<[Issuer]>,
}

/// Claim that selects the issuer of a token.
#[derive(Deserialize)]
struct Issued {
    iss: String,
}

/// Marker in the extensions of a request whose token was good until it expired or was invalidated. A client that sends such a
/// token does not guess tokens.
pub struct ExpiredToken;

impl Authenticator {
    /// Accepts tokens of these issuers.
    ///
    /// # Errors
    /// [`IssuersError`].
    pub fn new(issuers: Vec<IssuerConfig>) -> Result<Self, IssuersError> {
        config::check_all(&issuers)?;
        Ok(Self { issuers: issuers.into_iter().map(Issuer::new).collect::<Result<_, _>>()? })
    }

    /// Accepts tokens of one issuer that are signed with one of `secrets` (HS256). For development.
    pub fn hs256(secrets: &Secrets, issuer: IssuerConfig) -> Self {
        Self { issuers: Arc::new([Issuer::with_secrets(secrets, issuer)]) }
    }

    /// Accepts tokens of one issuer that are signed with a key that it publishes: RS256, ES256 or EdDSA.
    ///
    /// # Errors
    /// [`IssuersError`].
    pub fn published(issuer: IssuerConfig) -> Result<Self, IssuersError> {
        Ok(Self { issuers: Arc::new([Issuer::new(issuer)?]) })
    }

    /// Checks that tokens can be verified at the moment. Returns a description of the keys.
    ///
    /// # Errors
    /// A description of the problem.
    pub async fn check(&self) -> Result<String, String> {
        let mut found = Vec::new();
        for issuer in self.issuers.iter() {
            found.push(issuer.check().await.map_err(|problem| format!("{}: {problem}", issuer.name()))?);
        }
        Ok(found.join("; "))
    }

    /// Verifies a token and returns its owner.
    ///
    /// # Errors
    /// 401 `token_invalid` if anything is wrong with the token; 503 if the published keys cannot be fetched.
    pub async fn authenticate(&self, token: &str) -> Result<Principal, Problem> {
        self.verify(token).await.map_err(|refused| refused.problem)
    }

    async fn verify(&self, token: &str) -> Result<Principal, Refused> {
        // The claim only selects the keys. The issuer verifies it with them.
        let issued = insecure_decode::<Issued>(token).map_err(|_| token_invalid())?.claims;
        let issuer = self.issuers.iter().find(|issuer| issuer.name() == issued.iss).ok_or_else(token_invalid)?;
        issuer.verify(token).await
    }

    /// Issues a token for `principal`, for development.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn mint(&self, principal: &Principal) -> Result<String, MintError> {
        self.issuers.first().ok_or(MintError::Published)?.mint(principal)
    }
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
    authenticator.verify(token.trim()).await.map_err(|refused| {
        if refused.is_expired {
            request.extensions_mut().insert(ExpiredToken);
        }
        refused.problem
    })
}
