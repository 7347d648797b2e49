//! SHA-256 in `Content-Digest`, `Repr-Digest` and `Want-Repr-Digest` (RFC 9530).

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use waybill_http_kit::Problem;
use waybill_schema::ErrorCode;
use waybill_schema::Sha256Digest;

/// Returns the `sha-256` member of a digest header. Ignores other algorithms, as RFC 9530 §2 requires.
///
/// # Errors
/// 400 `digest_invalid` if the header or its `sha-256` member is malformed.
pub(crate) fn sha256_of(request: &HttpRequest, header: &str) -> Result<Option<Sha256Digest>, Problem> {
    let invalid = || Problem::bad_request(ErrorCode::DigestInvalid, format!("{header} must read sha-256=:<base64>:"));
    for value in request.headers().get_all(header) {
        for member in value.to_str().map_err(|_| invalid())?.split(',') {
            let Some((key, value)) = member.trim().split_once('=') else { return Err(invalid()) };
            if !key.trim().eq_ignore_ascii_case("sha-256") {
                continue;
            }
            let encoded = value.trim().strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).ok_or_else(invalid)?;
            let bytes = BASE64.decode(encoded).map_err(|_| invalid())?;
            return bytes.try_into().map(|digest| Some(Sha256Digest(digest))).map_err(|_| invalid());
        }
    }
    Ok(None)
}

/// Returns the value of `Repr-Digest` for a file with this SHA-256, if `Want-Repr-Digest` asks for it (RFC 9530 §4).
pub(crate) fn wanted_digest(headers: &HeaderMap, sha256: &Sha256Digest) -> Option<String> {
    let values = headers.get_all("Want-Repr-Digest").filter_map(|value| value.to_str().ok());
    let mut members = values.flat_map(|value| value.split(',')).filter_map(|member| member.trim().split_once('='));
    // The weight is an integer up to 10, and 0 means that the digest is not acceptable.
    let is_wanted = members.any(|(key, weight)| key == "sha-256" && matches!(weight.parse(), Ok(1_u8..=10)));
    is_wanted.then(|| format!("sha-256=:{}:", BASE64.encode(sha256.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn a_digest_is_sent_to_those_who_want_it() {
        let wanted = |value: &str| {
            let request = TestRequest::default().append_header(("Want-Repr-Digest", value)).to_http_request();
            wanted_digest(request.headers(), &Sha256Digest([0; 32])).is_some()
        };
        for value in ["sha-256=1", "sha-512=3, sha-256=10", "sha-512=3,sha-256=2"] {
            assert!(wanted(value), "{value}");
        }
        for value in ["", "sha-256", "sha-256=0", "sha-256=11", "sha-256=x", "sha-512=10", "sha-256=-1"] {
            assert!(!wanted(value), "{value}");
        }
    }
}
