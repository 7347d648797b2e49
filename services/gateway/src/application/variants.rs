//! Lookup of a preview of a file, and sending of its bytes.

use crate::application::at_once::Download;
use crate::application::content::with_bytes;
use crate::application::files::find::find;
use crate::application::gateway::Gateway;
use crate::application::shown::Found;
use crate::http::download::check_readable;
use crate::http::path::VariantPath;
use crate::http::problems::OrProblem;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use waybill_domain::access::Operation;
use waybill_http_kit::{Principal, Problem};
use waybill_object_store::StoreError;
use waybill_read_model::queries::{File, Preview};
use waybill_schema::{CompanyId, ErrorCode, UploadId, Variant, names};

/// Finds a preview of a file, if the principal may download the file.
///
/// # Errors
/// 404 `not_found` or `preview_absent`, 409 `file_not_ready`, 410 `file_deleted`, or a denial of the access rules.
pub(crate) async fn find_variant(
    request: &HttpRequest,
    principal: &Principal,
    path: VariantPath,
    gateway: &Gateway,
) -> Result<Found, Problem> {
    let (file, _) = find(request, principal, path.file, gateway, Operation::Download).await?;
    check_readable(&file)?;
    variant_of(&file, path.variant)
}

/// Returns a preview of a file.
///
/// # Errors
/// 404 `preview_absent`.
pub(crate) fn variant_of(file: &File, variant: Option<Variant>) -> Result<Found, Problem> {
    let preview = file.preview.clone().and_then(|preview| Preview::parse(preview).ok()).unwrap_or_default();
    let stored = preview.variants.into_iter().find(|stored| Some(stored.name) == variant);
    let (Some(set), Some(stored)) = (preview.set, stored) else { return Err(absent()) };
    Ok(Found {
        mime_type: stored.mime_type,
        size_bytes: stored.size_bytes,
        etag: format!("\"{}-{}\"", set.simple(), stored.name.as_str()),
        set,
        key: names::variant_key(CompanyId(file.company_id), UploadId(file.id), set, stored.name),
    })
}

/// Sends a preview. Keeps `download` until the last byte was sent.
pub(crate) async fn send(
    gateway: &Gateway,
    found: &Found,
    answer: HttpResponseBuilder,
    download: Download,
) -> Result<HttpResponse, Problem> {
    let body = match gateway.file_bytes.object(&found.key, found.size_bytes).await {
        // The file was purged in the meantime.
        Err(StoreError::NotFound { .. }) => return Err(absent()),
        body => body.or_problem("reading a preview")?,
    };
    Ok(with_bytes(answer, found.size_bytes, body.bytes, download))
}

fn absent() -> Problem {
    let text = "the file has no such preview, or not yet; `preview` of the file lists its previews";
    Problem::new(404, ErrorCode::PreviewAbsent, text)
}
