//! Parser for the SHA-256 in `Content-Digest` and `Repr-Digest` (RFC 9530).

use actix_web::HttpRequest;
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
