//! JSON bodies, query strings and paths that cannot be read, as problems.

use actix_web::error::{JsonPayloadError, PathError, PayloadError, QueryPayloadError};
use actix_web::{Error, HttpMessage, HttpRequest, web};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use waybill_service_kit::{Problem, body};

/// The largest JSON body.
const MAX_JSON_BYTES: usize = 64 * 1_024;

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(web::JsonConfig::default().limit(MAX_JSON_BYTES).error_handler(json_body))
        .app_data(web::PayloadConfig::default().limit(MAX_JSON_BYTES))
        .app_data(web::QueryConfig::default().error_handler(query))
        .app_data(web::PathConfig::default().error_handler(path));
}

/// A JSON body that may be left out.
///
/// # Errors
/// As with every JSON body.
pub(crate) async fn optional<T: Default + DeserializeOwned>(payload: web::Payload) -> Result<T, Problem> {
    let body = collect(payload, MAX_JSON_BYTES).await?;
    if body.is_empty() { Ok(T::default()) } else { parse(&body) }
}

async fn collect(payload: web::Payload, limit: usize) -> Result<web::Bytes, Problem> {
    let body = payload.to_bytes_limited(limit).await.map_err(|_| too_large())?;
    body.map_err(|error| match error.as_error::<PayloadError>() {
        Some(error) if body::is_too_slow(error) => too_slow(),
        _ => invalid(error.to_string()),
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| unreadable(&error))
}

fn invalid(detail: String) -> Problem {
    Problem::bad_request("json_invalid", detail)
}

/// JSON with a lone surrogate can be read, but is no text (RFC 8259 §8.2).
fn unreadable(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let status = if text.contains("surrogate") || text.contains("end of hex escape") { 422 } else { 400 };
    Problem::new(status, "json_invalid", text)
}

fn too_slow() -> Problem {
    Problem::new(408, "body_too_slow", "the body came too slowly; send it again")
}

/// A member that is there, be it `null`: tells "leave it" from "take it away".
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// A JSON body of at most `limit` bytes, where it may be larger than elsewhere.
///
/// # Errors
/// As with every JSON body.
pub(crate) async fn read<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<T, Problem> {
    let is_json =
        request.mime_type().ok().flatten().is_some_and(|mime_type| mime_type.essence_str() == "application/json");
    if !is_json {
        return Err(content_type_refused());
    }
    parse(&collect(payload, limit).await?)
}

fn too_large() -> Problem {
    Problem::new(413, "json_too_large", "the JSON body is larger than this route takes")
}

fn content_type_refused() -> Problem {
    Problem::new(415, "content_type_refused", "send application/json")
}

fn json_body(error: JsonPayloadError, _: &HttpRequest) -> Error {
    match error {
        JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => too_large().into(),
        JsonPayloadError::ContentType => content_type_refused().into(),
        JsonPayloadError::Payload(error) if body::is_too_slow(&error) => too_slow().into(),
        JsonPayloadError::Deserialize(error) => unreadable(&error).into(),
        error => invalid(error.to_string()).into(),
    }
}

fn query(error: QueryPayloadError, _: &HttpRequest) -> Error {
    Problem::bad_request("query_invalid", error.to_string()).into()
}

/// A path with something that is no id: there is nothing there.
fn path(_: PathError, _: &HttpRequest) -> Error {
    Problem::not_found("object").into()
}
