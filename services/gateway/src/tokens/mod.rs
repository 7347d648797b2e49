//! Download tokens: `/v1/files/{id}/tokens`, `/v1/tokens/{id}`, and `GET /d/{token}`, which requires no other
//! credentials.
//!
//! The text of a token is base64url of the company's id, the token's id and 256 random bits. Waybill stores only the
//! SHA-256 of the text. The gateway appends an event before the first byte of each download. If the token has
//! `max_downloads`, the append has an expectation, so that the limit holds for concurrent requests at all gateways.
//! Programs that only preview a link get a page without the file.

mod download;
mod kept;
mod preview;
mod running;

pub(crate) use download::*;
pub(crate) use running::Sending;

use crate::api::{IdempotencyKey, MinPosition};
use crate::content::check_readable;
use crate::files::{find, private};
use crate::gateway::{Gateway, viewer};
use crate::position::POSITION;
use crate::problems::IntoProblem;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use hmac::{Hmac, KeyInit, Mac};
use kept::KeptTokens;
use rand::RngCore;
use running::Running;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_access::Wanted;
use waybill_domain::access::{Operation, Viewer};
use waybill_domain::token::Command;
use waybill_read_model::queries::{DownloadToken, File, find_file, list_tokens};
use waybill_schema::events::DownloadTokenIssuedV1;
use waybill_schema::{CompanyId, FileId, Sha256Digest, TokenId, UploadId};
use waybill_service_kit::{Principal, Problem, RequestId, now};

const LIFETIME_DEFAULT_S: u32 = 3_600;
/// Maximum number of tokens in a list.
const LIST_MAX: i64 = 200;
const SECRET_BYTES: usize = 32;
const TOKEN_BYTES: usize = 16 + 16 + SECRET_BYTES;

/// Settings of a new download token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssueBody {
    /// Lifetime in seconds; 3,600 by default.
    expires_in_s: Option<u32>,
    /// Maximum number of downloads: 1 to 10,000, 1 by default. `null` means no limit.
    #[serde(default, deserialize_with = "crate::json::present")]
    #[schema(value_type = Option<u32>)]
    max_downloads: Option<Option<u32>>,
}

/// New download token.
#[derive(Serialize, ToSchema)]
struct TokenIssued {
    #[schema(value_type = Uuid)]
    id: TokenId,
    file_id: Uuid,
    /// Text of the token. Only this response contains it.
    token: String,
    /// Path of the download, which contains the text of the token.
    url: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    max_downloads: Option<u32>,
}

/// Download tokens of a file.
#[derive(Serialize, ToSchema)]
struct TokenList {
    /// The newest 200 tokens, newest first.
    items: Vec<DownloadToken>,
    /// Always `null`, because the list has no further pages.
    next_cursor: Option<String>,
}

/// Download tokens in this gateway: cached states, running downloads and settings.
pub(crate) struct Tokens {
    kept: KeptTokens,
    /// Downloads that this gateway is sending.
    running: Arc<Running>,
    /// Derives the secret of a token whose request can be repeated.
    secrets: Hmac<Sha256>,
    /// `true` to redirect downloads of tokens without `max_downloads` to the object store.
    redirects: bool,
}

impl Tokens {
    /// Creates the state with a secret that all gateways share. Returns `None` if the secret cannot be a key.
    pub(crate) fn new(secret: &str, redirects: bool) -> Option<Self> {
        let mut secrets = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        secrets.update(b"waybill tokens\0");
        Some(Self { kept: KeptTokens::new(), running: Arc::default(), secrets, redirects })
    }

    /// Returns 256 random bits. For a request with an idempotency key, the bits are derived from that key and the
    /// token's id, so that a repeated request gets the same response.
    fn secret(&self, id: TokenId, repeated_as: Option<&[u8]>) -> [u8; SECRET_BYTES] {
        let mut secret = [0; SECRET_BYTES];
        match repeated_as {
            None => rand::rng().fill_bytes(&mut secret),
            Some(key) => {
                let mut mac = self.secrets.clone();
                mac.update(id.0.as_bytes());
                mac.update(key);
                secret.copy_from_slice(&mac.finalize().into_bytes());
            }
        }
        secret
    }
}

/// Returns the text of a token.
fn text_of(company: CompanyId, id: TokenId, secret: &[u8; SECRET_BYTES]) -> String {
    let mut bytes = Vec::with_capacity(TOKEN_BYTES);
    bytes.extend(company.0.as_bytes());
    bytes.extend(id.0.as_bytes());
    bytes.extend(secret);
    BASE64URL.encode(bytes)
}

/// Reads the company and the token's id from the text of a token. The caller must compare the hash of the text to find
/// out if the token is valid.
fn parse(text: &str) -> Option<(CompanyId, TokenId)> {
    let bytes = BASE64URL.decode(text).ok().filter(|bytes| bytes.len() == TOKEN_BYTES)?;
    let uuid = |from: usize| Uuid::from_slice(bytes.get(from..from + 16)?).ok();
    Some((CompanyId(uuid(0)?), TokenId(uuid(16)?)))
}

fn hash(text: &str) -> Sha256Digest {
    Sha256Digest(Sha256::digest(text.as_bytes()).into())
}

