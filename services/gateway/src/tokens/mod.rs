//! Download tokens: `/v1/files/{id}/tokens`, `/v1/tokens/{id}`, and `GET /d/{token}`, which needs nothing else.
//!
//! A token's text is base64url of the company's id, its own id and 256 random bits; only the text's SHA-256 is kept. Each
//! answer is an event before its first byte, with expectation where the token has `max_downloads`: that holds whoever asks
//! at once, and at whichever gateway. Programs that only look at a link get a page without the file.

mod kept;
mod preview;
mod running;

pub(crate) use running::Sending;

use crate::api::{Bytes, IdempotencyKey, MinPosition, RangeHeaders};
use crate::content::{self, Prepared, check_readable, disposition, prepare, without_bytes};
use crate::files::{find, private};
use crate::gateway::{Gateway, viewer};
use crate::position::POSITION;
use crate::problems::{IntoProblem, refused};
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, USER_AGENT};
use actix_web::{HttpRequest, HttpResponse, delete, get, post, route, web};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use hmac::{Hmac, KeyInit, Mac};
use kept::{KeptToken, KeptTokens};
use rand::RngCore;
use running::Running;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_access::Wanted;
use waybill_domain::access::{Operation, Viewer};
use waybill_domain::token::{Asked, By, Command};
use waybill_object_store::presign::Presign;
use waybill_read_model::queries::{DownloadToken, File, find_file, list_tokens};
use waybill_repository::Context;
use waybill_schema::events::DownloadTokenIssuedV1;
use waybill_schema::{Actor, ByteRange, CompanyId, FileId, Sha256Digest, TokenId, UploadId};
use waybill_service_kit::{Principal, Problem, RequestId, now};

const LIFETIME_DEFAULT_S: u32 = 3_600;
/// How many tokens a list shows.
const LIST_MAX: i64 = 200;
/// How long a URL of the store is good that a client is sent on to.
const REDIRECT_LIFETIME: Duration = Duration::from_secs(60);
/// The longest user agent that is recorded, in bytes.
const AGENT_MAX_BYTES: usize = 256;
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

/// `GET` and `HEAD /d/{token}`.
#[utoipa::path(
    tag = "tokens",
    operation_id = "download_by_token",
    params(("token" = String, Path), RangeHeaders),
    responses(
        (status = 200, description = "The bytes; a HEAD is free, and whoever only looks at the link gets a page", content_type = "*/*", body = Bytes),
        (status = 206, description = "The bytes of the range", content_type = "*/*", body = Bytes),
        (status = 302, description = "To a presigned URL of the store"),
        (status = 304, description = "What the client has is current"),
        (status = 409, description = "`file_not_ready`"),
        (status = 410, description = "`token_ended`, `file_deleted`"),
        (status = 416, description = "`range_unsatisfiable`"),
        (status = 429, description = "`download_running`: the file is being sent by this token"),
    ),
)]
#[route("/d/{token}", method = "GET", method = "HEAD")]
pub(crate) async fn download(
    request: HttpRequest,
    id: RequestId,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let not_found = || Problem::not_found("token");
    let (company, token) = parse(&path).ok_or_else(not_found)?;
    let kept = gateway.tokens.kept.get(company, token);
    let state = kept.look(&gateway).await?;
    let issued = state.issued.as_ref().ok_or_else(not_found)?;
    let is_it = issued.token_sha256.0.ct_eq(&hash(&path).0);
    if !bool::from(is_it) {
        return Err(not_found());
    }
    let issued = state.check(now()).map_err(|refusal| refused(&refusal))?.clone();
    let issuer = Viewer { user_id: issued.user_id, is_admin: issued.as_admin };
    let (file, facts) = facts_of(&gateway, company, issuer, issued.file_id).await?;
    // Whoever has a link is told no more than that it is good or not.
    facts.check(issuer, Operation::Download, now()).map_err(|_| not_found())?;
    check_readable(&file)?;
    let (answer, range) = match prepare(&request, &file)? {
        Prepared::Done(answer) => return Ok(answer),
        Prepared::Body(answer, range) => (answer, range),
    };
    if request.method() == Method::HEAD {
        return Ok(without_bytes(answer, range));
    }
    if preview::only_looks(request.headers()) {
        return Ok(preview::page());
    }
    let is_redirected = gateway.tokens.redirects && issued.max_downloads.is_none();
    let by = by(&request, &gateway);
    let mut asked = Asked {
        request: Uuid::now_v7(),
        by,
        range,
        size_bytes: file.size_bytes.unsigned_abs(),
        now: now(),
        has_waited: false,
        stopped: BTreeSet::new(),
    };
    // Nobody of the company is there, only a token: the service acts, for whoever handed it out.
    let context = Context {
        actor: Actor::Service("download".to_owned()),
        causation: id.causation(),
        address: id.address,
        clock: now,
    };
    let serve = |asked: Asked| kept.record(&gateway, &context, &issued, Command::Serve(asked));
    let served = match serve(asked.clone()).await {
        Err(problem) if problem.code == "download_running" => {
            // One person may have asked twice; of many who ask at once all but the first are turned away.
            asked.stopped = gateway.tokens.running.wait(token).await.ok_or(problem)?;
            (asked.now, asked.has_waited) = (now(), true);
            serve(asked.clone()).await
        }
        served => served,
    };
    served?;
    let ended = Ended {
        gateway: gateway.clone(),
        context: context.clone(),
        token,
        request: asked.request,
        kept: kept.clone(),
        issued: issued.clone(),
    };
    if is_redirected {
        ended.tell(range).await;
        return redirect(&gateway, &file).await;
    }
    let sending = gateway.tokens.running.begin(token, asked.request, range, ended);
    content::send_noted(&gateway, &file, answer, range, Some(sending)).await
}

fn by(request: &HttpRequest, gateway: &Gateway) -> By {
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let user_agent = agent.map(|agent| agent.chars().take(AGENT_MAX_BYTES).collect());
    By { ip_address: gateway.proxies.client(request), user_agent }
}

/// Says in the log what an answer has sent, when it has ended.
pub(crate) struct Ended {
    gateway: web::Data<Gateway>,
    context: Context,
    token: TokenId,
    request: Uuid,
    kept: Arc<KeptToken>,
    issued: DownloadTokenIssuedV1,
}

impl Ended {
    /// Records what was sent. If that fails, the whole range counts as sent, and the claim does not count as delivered.
    pub(crate) async fn tell(&self, sent: ByteRange) {
        let command = Command::EndServing { request: self.request, sent };
        let told = self.kept.record(&self.gateway, &self.context, &self.issued, command).await;
        if let Err(problem) = told {
            tracing::warn!(token_id = %self.token, code = problem.code, "the end of a download is not recorded");
        }
    }
}

/// To the store, for a minute: to an object that is there, also if the tables do not know it yet. Type and name are part of what is signed.
async fn redirect(gateway: &Gateway, file: &File) -> Result<HttpResponse, Problem> {
    let key = content::key_of(gateway, file).await?;
    let content_disposition = disposition(file.display_name.as_ref().unwrap_or(&file.original_name));
    let wanted = Presign::GetObject { content_type: &file.mime_type, content_disposition: &content_disposition };
    let signed = gateway.presigner.presign(&key, &wanted, REDIRECT_LIFETIME);
    let signed = signed.map_err(|error| error.into_problem("signing a download"))?;
    Ok(HttpResponse::Found()
        .insert_header((LOCATION, signed.url))
        .insert_header((CACHE_CONTROL, "private, no-store"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .finish())
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
