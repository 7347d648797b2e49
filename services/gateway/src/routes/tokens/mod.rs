//! Download tokens: `/v1/files/{id}/tokens`, `/v1/tokens/{id}`, and `GET /d/{token}`, which requires no other
//! credentials.
//!
//! The text of a token is base64url of the company's id, the token's id and 256 random bits. Waybill stores only the
//! SHA-256 of the text. The gateway appends an event before the first byte of each download. If the token has
//! `max_downloads`, the append has an expectation, so that the limit holds for concurrent requests at all gateways.
//! Programs that only preview a link get a page without the file.

pub(crate) mod company;
pub(crate) mod download;
mod preview;

use crate::application::access::viewer;
use crate::application::files::find::find;
use crate::application::files::viewer::{Found, find_for};
use crate::application::gateway::Gateway;
use crate::application::tokens::hash;
use crate::http::download::check_readable;
use crate::http::parameters::{IdempotencyKey, MinPosition};
use crate::http::path::{FilePath, TokenPath};
use crate::http::problems::OrProblem;
use crate::http::response::{POSITION, private};
use crate::http::time::rfc3339;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_api::tokens::{IssueBody, TokenIssued, TokensQuery};
use waybill_data_plane::refused;
use waybill_domain::access::Operation;
use waybill_domain::token::Command;
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_read_model::queries::{DownloadToken, TokenFilter, TokenKey, list_tokens};
use waybill_schema::ErrorCode;
use waybill_schema::events::DownloadTokenIssued;
use waybill_schema::{CompanyId, FileId, TokenId, UploadId};
use waybill_service_kit::now;

routes!(issue, list, revoke);

const LIFETIME_DEFAULT_S: u32 = 3_600;

/// Maximum number of tokens on a page.
const PAGE_MAX: u16 = 200;

/// Page of download tokens, newest first.
#[derive(Serialize, ToSchema)]
struct TokenList {
    items: Vec<DownloadToken>,
    /// Cursor of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

/// Position in a list of tokens after which the next page begins. A cursor is valid only for lists of the same tokens.
#[derive(Serialize, Deserialize)]
struct TokenCursor {
    file: Option<FileId>,
    created_at: DateTime<Utc>,
    token: Uuid,
}

/// Page of tokens that a client asks for.
struct TokenPage {
    company: CompanyId,
    filter: TokenFilter,
    cursor: Option<String>,
    limit: Option<u16>,
}

async fn page_of(request: &HttpRequest, gateway: &Gateway, page: TokenPage) -> Result<TokenList, Problem> {
    let TokenPage { company, filter, cursor, limit } = page;
    let limit = usize::from(limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX));
    let after: Option<TokenCursor> = cursor.map(|cursor| gateway.cursors.read(company, &cursor)).transpose()?;
    if after.as_ref().is_some_and(|after| after.file != filter.file) {
        let text = "the cursor belongs to another list; start again without a cursor";
        return Err(Problem::bad_request(ErrorCode::CursorInvalid, text));
    }
    let after = after.map(|after| TokenKey { created_at: after.created_at, id: after.token });
    let mut connection = gateway.positions.connection(request, None).await?;
    // One more row tells if there is a next page.
    let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut items = list_tokens(&mut connection, company, filter, after, rows).await.or_problem("listing tokens")?;
    let has_next = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| has_next);
    let next = last.map(|last| TokenCursor { file: filter.file, created_at: last.created_at, token: last.id });
    Ok(TokenList { items, next_cursor: next.and_then(|next| gateway.cursors.seal(company, &next)) })
}

