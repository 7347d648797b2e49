//! Route for the option `signRequest` of Uppy version 6.

use crate::application::gateway::Gateway;
use crate::application::uploads::end::cancel_upload;
use crate::routes::direct::uppy::described::{Described, name_in};
use crate::routes::direct::uppy::quarantined::Asked;
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde_json::Value;
use waybill_api::Metadata;
use waybill_api::uppy::{Nothing, SignRequest, SignedRequest};
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_object_store::presign::{Presign, Presigned};
use waybill_schema::ErrorCode;

routes!(sign);

/// Signs a request to the object store (Uppy version 6)
///
/// The first request for a file starts an upload and returns the key that the client must use from then on.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_sign",
    request_body = SignRequest,
    responses(
        (status = 200, description = "The presigned request", body = SignedRequest),
        (status = 404, description = "`not_found`"),
        (status = 409, description = "`upload_completed`, `session_ended`"),
        (status = 410, description = "`upload_ended`"),
        (status = 413, description = "`file_too_large`, `quota_exceeded`, `metadata_too_large`, `size_exceeded`, `json_too_large`"),
        (status = 415, description = "`type_refused`, `content_type_refused`"),
        (status = 422, description = "`name_invalid`, `digest_invalid`, `idempotency_key_reused`"),
    ),
)]
#[post("/uppy/s3/sign")]
pub(crate) async fn sign(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    body: web::Json<SignRequest>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::new(gateway, principal, id, request);
    let wanted = body.into_inner();
    let (key, signed) = match (wanted.method.as_str(), &wanted.upload_id, wanted.part_number) {
        ("PUT" | "POST", None, None) => asked.sign_new(&wanted).await?,
        (method, Some(upload_id), part_number) => {
            let signed = asked.sign_running(method, &wanted.key, upload_id, part_number).await?;
            (wanted.key.clone(), signed)
        }
        _ => return Err(unknown_request()),
    };
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(SignedRequest {
        url: signed.url,
        method: signed.method.to_string(),
        key,
        headers: Nothing {},
    }))
}

impl Asked {
    /// Starts an upload and signs its first request: a PUT of the whole object, or the creation of a multipart upload.
    async fn sign_new(&self, wanted: &SignRequest) -> Result<(String, Presigned), Problem> {
        let mut meta = wanted.metadata.as_ref().map(Metadata::members).unwrap_or_default();
        if let Some(size) = wanted.size {
            meta.insert("size".to_owned(), Value::String(size.to_string()));
        }
        let mime_type = wanted.mime_type.clone().or_else(|| wanted.content_type.clone());
        let name = wanted.name.clone().or_else(|| name_in(&wanted.key));
        let described = Described { name, mime_type, meta, sent: wanted.metadata.clone() };
        let found = self.start(&described).await?;
        let signed = match wanted.method.as_str() {
            "PUT" => self.sign_object(&found, described.size_bytes()).await?,
            _ => self.presign(&found.key, &Presign::CreateMultipart).await?,
        };
        Ok((found.key, signed))
    }

    /// Signs a further request of an upload that has started.
    async fn sign_running(
        &self,
        method: &str,
        key: &str,
        upload_id: &str,
        part_number: Option<u32>,
    ) -> Result<Presigned, Problem> {
        let mut found = self.find(key).await?;
        match (method, part_number) {
            ("PUT", Some(part_number)) => self.sign_part(&mut found, upload_id, part_number).await,
            ("GET", None) => self.presign(key, &Presign::ListParts { upload_id }).await,
            ("POST", None) => {
                let parts = self.check_room(&mut found, upload_id).await?;
                if parts.is_empty() {
                    return Err(Problem::bad_request(
                        ErrorCode::PartsInvalid,
                        "the upload has no parts; send at least one part first",
                    ));
                }
                self.reserve(&found, parts.iter().map(|part| part.size_bytes).sum()).await?;
                self.expect_object(&mut found).await?;
                self.presign(key, &Presign::CompleteMultipart { upload_id }).await
            }
            ("DELETE", None) => {
                cancel_upload(&self.gateway, &self.context, &found.aggregate, &mut found.loaded).await?;
                self.presign(key, &Presign::AbortMultipart { upload_id }).await
            }
            _ => Err(unknown_request()),
        }
    }
}

fn unknown_request() -> Problem {
    Problem::bad_request(
        ErrorCode::RequestInvalid,
        "send method, key, uploadId and partNumber as signRequest receives them",
    )
}
