//! Reading of JSON bodies, and problems for JSON bodies, query strings and paths that cannot be read.

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::{JsonPayloadError, PathError, PayloadError, QueryPayloadError};
use actix_web::{Error, HttpMessage, HttpRequest, web};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::rc::Rc;
use waybill_http_kit::{Problem, body};
use waybill_schema::ErrorCode;

/// Maximum size of a JSON body on routes that do not set their own limit.
const MAX_JSON_BYTES: usize = 64 * 1_024;

/// Sets the limits and the error responses of actix-web's extractors.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(web::JsonConfig::default().limit(MAX_JSON_BYTES).error_handler(json_body))
        .app_data(web::PayloadConfig::default().limit(MAX_JSON_BYTES))
        .app_data(web::QueryConfig::default().error_handler(query))
        .app_data(web::PathConfig::default().error_handler(path));
}

/// Reads a JSON body of at most 64 KiB. Returns the default if the body is empty.
///
/// # Errors
/// 400 or 422 `json_invalid`, 408 `body_too_slow`, 413 `json_too_large`.
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
    serde_json::from_slice(body).map_err(|error| unreadable(&error, body))
}

fn invalid(detail: String) -> Problem {
    Problem::bad_request(ErrorCode::JsonInvalid, detail)
}

/// Returns the problem of a body that cannot be read: 422 if it contains half a surrogate pair, which JSON can express
/// but which is not valid Unicode (RFC 8259 §8.2), and 400 otherwise.
fn unreadable(error: &serde_json::Error, body: &[u8]) -> Problem {
    let status = if has_lone_surrogate(body) { 422 } else { 400 };
    Problem::new(status, ErrorCode::JsonInvalid, error.to_string())
}

/// Returns `true` if a string in `json` has a `\u` escape of half a surrogate pair. The search ends at the first
/// malformed or incomplete `\u` escape.
fn has_lone_surrogate(json: &[u8]) -> bool {
    let (mut rest, mut is_in_string) = (json, false);
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => is_in_string = !is_in_string,
            b'\\' if is_in_string => {
                let Some((kind, after)) = rest.split_first() else { return false };
                rest = after;
                if *kind != b'u' {
                    continue;
                }
                let Some((first, after)) = code_unit(rest) else { return false };
                rest = after;
                match first {
                    0xD800..=0xDBFF if rest.is_empty() || rest == b"\\" => return false,
                    0xD800..=0xDBFF => {
                        let Some(after) = rest.strip_prefix(b"\\u") else { return true };
                        let Some((second, after)) = code_unit(after) else { return false };
                        if !(0xDC00..=0xDFFF).contains(&second) {
                            return true;
                        }
                        rest = after;
                    }
                    0xDC00..=0xDFFF => return true,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    false
}

/// Reads the four hexadecimal digits of a `\u` escape. Returns the code unit and the bytes after it.
fn code_unit(json: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = json.split_at_checked(4)?;
    let unit = digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))?;
    Some((unit, rest))
}

/// Chunks of a request's body that were read, up to about [`MAX_JSON_BYTES`].
struct Received(Rc<RefCell<Vec<web::Bytes>>>);

/// Keeps the body of a request while its handler reads it. actix-web passes only the error to [`json_body`], which must
/// see the bytes, too.
pub(crate) fn remember_body(request: &mut ServiceRequest) {
    let received = Rc::<RefCell<Vec<web::Bytes>>>::default();
    let (kept, mut kept_bytes) = (received.clone(), 0);
    let body = request.take_payload().inspect(move |chunk| {
        if let Ok(chunk) = chunk
            && kept_bytes < MAX_JSON_BYTES
        {
            kept_bytes += chunk.len();
            kept.borrow_mut().push(chunk.clone());
        }
    });
    request.set_payload(Payload::Stream { payload: body.boxed_local() });
    request.extensions_mut().insert(Received(received));
}

fn too_slow() -> Problem {
    Problem::new(408, ErrorCode::BodyTooSlow, "the body arrived too slowly; send it again")
}

/// Reads a JSON body of at most `limit` bytes, for routes that accept more than 64 KiB.
///
/// # Errors
/// 415 `content_type_refused`, and the errors of [`optional`].
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
    Problem::new(413, ErrorCode::JsonTooLarge, "the JSON body is larger than this route accepts")
}

fn content_type_refused() -> Problem {
    Problem::new(415, ErrorCode::ContentTypeRefused, "the body must be JSON; send Content-Type: application/json")
}

fn json_body(error: JsonPayloadError, request: &HttpRequest) -> Error {
    match error {
        JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => too_large().into(),
        JsonPayloadError::ContentType => content_type_refused().into(),
        JsonPayloadError::Payload(error) if body::is_too_slow(&error) => too_slow().into(),
        JsonPayloadError::Deserialize(error) => {
            let extensions = request.extensions();
            let body = extensions.get::<Received>().map(|received| received.0.borrow().concat());
            unreadable(&error, &body.unwrap_or_default()).into()
        }
        error => invalid(error.to_string()).into(),
    }
}

fn query(error: QueryPayloadError, _: &HttpRequest) -> Error {
    Problem::bad_request(ErrorCode::QueryInvalid, error.to_string()).into()
}

/// Returns 404 for a path with an invalid id, because no object can have that id.
fn path(_: PathError, _: &HttpRequest) -> Error {
    Problem::not_found("object").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_surrogate_pair_is_found_in_strings_only() {
        for (json, expected) in [
            (r#"{"a":"\ud800b"}"#, true),
            (r#"{"a":"\uD800"}"#, true),
            (r#"{"a":"\ud800\n"}"#, true),
            (r#"{"a":"\ud800\ud800"}"#, true),
            (r#"{"a":"\udc00"}"#, true),
            (r#"{"\udc00":1}"#, true),
            (r#"{"a":"\ud83d\ude00"}"#, false),
            (r#"{"a":"\ud83d\ude00\ud83d"}"#, true),
            (r#"{"a":"\\ud800"}"#, false),
            (r#"{"a":"\"\u0041"}"#, false),
            (r"\ud800", false),
            (r#"{"a":"\ud8"#, false),
            (r#"{"a":"\ud800"#, false),
            (r#"{"a":"\ud800\"#, false),
            (r#"{"a":"\ud800\u12"#, false),
            (r#"{"a":"\u+d80"}"#, false),
            ("", false),
        ] {
            assert_eq!(has_lone_surrogate(json.as_bytes()), expected, "{json}");
        }
    }

    #[test]
    fn only_half_a_surrogate_pair_is_answered_with_422() {
        let status = |json: &str| parse::<String>(json.as_bytes()).unwrap_err().status;
        assert_eq!(status(r#""\ud800""#), 422);
        assert_eq!(status(r#""\ud800"#), 400);
        assert_eq!(status("1"), 400);
    }
}