/// Issues a download token for a file
#[utoipa::path(
    tag = "tokens",
    operation_id = "issue_token",
    params(("id" = Uuid, Path), IdempotencyKey),
    request_body = IssueBody,
    responses(
        (status = 201, description = "The token. Waybill does not store its text and cannot show it again", body = TokenIssued),
        (status = 409, description = "`file_not_ready`"),
        (status = 410, description = "`file_deleted`"),
        (status = 422, description = "`token_settings_invalid`, `idempotency_key_reused`"),
    ),
)]
#[post("/v1/files/{id}/tokens")]
pub(crate) async fn issue(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    body: web::Json<IssueBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let body = body.into_inner();
    let (file, _) = find(&request, &principal, &path, &gateway, Operation::Download).await?;
    check_readable(&file)?;
    let company = principal.company_id;
    let context = gateway.context(&principal, id);
    gateway.registration.ensure(&principal, &context).await?;
    let lifetime_s = body.expires_in_s.unwrap_or(LIFETIME_DEFAULT_S);
    let max_downloads = body.max_downloads.unwrap_or(Some(1));
    let named = json!([file.id, lifetime_s, max_downloads]).to_string();
    let route = "POST /v1/files/{id}/tokens";
    let token = TokenId(gateway.idempotency.id_for(&request, &principal, route, named.as_bytes()).await?);
    let key = request.headers().get("Idempotency-Key").map(|key| key.as_bytes());
    let text = text_of(company, token, &gateway.tokens.secret(token, key));
    let at = now();
    let issued = DownloadTokenIssuedV1 {
        file_id: UploadId(file.id),
        user_id: principal.user_id,
        as_admin: viewer(&principal).is_admin,
        token_sha256: hash(&text),
        expires_at: at.plus_ms(i64::from(lifetime_s) * 1_000),
        max_downloads,
    };
    let kept = gateway.tokens.kept.get(company, token);
    let (position, state) = kept.run(&gateway, &context, Command::Issue(issued, at)).await?;
    let expires_at = state.issued.as_ref().map(|issued| crate::uploads::rfc3339(issued.expires_at));
    Ok(private(HttpResponse::Created()).insert_header((POSITION, position)).json(TokenIssued {
        id: token,
        file_id: file.id,
        url: format!("/d/{text}"),
        token: text,
        expires_at,
        max_downloads,
    }))
}

/// Lists the download tokens of a file
///
/// The uploader of the file and admins get all tokens, other users only those that they issued.
#[utoipa::path(
    tag = "tokens",
    operation_id = "list_tokens",
    params(("id" = Uuid, Path), MinPosition),
    responses(
        (status = 200, description = "The file's tokens, newest first", body = TokenList),
    ),
)]
#[get("/v1/files/{id}/tokens")]
pub(crate) async fn list(
    request: HttpRequest,
    principal: Principal,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (file, facts) = find(&request, &principal, &path, &gateway, Operation::View).await?;
    let of = facts.check(viewer(&principal), Operation::Change, now()).is_err().then_some(principal.user_id);
    let mut connection = gateway.positions.connection(&request, None).await?;
    let items = list_tokens(&mut connection, principal.company_id, UploadId(file.id), of, LIST_MAX)
        .await
        .map_err(|error| error.into_problem("listing tokens"))?;
    Ok(private(HttpResponse::Ok()).json(TokenList { items, next_cursor: None }))
}

/// Revokes a download token
///
/// The user who issued the token, the uploader of the file and admins can revoke it.
#[utoipa::path(
    tag = "tokens",
    operation_id = "revoke_token",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "The token is revoked"),
        (status = 410, description = "`token_ended`"),
    ),
)]
#[delete("/v1/tokens/{id}")]
pub(crate) async fn revoke(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let not_found = || Problem::not_found("token");
    let token: TokenId = path.parse().map_err(|_| not_found())?;
    let company = principal.company_id;
    let kept = gateway.tokens.kept.get(company, token);
    let issued = kept.look(&gateway).await?.issued.ok_or_else(not_found)?;
    if issued.user_id != principal.user_id {
        let facts = facts_of(&gateway, company, viewer(&principal), issued.file_id).await?;
        facts.1.check(viewer(&principal), Operation::Change, now()).map_err(|_| not_found())?;
    }
    let context = gateway.context(&principal, id);
    let (position, _) = kept.run(&gateway, &context, Command::Revoke).await?;
    Ok(HttpResponse::NoContent().insert_header((POSITION, position)).finish())
}

/// Finds the file and its access facts for `viewer`. The error is 404 if the file does not exist or the viewer's
/// account is not active.
async fn facts_of(
    gateway: &Gateway,
    company: CompanyId,
    viewer: Viewer,
    file: FileId,
) -> Result<(File, waybill_domain::access::FileFacts), Problem> {
    let mut connection =
        gateway.database.connection().await.map_err(|error| error.into_problem("connecting for a query"))?;
    let found = find_file(&mut connection, company, file).await;
    let mut found = found.map_err(|error| error.into_problem("finding a file"))?;
    let wanted = Wanted { files: vec![file], ..Wanted::default() };
    let mut known = gateway.access.look(&mut connection, company, viewer.user_id, &wanted).await?;
    let there = found.take().zip(known.files.remove(&file)).filter(|_| known.standing.is_active());
    let (mut file, facts) = there.ok_or_else(|| Problem::not_found("token"))?;
    // The access facts can be newer than the row.
    if facts.is_deleted {
        file.deleted_at.get_or_insert(file.updated_at);
    }
    Ok((file, facts))
}