/// Issues a download token for a file
#[utoipa::path(
    tag = "tokens",
    operation_id = "issue_token",
    params(("id" = Uuid, Path), IdempotencyKey),
    request_body = IssueBody,
    responses(
        (status = 201, description = "The token. Waybill does not store its text and cannot show it again", body = TokenIssued),
        (status = 403, description = "`links_forbidden`"),
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
    FilePath(of): FilePath,
    body: web::Json<IssueBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let body = body.into_inner();
    let (file, _) = find(&request, &principal, of, &gateway, Operation::Download).await?;
    check_readable(&file)?;
    let company = principal.company_id;
    let context = gateway.context(&principal, id);
    gateway.registration.ensure(&principal, &context).await?;
    let policy = gateway.policies.links(company).await.or_problem("loading the rules of a company")?;
    let default_s = LIFETIME_DEFAULT_S.min(policy.max_age_s.unwrap_or(LIFETIME_DEFAULT_S));
    let lifetime_s = body.expires_in_s.unwrap_or(default_s);
    let max_downloads = body.max_downloads.unwrap_or(Some(1));
    policy.check_new(lifetime_s, max_downloads).map_err(refused)?;
    let named = json!([file.id, lifetime_s, max_downloads]).to_string();
    let route = "POST /v1/files/{id}/tokens";
    let token = TokenId(gateway.idempotency.id_for(&request, &principal, route, named.as_bytes()).await?);
    let key = request.headers().get("Idempotency-Key").map(|key| key.as_bytes());
    let kept = gateway.tokens.get(company, token);
    let text = match key {
        // The secrets may have been replaced since an earlier request with this key.
        Some(key) => {
            let known = gateway.tokens.look(&kept).await?.issued;
            known.and_then(|issued| gateway.tokens.issued_text(company, token, key, &issued))
        }
        None => None,
    };
    let text = text.unwrap_or_else(|| gateway.tokens.text(company, token, key));
    let at = now();
    let issued = DownloadTokenIssued {
        file_id: UploadId(file.id),
        user_id: principal.user_id,
        as_admin: viewer(&principal).is_admin,
        token_sha256: hash(&text),
        expires_at: at.plus_ms(i64::from(lifetime_s) * 1_000),
        max_downloads,
    };
    let (position, state) = gateway.tokens.run(&kept, &context, Command::Issue(issued, at)).await?;
    let expires_at = state.issued.as_ref().map(|issued| rfc3339(issued.expires_at));
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
    extensions(("x-waybill-points" = json!(2))),
    params(("id" = Uuid, Path), TokensQuery, MinPosition),
    responses(
        (status = 200, description = "A page of the file's tokens, newest first", body = TokenList),
    ),
)]
#[get("/v1/files/{id}/tokens")]
pub(crate) async fn list(
    request: HttpRequest,
    principal: Principal,
    FilePath(of): FilePath,
    query: web::Query<TokensQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let TokensQuery { active, cursor, limit } = query.into_inner();
    let (file, facts) = find(&request, &principal, of, &gateway, Operation::View).await?;
    let user = facts.check(viewer(&principal), Operation::Change, now()).is_err().then_some(principal.user_id);
    let filter = TokenFilter { file: Some(UploadId(file.id)), user, is_active: active };
    let page = TokenPage { company: principal.company_id, filter, cursor, limit };
    Ok(private(HttpResponse::Ok()).json(page_of(&request, &gateway, page).await?))
}

/// Revokes a download token
///
/// The user who issued the token, the uploader of the file and admins can revoke it.
#[utoipa::path(
    tag = "tokens",
    operation_id = "revoke_token",
    extensions(("x-waybill-token-in-path" = json!("id"))),
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
    TokenPath(token): TokenPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let not_found = || Problem::not_found("token");
    let company = principal.company_id;
    let kept = gateway.tokens.get(company, token);
    let issued = gateway.tokens.look(&kept).await?.issued.ok_or_else(not_found)?;
    if issued.user_id != principal.user_id {
        let Found { facts, .. } = find_for(&gateway, company, principal.user_id, issued.file_id).await?;
        facts.check(viewer(&principal), Operation::Change, now()).map_err(|_| not_found())?;
    }
    let context = gateway.context(&principal, id);
    let (position, _) = gateway.tokens.run(&kept, &context, Command::Revoke).await?;
    Ok(HttpResponse::NoContent().insert_header((POSITION, position)).finish())
}
