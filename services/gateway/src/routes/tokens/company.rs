//! `/v1/admin/companies/{company}/tokens`: the download tokens of a company, for its admins and the host product. A user
//! who is no admin any more keeps the links that they issued as one, so that somebody else must be able to find and
//! revoke them.

use super::{TokenList, TokenPage, page_of};
use crate::application::administration::Administration;
use crate::application::gateway::Gateway;
use crate::http::parameters::{CompanyPath, MinPosition};
use crate::http::path::TokenPath;
use crate::http::problems::OrProblem;
use crate::http::response::{POSITION, private};
use actix_web::{HttpRequest, HttpResponse, delete, get, web};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use waybill_api::tokens::{CompanyTokensQuery, RevokeTokensQuery, TokensRevoked};
use waybill_domain::token::Command;
use waybill_http_kit::Problem;
use waybill_read_model::queries::{TokenFilter, list_tokens};
use waybill_schema::TokenId;

routes!(list, revoke_all, revoke);

/// Maximum number of tokens that one request revokes.
const REVOKED_MAX: usize = 1_000;

/// Number of tokens that are revoked in parallel.
const AT_ONCE: usize = 8;

/// Lists the download tokens of a company
#[utoipa::path(
    tag = "tokens",
    operation_id = "list_company_tokens",
    extensions(("x-waybill-points" = json!(2))),
    params(CompanyPath, CompanyTokensQuery, MinPosition),
    responses(
        (status = 200, description = "A page of the tokens, newest first", body = TokenList),
    ),
)]
#[get("/v1/admin/companies/{company}/tokens")]
pub(crate) async fn list(
    request: HttpRequest,
    by: Administration,
    query: web::Query<CompanyTokensQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let CompanyTokensQuery { user_id, file_id, active, cursor, limit } = query.into_inner();
    let filter = TokenFilter { file: file_id, user: user_id, is_active: active };
    let page = TokenPage { company: by.company, filter, cursor, limit };
    Ok(private(HttpResponse::Ok()).json(page_of(&request, &gateway, page).await?))
}

/// Revokes the download tokens of a company, of a user or of a file
///
/// Running downloads with these tokens stop. One request revokes at most 1,000 tokens; repeat it until `is_complete` is
/// true. Send `Waybill-Min-Position` to include tokens that were issued shortly before.
#[utoipa::path(
    tag = "tokens",
    operation_id = "revoke_company_tokens",
    params(CompanyPath, RevokeTokensQuery, MinPosition),
    responses(
        (status = 200, description = "The number of revoked tokens", body = TokensRevoked),
    ),
)]
#[delete("/v1/admin/companies/{company}/tokens")]
pub(crate) async fn revoke_all(
    request: HttpRequest,
    by: Administration,
    query: web::Query<RevokeTokensQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let RevokeTokensQuery { user_id, file_id } = query.into_inner();
    let filter = TokenFilter { file: file_id, user: user_id, is_active: true };
    let mut connection = gateway.positions.connection(&request, None).await?;
    let limit = i64::try_from(REVOKED_MAX).unwrap_or(i64::MAX);
    let found = list_tokens(&mut connection, by.company, filter, None, limit).await.or_problem("listing tokens")?;
    drop(connection);
    let is_complete = found.len() < REVOKED_MAX;
    let revocations = found.iter().map(|token| {
        let kept = gateway.tokens.get(by.company, TokenId(token.id));
        let (tokens, context) = (&gateway.tokens, &by.context);
        async move { tokens.run(&kept, context, Command::Revoke).await }
    });
    let revocations: Vec<_> = revocations.collect();
    let done: Vec<_> = stream::iter(revocations).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(HttpResponse::Ok().json(TokensRevoked { revoked: done.len(), is_complete }))
}

/// Revokes a download token of a company
#[utoipa::path(
    tag = "tokens",
    operation_id = "revoke_company_token",
    extensions(("x-waybill-token-in-path" = json!("id"))),
    params(CompanyPath, ("id" = Uuid, Path)),
    responses(
        (status = 204, description = "The token is revoked"),
    ),
)]
#[delete("/v1/admin/companies/{company}/tokens/{id}")]
pub(crate) async fn revoke(
    by: Administration,
    TokenPath(token): TokenPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let kept = gateway.tokens.get(by.company, token);
    let (position, _) = gateway.tokens.run(&kept, &by.context, Command::Revoke).await?;
    Ok(HttpResponse::NoContent().insert_header((POSITION, position)).finish())
}
