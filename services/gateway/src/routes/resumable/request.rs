//! Context of a request of one of the two protocols.

use crate::application::gateway::Gateway;
use crate::routes::resumable::dialect::Dialect;
use actix_web::http::header;
use actix_web::{HttpRequest, web};
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_repository::{Context, UploadAggregate};
use waybill_schema::ErrorCode;
use waybill_schema::UploadId;

/// Request context: the gateway, the caller, the HTTP request and its protocol.
pub(crate) struct Asked {
    pub(crate) gateway: web::Data<Gateway>,
    pub(crate) principal: Principal,
    pub(crate) request: HttpRequest,
    pub(crate) id: RequestId,
    pub(crate) dialect: Dialect,
}

impl Asked {
    pub(crate) fn aggregate(&self, upload: UploadId) -> UploadAggregate {
        UploadAggregate { company: self.principal.company_id, upload }
    }

    pub(crate) fn context(&self) -> Context {
        self.gateway.context(&self.principal, self.id)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the unchanged value of `Upload-Metadata`, which later responses repeat; `None` if it is absent or empty.
    pub(crate) fn upload_metadata(&self) -> Result<Option<&str>, Problem> {
        let Some(value) = self.request.headers().get("Upload-Metadata") else { return Ok(None) };
        let text = value
            .to_str()
            .map_err(|_| Problem::bad_request(ErrorCode::MetadataInvalid, "Upload-Metadata is not ASCII"))?;
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    }
}

/// Returns the path of an upload.
pub(crate) fn upload_url(upload: UploadId) -> String {
    format!("/tus/{upload}")
}

/// Returns the file name in `Content-Disposition` (RFC 6266).
pub(crate) fn disposition_name(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(header::CONTENT_DISPOSITION)?;
    let disposition = header::ContentDisposition::from_raw(value).ok()?;
    let extended = disposition.get_filename_ext().map(|name| String::from_utf8_lossy(&name.value).into_owned());
    extended.or_else(|| disposition.get_filename().map(str::to_owned))
}
