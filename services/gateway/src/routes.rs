//! All routes of the gateway.

use crate::{
    associations, audit, content, direct, directory, files, json, quota, resumable, sessions, tokens, uploads,
};
use actix_web::HttpResponse;
use actix_web::web::{self, delete, get, head, patch, post, put};
use waybill_service_kit::Problem;

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    json::configure(config);
    resumable::configure(config);
    direct::configure(config);
    directory::configure(config);
    config
        .route("/v1/sessions", post().to(sessions::open))
        .route("/v1/sessions/{id}", get().to(sessions::show))
        .route("/v1/sessions/{id}", delete().to(sessions::cancel))
        .route("/v1/sessions/{id}/close", post().to(sessions::close))
        .route("/v1/uploads", post().to(uploads::start))
        .route("/v1/uploads/{id}", get().to(uploads::show))
        .route("/v1/uploads/{id}", delete().to(uploads::cancel))
        .route("/v1/uploads/{id}/complete", post().to(uploads::complete))
        .route("/v1/uploads/{id}/chunks/{index}", put().to(uploads::put_chunk))
        .route("/v1/files", post().to(uploads::post_file))
        .route("/v1/files", get().to(files::list))
        .route("/v1/files/{id}", get().to(files::show))
        .route("/v1/files/{id}", patch().to(files::patch))
        .route("/v1/files/{id}", delete().to(files::delete))
        .route("/v1/files/{id}/restore", post().to(files::restore))
        .route("/v1/files/{id}/associations", post().to(associations::create))
        .route("/v1/files/{id}/associations", get().to(associations::list))
        .route("/v1/files/{id}/tokens", post().to(tokens::issue))
        .route("/v1/files/{id}/tokens", get().to(tokens::list))
        .route("/v1/tokens/{id}", delete().to(tokens::revoke))
        .route("/d/{token}", get().to(tokens::download))
        .route("/d/{token}", head().to(tokens::download))
        .route("/v1/associations/{id}", patch().to(associations::patch))
        .route("/v1/associations/{id}", delete().to(associations::revoke))
        .route("/v1/files/{id}/content", get().to(content::get))
        .route("/v1/files/{id}/content", head().to(content::head))
        .route("/v1/quota", get().to(quota::show))
        .route("/v1/audit", get().to(audit::list));
}

/// The answer where there is no route.
pub(crate) async fn unmatched() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found("route"))
}
