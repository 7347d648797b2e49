//! Responses with the bytes of a file: ranges and conditions (RFC 9110 §13, §14), and the headers that keep browsers
//! from running the file.

use crate::http::content_digest::wanted_digest;
use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_RANGES, AcceptEncoding, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, Encoding, Header, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH,
    IF_RANGE, Preference, Quality, RANGE, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use waybill_http_kit::Problem;
use waybill_read_model::queries::File;
use waybill_schema::ByteRange;
use waybill_schema::ErrorCode;
use waybill_schema::{Sha256Digest, StorageTier, names};

/// Characters to encode in an extended value: all except `attr-char` of RFC 8187 §3.2.1.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The bytes that a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(ByteRange),
    /// The file has no byte of the range.
    Unsatisfiable,
}

/// Builds the response to a HEAD: with the length of the body of a GET, but without bytes.
pub(crate) fn without_bytes(mut answer: HttpResponseBuilder, length: u64) -> HttpResponse {
    let nothing = futures_util::stream::empty::<Result<web::Bytes, Problem>>();
    answer.body(SizedStream::new(length, nothing))
}

/// Checks that the file is verified and not deleted.
///
/// # Errors
/// 410 `file_deleted`, 409 `file_not_ready`.
pub(crate) fn check_readable(file: &File) -> Result<(), Problem> {
    if file.deleted_at.is_some() {
        return Err(Problem::new(410, ErrorCode::FileDeleted, "the file was deleted; restore it first"));
    }
    if !file.is_processed || file.hash.is_none() {
        return Err(Problem::new(409, ErrorCode::FileNotReady, "the file is not verified and cannot be read yet"));
    }
    Ok(())
}

/// Checks that the bytes of the file need not be restored from an archive.
///
/// # Errors
/// 409 `file_archived`.
pub(crate) fn check_restored(file: &File) -> Result<(), Problem> {
    if file.storage_tier != StorageTier::Archive.as_str() {
        return Ok(());
    }
    Err(match file.restore_requested_at {
        None => archived(),
        Some(_) => {
            let text = "the file is archived, and is being restored; wait for the event FileThawed over the WebSocket";
            Problem { retry_after_s: Some(RESTORE_RETRY_S), ..Problem::new(409, ErrorCode::FileArchived, text) }
        }
    })
}

/// Returns the problem of an archived file that nobody has asked for.
pub(crate) fn archived() -> Problem {
    let text =
        "the file is archived; send POST /v1/files/{id}/thaw, and wait for the event FileThawed over the WebSocket";
    Problem::new(409, ErrorCode::FileArchived, text)
}

/// Seconds after which a client tries again to read a file that is being restored.
const RESTORE_RETRY_S: u32 = 300;

/// Largest file whose bytes are sent compressed. Clients can continue the download of a larger one where it broke off, which is
/// impossible for a compressed body whose ranges are those of the file.
const COMPRESSED_MAX_BYTES: u64 = 64 << 20;

/// Returns the response to which the bytes of a compressed object must be added; `None` if the request needs the bytes of the file
/// or no bytes.
pub(crate) fn prepare_compressed(request: &HttpRequest, file: &File) -> Option<HttpResponseBuilder> {
    let headers = request.headers();
    let is_whole = ![RANGE, IF_MATCH, IF_NONE_MATCH].iter().any(|condition| headers.contains_key(condition));
    let is_small = file.size_bytes.unsigned_abs() <= COMPRESSED_MAX_BYTES;
    if !is_whole || !is_small || !is_compressed(file) || !accepts_zstd(request) {
        return None;
    }
    let mut answer = described(StatusCode::OK, &Described::file(file), &compressed_etag(file));
    answer.insert_header((CONTENT_ENCODING, "zstd"));
    Some(answer)
}

fn is_compressed(file: &File) -> bool {
    file.storage_key.as_deref().is_some_and(names::is_compressed)
}

fn compressed_etag(file: &File) -> String {
    format!("\"{}-zstd\"", file.hash.as_deref().unwrap_or_default())
}

/// Returns `true` if `Accept-Encoding` names `zstd`, and does not prefer `identity` (RFC 9110 §12.5.3).
fn accepts_zstd(request: &HttpRequest) -> bool {
    let Ok(accepted) = AcceptEncoding::parse(request) else { return false };
    let weight = |coding: Encoding| {
        let coding = Preference::Specific(coding);
        accepted.iter().find(|one| one.item == coding).map(|one| one.quality)
    };
    let identity = weight(Encoding::identity()).unwrap_or(Quality::ZERO);
    weight(Encoding::zstd()).is_some_and(|zstd| zstd > Quality::ZERO && zstd >= identity)
}

/// Outcome of [`prepare`].
pub(crate) enum Prepared {
    /// A complete response without bytes of the file.
    Done(HttpResponse),
    /// A response to which the bytes of the range must be added.
    Body(HttpResponseBuilder, ByteRange),
}

/// Description of bytes that are sent.
pub(crate) struct Described<'a> {
    pub(crate) size_bytes: u64,
    /// The entity tag, in quotes.
    pub(crate) etag: String,
    /// The entity tag of the same bytes in another content coding, if clients can have them.
    pub(crate) other_etag: Option<String>,
    /// `true` if clients can get another content coding now.
    pub(crate) varies: bool,
    pub(crate) sha256: Option<Sha256Digest>,
    pub(crate) mime_type: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Described<'a> {
    /// Describes the bytes of a file.
    pub(crate) fn file(file: &'a File) -> Self {
        Self {
            size_bytes: file.size_bytes.unsigned_abs(),
            etag: format!("\"{}\"", file.hash.as_deref().unwrap_or_default()),
            other_etag: Some(compressed_etag(file)),
            varies: is_compressed(file),
            sha256: file.hash.as_deref().and_then(|hash| hash.parse().ok()),
            mime_type: &file.mime_type,
            name: file.shown_name(),
        }
    }
}

