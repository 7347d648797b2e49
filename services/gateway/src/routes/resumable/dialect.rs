//! Detects the protocol of a request and adapts responses to it. The same URLs serve tus 1.0 and the IETF's Resumable
//! Uploads for HTTP (draft-ietf-httpbis-resumable-upload). The headers of a request distinguish them.

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use sfv::{BareItem, Item, Parser};
use waybill_data_plane::checksum;
use waybill_domain::Refusal;
use waybill_http_kit::Problem;
use waybill_schema::ErrorCode;

/// Supported version of tus.
pub(crate) const TUS_VERSION: &str = "1.0.0";

/// Supported extensions of tus: all except `concatenation-unfinished`.
const TUS_EXTENSIONS: &str =
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation";

/// Status for a body that does not match its checksum (tus 1.0, Checksum).
const CHECKSUM_MISMATCH: u16 = 460;

const PARTIAL_UPLOAD: &str = "application/partial-upload";

const OFFSET_OCTET_STREAM: &str = "application/offset+octet-stream";

const MISMATCHING_OFFSET: &str = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset";

const INCONSISTENT_LENGTH: &str = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length";

/// Protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// tus 1.0.0.
    Tus,
    /// The IETF draft.
    Draft(Interop),
}

/// Interop version of the draft. The methods return the differences between the versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interop {
    /// Version that the client sent; `None` if it sent none.
    said: Option<i64>,
}

impl Interop {
    /// Returns the version whose rules apply: the newest one if the client sent none.
    fn version(self) -> i64 {
        self.said.unwrap_or(9)
    }

    /// Versions up to 3 use the header `Upload-Incomplete`, which has the opposite meaning of `Upload-Complete`.
    fn says_incomplete(self) -> bool {
        self.version() <= 3
    }

    /// Versions from 6 on have a media type for the bytes of an append.
    fn has_media_type(self) -> bool {
        self.version() >= 6
    }

    /// In versions up to 6, an append without the completion header is the last one, and a HEAD or DELETE with an
    /// offset is malformed.
    fn is_early(self) -> bool {
        self.version() <= 6
    }
}

impl Dialect {
    /// Returns `true` for the draft's versions up to 6.
    pub(crate) fn is_early(self) -> bool {
        matches!(self, Self::Draft(interop) if interop.is_early())
    }

    /// Returns `false` if the client sent no version of any protocol.
    pub(crate) fn is_named(self) -> bool {
        !matches!(self, Self::Draft(Interop { said: None }))
    }

