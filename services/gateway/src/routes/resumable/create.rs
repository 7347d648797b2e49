//! `POST /tus/`: creates an upload, with or without its first bytes.

use crate::application::links;
use crate::application::uploads::description::check;
use crate::http::request_body::{content_length, refuse_encoding, refuse_forms};
use crate::routes::resumable::append::checksum;
use crate::routes::resumable::creation::{Creation, facts, id_of};
use crate::routes::resumable::dialect::{Dialect, brings_upload_bytes, limits, set};
use crate::routes::resumable::metadata::Metadata;
use crate::routes::resumable::progress::describe;
use crate::routes::resumable::request::{Asked, upload_url};
use crate::routes::resumable::{concatenate, small};
use crate::routes::uploads::status::status;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_http_kit::Problem;
use waybill_schema::ErrorCode;
use waybill_schema::events::{UploadKind, UploadStarted};

/// Creates an upload and stores the bytes in the request, if it has any.
pub(crate) async fn create(asked: &Asked, payload: Payload) -> Result<HttpResponse, Problem> {
    // Checked even if the request has no bytes, because its headers describe the file.
    refuse_encoding(&asked.request)?;
    refuse_forms(&asked.request)?;
    let headers = asked.request.headers();
    let metadata = Metadata::parse(asked.upload_metadata()?.unwrap_or_default())?;
    let kind = match asked.header("Upload-Concat") {
        None => UploadKind::File,
        Some("partial") => UploadKind::Partial,
        Some(concat) if concat.starts_with("final;") => return concatenate::create(asked, concat, &metadata).await,
        Some(_) => {
            return Err(invalid("Upload-Concat must be partial, or final; followed by the URLs of partial uploads"));
        }
    };
    let content_length = content_length(&asked.request);
    let says_complete = asked.dialect.says_complete(headers);
    let length = length(asked, says_complete, content_length)?;
    let brings_bytes = match asked.dialect {
        Dialect::Tus => brings_upload_bytes(headers) && content_length != Some(0),
        Dialect::Draft(_) => content_length != Some(0),
    };
    if asked.dialect == Dialect::Tus && !brings_bytes && content_length != Some(0) {
        return Err(Problem::new(
            415,
            ErrorCode::ContentTypeRefused,
            "to send bytes with the creation, use Content-Type: application/offset+octet-stream",
        ));
    }
    if brings_bytes {
        check_brought(asked, length, content_length)?;
    }
    let start = start(asked, &metadata, length, kind).await?;
    let upload = id_of(asked, &start).await?;
    let creation = Creation { asked, upload, start: &start, says_complete, brings_bytes, content_length };
    let appended = if small::is_small(&creation) {
        small::create(&creation, payload).await?
    } else {
        creation.start(payload).await?
    };
    let mut answer = match &appended.state {
        Some(state) if asked.dialect != Dialect::Tus => HttpResponse::Created().json(status(upload, state)),
        _ => HttpResponse::Created().finish(),
    };
    set(&mut answer, "location", upload_url(upload));
    if brings_bytes || asked.dialect != Dialect::Tus {
        asked.dialect.say_progress(&mut answer, appended.offset, appended.is_complete);
    }
    if asked.dialect != Dialect::Tus {
        let max_bytes = links::limits(&asked.gateway, &asked.principal).await?.max_file_bytes;
        set(&mut answer, "upload-limit", limits(max_bytes, asked.gateway.settings.upload_lifetime_ms()));
    } else if start.kind == UploadKind::Partial {
        set(&mut answer, "upload-concat", "partial");
    }
    describe(&mut answer, &start, &appended);
    Ok(answer)
}

fn invalid(what: &str) -> Problem {
    Problem::bad_request(ErrorCode::HeaderInvalid, what)
}

/// Checks the checksum header and the declared lengths before the bytes are read, so that no upload is started and no
/// space is reserved for a request that would be refused anyway.
fn check_brought(asked: &Asked, length: Option<u64>, content_length: Option<u64>) -> Result<(), Problem> {
    checksum(asked)?;
    match (length, content_length) {
        (Some(size_bytes), Some(content)) if content > size_bytes => Err(refused(Refusal::SizeExceeded { size_bytes })),
        _ => Ok(()),
    }
}

/// Returns the length of the file; `None` if the client will declare it later.
pub(crate) fn length(
    asked: &Asked,
    says_complete: Option<bool>,
    content_length: Option<u64>,
) -> Result<Option<u64>, Problem> {
    let headers = asked.request.headers();
    let length = asked.dialect.number(headers, "Upload-Length")?;
    let deferred = asked.header("Upload-Defer-Length");
    if asked.dialect == Dialect::Tus {
        return match (length, deferred) {
            (Some(length), None) => Ok(Some(length)),
            (None, Some("1")) => Ok(None),
            _ => Err(invalid("send either Upload-Length or Upload-Defer-Length: 1")),
        };
    }
    // If the request is complete, its content is the whole file (draft §4.1.3).
    match (says_complete, length, content_length) {
        (Some(true) | None, Some(length), Some(content)) if length != content => Err(Problem::bad_request(
            ErrorCode::LengthConflict,
            format!("Upload-Length is {length}, but the content has {content} bytes"),
        )),
        (Some(true) | None, None, content) => Ok(content),
        (_, length, _) => Ok(length),
    }
}

/// Checks the description of the file and returns the start of the upload.
pub(crate) async fn start(
    asked: &Asked,
    metadata: &Metadata,
    length: Option<u64>,
    kind: UploadKind,
) -> Result<UploadStarted, Problem> {
    let max_bytes = links::limits(&asked.gateway, &asked.principal).await?.max_file_bytes;
    let facts = facts(asked, metadata, length.unwrap_or(max_bytes))?;
    let started = check(&asked.gateway, &asked.principal, &asked.context(), &facts).await?;
    let upload_metadata = asked.upload_metadata()?.map(str::to_owned);
    Ok(UploadStarted {
        started,
        length_deferred: length.is_none(),
        kind,
        upload_metadata,
        link_id: asked.principal.link,
    })
}
