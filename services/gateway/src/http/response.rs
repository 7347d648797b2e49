//! Headers that many responses have in common.

/// Header of responses to commands: the position of their last event.
pub(crate) const POSITION: &str = "Waybill-Position";

/// Forbids caches to store the response.
pub(crate) fn private(mut answer: actix_web::HttpResponseBuilder) -> actix_web::HttpResponseBuilder {
    answer.insert_header(("Cache-Control", "private, no-store"));
    answer
}