    /// Detects the protocol of a request from its headers and method.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let headers = request.headers();
        let has = |name| headers.contains_key(name);
        if has("Tus-Resumable") {
            return Self::Tus;
        }
        let said = integer(headers, "Upload-Draft-Interop-Version");
        let looks = matches!(*request.method(), Method::HEAD | Method::GET | Method::DELETE);
        let appends = media_type(headers).is_some_and(|media_type| media_type == PARTIAL_UPLOAD);
        if said.is_some() || has("Upload-Complete") || looks || appends {
            return Self::Draft(Interop { said });
        }
        if has("Upload-Incomplete") { Self::Draft(Interop { said: Some(3) }) } else { Self::Tus }
    }

    /// Checks that a request of tus contains the supported version (tus 1.0, Tus-Resumable).
    pub(crate) fn check_version(self, request: &HttpRequest) -> Result<(), Problem> {
        let named = request.headers().get("Tus-Resumable").is_some_and(|version| version == TUS_VERSION);
        if self != Self::Tus || named {
            return Ok(());
        }
        Err(Problem::new(412, ErrorCode::VersionRefused, "send Tus-Resumable: 1.0.0"))
    }

    /// Returns `true` if the client declares that the upload ends with this request; `None` if it declares nothing, and
    /// for tus.
    pub(crate) fn says_complete(self, headers: &HeaderMap) -> Option<bool> {
        match self {
            Self::Tus => None,
            Self::Draft(interop) if interop.says_incomplete() => {
                boolean(headers, "Upload-Incomplete").map(|incomplete| !incomplete)
            }
            Self::Draft(_) => boolean(headers, "Upload-Complete"),
        }
    }

    /// Checks that a request with bytes has the media type that the protocol requires.
    pub(crate) fn check_media_type(self, headers: &HeaderMap) -> Result<(), Problem> {
        let wanted = match self {
            Self::Tus => OFFSET_OCTET_STREAM,
            Self::Draft(interop) if interop.has_media_type() => PARTIAL_UPLOAD,
            Self::Draft(_) => return Ok(()),
        };
        if media_type(headers).as_deref() == Some(wanted) {
            return Ok(());
        }
        Err(Problem::new(415, ErrorCode::ContentTypeRefused, format!("send Content-Type: {wanted}")))
    }

    /// Returns the number in a header. In tus an invalid number is an error; the draft requires that it is ignored
    /// (§4.1).
    pub(crate) fn number(self, headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, Problem> {
        let Some(value) = headers.get(name) else { return Ok(None) };
        if matches!(self, Self::Draft(_)) {
            return Ok(integer(headers, name).and_then(|number| number.try_into().ok()));
        }
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        // A number that does not fit into `u64` is valid too, and larger than any file.
        let number = digits.filter(|text| !text.is_empty()).map(|text| text.parse().unwrap_or(u64::MAX));
        let invalid =
            || Problem::bad_request(ErrorCode::HeaderInvalid, format!("{name} must be a whole number of bytes"));
        number.map(Some).ok_or_else(invalid)
    }

    /// Sets the headers for the offset and the completion of an upload.
    pub(crate) fn say_progress(self, answer: &mut HttpResponse, offset: u64, is_complete: bool) {
        set(answer, "upload-offset", offset.to_string());
        self.say_complete(answer, is_complete);
    }

    fn say_complete(self, answer: &mut HttpResponse, is_complete: bool) {
        match self {
            Self::Tus => {}
            Self::Draft(interop) if interop.says_incomplete() => {
                set(answer, "upload-incomplete", if is_complete { "?0" } else { "?1" });
            }
            Self::Draft(_) => set(answer, "upload-complete", if is_complete { "?1" } else { "?0" }),
        }
    }

    /// Adapts the response or the error to the protocol.
    pub(crate) fn finish(self, method: &Method, answer: Result<HttpResponse, Problem>) -> HttpResponse {
        let mut response = match answer {
            Ok(response) => response,
            Err(problem) => self.refuse(method, problem),
        };
        match self {
            Self::Tus => set(&mut response, "tus-resumable", TUS_VERSION),
            Self::Draft(interop) => {
                if let Some(version) = interop.said {
                    set(&mut response, "upload-draft-interop-version", version.to_string());
                }
            }
        }
        response
    }

    fn refuse(self, method: &Method, mut problem: Problem) -> HttpResponse {
        // These members become headers.
        let (expires, allow) = (problem.members.upload_expires.take(), problem.members.allow.take());
        let mut response = self.refuse_alone(method, problem);
        for (header, value) in [("upload-expires", expires), ("allow", allow)] {
            if let Some(value) = value {
                set(&mut response, header, value);
            }
        }
        response
    }

    fn refuse_alone(self, method: &Method, problem: Problem) -> HttpResponse {
        let offset = problem.members.offset_bytes;
        let code = problem.code;
        match self {
            Self::Tus => {
                let status = match (code, problem.status) {
                    (ErrorCode::DigestMismatch, 400) => CHECKSUM_MISMATCH,
                    // Clients give up an upload after any other error of HEAD (tus-js-client 4.3).
                    (_, 500..) if method == Method::HEAD => 423,
                    // Some clients start a new upload only after 404 (tus-java-client 0.5), and all clients do so after
                    // 404 (tus 1.0, HEAD).
                    (ErrorCode::UploadEnded, _) if method == Method::HEAD => 404,
                    (ErrorCode::UploadCompleted, _) if method == Method::DELETE => 423,
                    (_, status) => status,
                };
                let mut response = HttpResponse::from_error(Problem { status, ..problem });
                if let Some(offset) = offset {
                    set(&mut response, "upload-offset", offset.to_string());
                }
                if status == 412 {
                    set(&mut response, "tus-version", TUS_VERSION);
                }
                response
            }
            Self::Draft(_) => {
                let problem = match code {
                    ErrorCode::OffsetMismatch => problem.with(|members| {
                        members.kind = Some(MISMATCHING_OFFSET.to_owned());
                        members.title = Some("Mismatching Upload Offset".to_owned());
                        members.expected_offset = offset;
                    }),
                    ErrorCode::LengthConflict | ErrorCode::SizeExceeded if problem.status < 500 => {
                        Problem { status: 400, ..problem }.with(|members| {
                            members.kind = Some(INCONSISTENT_LENGTH.to_owned());
                            members.title = Some("Inconsistent Upload Length Values".to_owned());
                        })
                    }
                    _ => problem,
                };
                let is_of_the_file = problem.members.upload_status.is_some();
                let limit = broken_limit(&problem);
                let mut response = HttpResponse::from_error(problem);
                if let Some(offset) = offset {
                    self.say_progress(&mut response, offset, false);
                } else {
                    // Complete, because this error is the final result of the upload and there is nothing to resume
                    // (draft §4.1.2).
                    self.say_complete(&mut response, is_of_the_file);
                }
                if let Some(limit) = limit {
                    set(&mut response, "upload-limit", limit);
                }
                if code == ErrorCode::ContentTypeRefused {
                    set(&mut response, "accept-patch", PARTIAL_UPLOAD);
                }
                response
            }
        }
    }
}

