//! Stored form of the metadata of a file.

use waybill_api::Metadata;
use waybill_data_plane::refused;
use waybill_domain::metadata;
use waybill_http_kit::Problem;

/// Returns the text to store.
///
/// # Errors
/// 413 `metadata_too_large`, 400 `metadata_invalid`.
pub(crate) fn text_of(metadata: &Metadata) -> Result<String, Problem> {
    metadata::check(metadata.as_str()).map_err(refused)?;
    Ok(metadata.as_str().to_owned())
}