/// Evaluates the conditions and the range of a request and prepares the response, without the bytes.
pub(crate) fn prepare(request: &HttpRequest, of: &Described<'_>) -> Result<Prepared, Problem> {
    let Described { size_bytes, etag, .. } = of;
    let size_bytes = *size_bytes;
    let headers = request.headers();
    let known: Vec<&String> = of.other_etag.iter().chain([etag]).collect();
    // The order of RFC 9110 §13.2.2. Without `Last-Modified`, conditions with a date do not apply.
    if headers.contains_key(IF_MATCH) && !known.iter().any(|known| matches_strongly(headers, known)) {
        let text = "the file has another entity tag than If-Match says; ask for the present one with HEAD";
        return Err(Problem::new(412, ErrorCode::PreconditionFailed, text));
    }
    for known in known {
        if text(headers, IF_NONE_MATCH).is_some_and(|value| includes_etag(value, known)) {
            return Ok(Prepared::Done(described(StatusCode::NOT_MODIFIED, of, known).finish()));
        }
    }
    let range_applies = text(headers, IF_RANGE).is_none_or(|value| value == etag);
    let wanted = match text(headers, RANGE).filter(|_| range_applies) {
        Some(value) => parse_range(value, size_bytes),
        None => Wanted::All,
    };
    let with_digest = |status| {
        let mut answer = described(status, of, etag);
        if let Some(digest) = of.sha256.and_then(|sha256| wanted_digest(headers, &sha256)) {
            answer.insert_header(("Repr-Digest", digest));
        }
        answer
    };
    Ok(match wanted {
        Wanted::All => Prepared::Body(with_digest(StatusCode::OK), ByteRange { from: 0, to: size_bytes }),
        Wanted::Part(range) => {
            let mut answer = with_digest(StatusCode::PARTIAL_CONTENT);
            answer.insert_header((CONTENT_RANGE, format!("bytes {}-{}/{size_bytes}", range.from, range.to - 1)));
            Prepared::Body(answer, range)
        }
        Wanted::Unsatisfiable => {
            let problem = Problem::new(416, ErrorCode::RangeUnsatisfiable, format!("the file has {size_bytes} bytes"));
            let mut answer = HttpResponse::from_error(problem);
            if let Ok(value) = format!("bytes */{size_bytes}").parse() {
                answer.headers_mut().insert(CONTENT_RANGE, value);
            }
            Prepared::Done(answer)
        }
    })
}

/// Starts a response with the headers that describe the bytes and keep browsers from running them.
fn described(status: StatusCode, of: &Described<'_>, etag: &str) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((ETAG, etag))
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((CONTENT_TYPE, of.mime_type))
        .insert_header((CONTENT_DISPOSITION, disposition("attachment", of.name)))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "private, no-store"));
    if of.varies {
        answer.insert_header((VARY, "Accept-Encoding"));
    }
    answer
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Returns `true` if `If-Match` contains the `ETag` (strong comparison, RFC 9110 §8.8.3.2).
fn matches_strongly(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(IF_MATCH).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim() == "*" || one.trim() == etag)
}

/// Returns `true` if `If-None-Match` contains the `ETag` (weak comparison, RFC 9110 §8.8.3.2).
pub(crate) fn includes_etag(value: &str, etag: &str) -> bool {
    value.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == "*" || one == etag)
}

/// Parses `Range` (RFC 9110 §14.2). Several ranges, unknown units and malformed values are ignored: all bytes are sent.
fn parse_range(value: &str, size_bytes: u64) -> Wanted {
    let Some(ranges) = value.trim().strip_prefix("bytes=") else { return Wanted::All };
    let Some((first, last)) = ranges.split_once('-').filter(|_| !ranges.contains(',')) else { return Wanted::All };
    let range = match (first.trim(), last.trim()) {
        ("", suffix) => match suffix.parse::<u64>() {
            Ok(length) => ByteRange { from: size_bytes.saturating_sub(length), to: size_bytes },
            Err(_) => return Wanted::All,
        },
        (first, last) => {
            let last = if last.is_empty() { Ok(u64::MAX) } else { last.parse::<u64>() };
            match (first.parse::<u64>(), last) {
                (Ok(first), Ok(last)) if first <= last => {
                    ByteRange { from: first, to: last.saturating_add(1).min(size_bytes) }
                }
                _ => return Wanted::All,
            }
        }
    };
    if range.is_empty() { Wanted::Unsatisfiable } else { Wanted::Part(range) }
}

/// Returns `Content-Disposition` (RFC 6266) of a kind with the name twice: in ASCII for old clients, and unchanged (RFC 8187).
pub(crate) fn disposition(kind: &str, name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && !"\"\\%".contains(c) || c == ' ' { c } else { '_' }).collect();
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ATTR_CHAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_rfc_9110_says() {
        let part = |from, to| Wanted::Part(ByteRange { from, to });
        for (value, wanted) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-", part(2, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-30", part(0, 10)),
            ("bytes=5-99", part(5, 10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-4", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("lines=0-1", Wanted::All),
        ] {
            assert_eq!(parse_range(value, 10), wanted, "{value}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn a_name_cannot_leave_its_quotes_or_its_header() {
        let header = disposition("attachment", "a\"b\\c\r\nSet-Cookie: x=é.png");
        assert_eq!(
            header,
            "attachment; filename=\"a_b_c__Set-Cookie: x=_.png\"; \
             filename*=UTF-8''a%22b%5Cc%0D%0ASet-Cookie%3A%20x%3D%C3%A9.png"
        );
    }
}
