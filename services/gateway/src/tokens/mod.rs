//! Download tokens: `/v1/files/{id}/tokens`, `/v1/tokens/{id}`, and `GET /d/{token}`, which needs nothing else.
//!
//! A token's text is base64url of the company's id, its own id and 256 random bits; only the text's SHA-256 is kept. Each
//! answer is an event before its first byte, with expectation where the token has `max_downloads`: that holds whoever asks
//! at once, and at whichever gateway. Programs that only look at a link get a page without the file.

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
/// How many tokens a list shows.
const LIST_MAX: i64 = 200;
const SECRET_BYTES: usize = 32;
const TOKEN_BYTES: usize = 16 + 16 + SECRET_BYTES;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssueBody {
    /// An hour where it is left out.
    expires_in_s: Option<u32>,
    /// 1 where it is left out, any number where it is `null`; 10,000 at most.
    #[serde(default, deserialize_with = "crate::json::present")]
    #[schema(value_type = Option<u32>)]
    max_downloads: Option<Option<u32>>,
}

/// A token; its text is shown this once.
#[derive(Serialize, ToSchema)]
struct TokenIssued {
    #[schema(value_type = Uuid)]
    id: TokenId,
    file_id: Uuid,
    token: String,
    url: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    max_downloads: Option<u32>,
}

#[derive(Serialize, ToSchema)]
struct TokenList {
    items: Vec<DownloadToken>,
    /// Always `null`: the newest 200 are listed.
    next_cursor: Option<String>,
}

/// What is kept at hand of tokens.
pub(crate) struct Tokens {
    kept: KeptTokens,
    /// The answers that this gateway sends.
    running: Arc<Running>,
    secrets: Hmac<Sha256>,
    /// Whether clients are sent on to the store.
    redirects: bool,
}

impl Tokens {
    /// With a secret that all gateways share; `None` where it is none.
    pub(crate) fn new(secret: &str, redirects: bool) -> Option<Self> {
        let mut secrets = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        secrets.update(b"waybill tokens\0");
        Some(Self { kept: KeptTokens::new(), running: Arc::default(), secrets, redirects })
    }

    /// 256 random bits; the same ones for a request that is repeated, so that its answer is.
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

fn text_of(company: CompanyId, id: TokenId, secret: &[u8; SECRET_BYTES]) -> String {
    let mut bytes = Vec::with_capacity(TOKEN_BYTES);
    bytes.extend(company.0.as_bytes());
    bytes.extend(id.0.as_bytes());
    bytes.extend(secret);
    BASE64URL.encode(bytes)
}

/// The company and the id that a token's text names; whether the token is good, the hash says.
fn parse(text: &str) -> Option<(CompanyId, TokenId)> {
    let bytes = BASE64URL.decode(text).ok().filter(|bytes| bytes.len() == TOKEN_BYTES)?;
    let uuid = |from: usize| Uuid::from_slice(bytes.get(from..from + 16)?).ok();
    Some((CompanyId(uuid(0)?), TokenId(uuid(16)?)))
}

fn hash(text: &str) -> Sha256Digest {
    Sha256Digest(Sha256::digest(text.as_bytes()).into())
}

#[utoipa::path(
    tag = "tokens",
    operation_id = "issue_token",
    params(("id" = Uuid, Path), IdempotencyKey),
    request_body = IssueBody,
    responses(
        (status = 201, description = "Issued; the text is not kept and not shown again", body = TokenIssued),
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

/// One's own tokens; everybody's for the file's uploader and for admins.
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

/// By whoever handed it out, the file's uploader, and admins.
#[utoipa::path(
    tag = "tokens",
    operation_id = "revoke_token",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "Revoked"),
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

/// The file, and what is known of it and of `viewer`; 404 where there is none.
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
    // The facts are the newer ones.
    if facts.is_deleted {
        file.deleted_at.get_or_insert(file.updated_at);
    }
    Ok((file, facts))
}