/// Returns the value of `Upload-Limit` for the size limit that the request exceeds.
fn broken_limit(problem: &Problem) -> Option<String> {
    let members = &problem.members;
    let largest = match problem.code {
        ErrorCode::FileTooLarge | ErrorCode::SessionTooLarge => members.limit_bytes?,
        ErrorCode::QuotaExceeded => {
            let taken = members.storage_used_bytes?.saturating_add(members.storage_reserved_bytes?);
            members.storage_limit_bytes?.saturating_sub(taken)
        }
        ErrorCode::PieceTooSmall => return Some(format!("min-append-size={}", members.least_bytes?)),
        _ => return None,
    };
    Some(format!("max-size={largest}"))
}

/// Returns the value of `Upload-Limit` (draft §4.1.4): the maximum size of a file in bytes, and the seconds until the
/// upload expires.
pub(crate) fn limits(max_bytes: u64, left_ms: i64) -> String {
    format!("max-size={max_bytes}, max-age={}", left_ms.max(0) / 1_000)
}

/// Returns the response to OPTIONS, with the features and limits of both protocols. It requires no token.
pub(crate) fn options(max_bytes: u64, lifetime_ms: i64) -> HttpResponse {
    let mut answer = HttpResponse::NoContent().finish();
    set(&mut answer, "tus-version", TUS_VERSION);
    set(&mut answer, "tus-extension", TUS_EXTENSIONS);
    set(&mut answer, "tus-max-size", max_bytes.to_string());
    set(&mut answer, "tus-checksum-algorithm", checksum::ALGORITHMS);
    set(&mut answer, "accept-patch", format!("{PARTIAL_UPLOAD}, {OFFSET_OCTET_STREAM}"));
    set(&mut answer, "upload-limit", limits(max_bytes, lifetime_ms));
    answer
}

/// Returns `true` if the body contains bytes of the upload that the request creates (tus 1.0, Creation With Upload).
pub(crate) fn brings_upload_bytes(headers: &HeaderMap) -> bool {
    media_type(headers).as_deref() == Some(OFFSET_OCTET_STREAM)
}

/// Returns the media type of a file that is sent with its creation. The media type of an append is not that of the
/// file.
pub(crate) fn file_type(headers: &HeaderMap) -> Option<String> {
    media_type(headers).filter(|media_type| media_type != PARTIAL_UPLOAD)
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(|media_type| media_type.trim().to_ascii_lowercase())
}

/// Sets a header. All values are valid header values: digits, tokens, base64 or ids. An invalid value would be ignored.
pub(crate) fn set(answer: &mut HttpResponse, name: &'static str, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        answer.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

/// Forbids caches to store the response, because the state of an upload changes.
pub(crate) fn no_store(answer: &mut HttpResponse) {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Parses an Item of a structured field (RFC 9651 §3.3); `None` if the header occurs several times.
fn item(headers: &HeaderMap, name: &str) -> Option<BareItem> {
    let mut values = headers.get_all(name);
    let value = values.next().filter(|_| values.next().is_none())?;
    Parser::new(value.as_bytes()).parse::<Item>().ok().map(|item| item.bare_item)
}

fn integer(headers: &HeaderMap, name: &str) -> Option<i64> {
    match item(headers, name)? {
        BareItem::Integer(number) => Some(number.into()),
        _ => None,
    }
}

fn boolean(headers: &HeaderMap, name: &str) -> Option<bool> {
    match item(headers, name)? {
        BareItem::Boolean(boolean) => Some(boolean),
        _ => None,
    }
}

/// Returns the error for an offset that is not the offset of the upload.
pub(crate) fn offset_mismatch(offset: u64, provided: u64) -> Problem {
    waybill_data_plane::refused(Refusal::OffsetMismatch { offset })
        .with(|members| members.provided_offset = Some(provided))
}
