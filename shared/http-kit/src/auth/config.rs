//! Configuration of issuers of tokens: their keys, and what their tokens may assert.

use super::jwks::KeySetError;
use super::principal::Role;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use waybill_schema::CompanyId;
use waybill_service_kit::SecretError;

/// An issuer of tokens, as in the file of issuers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The `iss` claim of its tokens.
    pub issuer: String,
    /// Required `aud` claim.
    pub audience: String,
    /// URL of its published keys (JWKS). Exactly one of `jwks_url` and `secret_file` is set.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// File with secrets for HS256, one per line. All are accepted.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Accepted values of the header `typ`. If the list is empty, access tokens (RFC 9068) and tokens without a type are
    /// accepted.
    #[serde(default)]
    pub types: Vec<String>,
    /// Accepted clients: values of `azp`, or of `client_id` if there is no `azp`. If the list is empty, all are accepted.
    #[serde(default)]
    pub clients: Vec<String>,
    /// Maximum age of a token in seconds. Tokens then need `iat`.
    #[serde(default)]
    pub max_age_s: Option<u32>,
    /// Names of the claims.
    #[serde(default)]
    pub claims: ClaimNames,
    /// Roles that its tokens may assert, with their names in the tokens. Other roles in a token count as unknown.
    #[serde(default)]
    pub roles: BTreeMap<Role, String>,
    /// Companies for which it may issue tokens. If the list is absent, it may for all.
    #[serde(default)]
    pub companies: Option<Vec<CompanyId>>,
    /// Company of all tokens. The claim is then not read.
    #[serde(default)]
    pub company: Option<CompanyId>,
}

/// Names of the claims with the user, the company and the roles. A name that begins with `/` is a JSON pointer (RFC
/// 6901), such as `/realm_access/roles`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimNames {
    /// UUID of the user.
    pub user: String,
    /// UUID of the company.
    pub company: String,
    /// List of roles, or a text with roles that are separated by spaces.
    pub roles: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { user: "sub".to_owned(), company: "company_id".to_owned(), roles: "roles".to_owned() }
    }
}

/// Error of the configuration of issuers.
#[derive(Debug, thiserror::Error)]
pub enum IssuersError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The file is not a list of issuers.
    #[error("{} is not a JSON list of issuers: {source}", .file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// The issuers contradict each other or themselves.
    #[error("issuer {issuer}: {reason}")]
    Invalid {
        /// `iss` of the issuer.
        issuer: String,
        /// The reason.
        reason: &'static str,
    },
    /// The URL of the keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeySetError),
    /// The secrets cannot be used.
    #[error(transparent)]
    Secrets(#[from] SecretError),
}

impl IssuerConfig {
    /// Returns the configuration of an issuer that may assert all roles for all companies.
    pub fn of(issuer: &str, audience: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            jwks_url: None,
            secret_file: None,
            types: Vec::new(),
            clients: Vec::new(),
            max_age_s: None,
            claims: ClaimNames::default(),
            roles: [(Role::Admin, "admin"), (Role::Auditor, "auditor"), (Role::Service, "service")]
                .map(|(role, name)| (role, name.to_owned()))
                .into(),
            companies: None,
            company: None,
        }
    }

    /// Reads a file with a JSON list of issuers.
    ///
    /// # Errors
    /// [`IssuersError`].
    pub fn read_all(file: &Path) -> Result<Vec<Self>, IssuersError> {
        let text = std::fs::read(file).map_err(|source| IssuersError::Read { file: file.to_owned(), source })?;
        serde_json::from_slice(&text).map_err(|source| IssuersError::Parse { file: file.to_owned(), source })
    }

    fn invalid(&self, reason: &'static str) -> IssuersError {
        IssuersError::Invalid { issuer: self.issuer.clone(), reason }
    }
}

/// Checks that the issuers can be distinguished, and that the host product is a principal of its own.
pub(super) fn check_all(issuers: &[IssuerConfig]) -> Result<(), IssuersError> {
    if issuers.is_empty() {
        let reason = "the list of issuers is empty; add at least one";
        return Err(IssuersError::Invalid { issuer: String::new(), reason });
    }
    let mut names = BTreeSet::new();
    for issuer in issuers {
        if !names.insert(&issuer.issuer) {
            return Err(issuer.invalid("it is in the list twice"));
        }
        if issuer.jwks_url.is_some() == issuer.secret_file.is_some() {
            return Err(issuer.invalid("set exactly one of jwks_url and secret_file"));
        }
        if issuer.roles.contains_key(&Role::Other) {
            return Err(issuer.invalid("roles can have the keys admin, auditor and service"));
        }
        let asserts_users = issuer.roles.contains_key(&Role::Admin) || issuer.roles.contains_key(&Role::Auditor);
        if issuer.roles.contains_key(&Role::Service) && asserts_users {
            return Err(issuer.invalid(
                "service stands for the host product; give it an issuer of its own, without admin and auditor",
            ));
        }
        if issuer.company.is_some() && issuer.companies.is_some() {
            return Err(issuer.invalid("set company or companies, not both"));
        }
    }
    Ok(())
}
