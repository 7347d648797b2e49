//! `PATCH /tus/{id}`: appends bytes to an upload. The creation of an upload uses this module too if it has bytes.

use crate::application::growing;
use crate::http::content_digest::sha256_of;
use crate::http::problems::OrProblem;
use crate::http::request_body::{content_length, refuse_encoding};
use crate::http::time::http_date;
use crate::routes::resumable::dialect::Dialect;
use crate::routes::resumable::progress::{Appended, at_offset, complete, describe};
use crate::routes::resumable::request::Asked;
use crate::routes::uploads::status::status;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use futures_util::StreamExt;
use waybill_data_plane::checksum::Verifier;
use waybill_data_plane::refused;
use waybill_data_plane::{Checksum, PutBytes};
use waybill_domain::Refusal;
use waybill_domain::upload::Command;
use waybill_http_kit::Problem;
use waybill_schema::ErrorCode;
use waybill_schema::events::{UploadKind, UploadStarted};
use waybill_schema::{ByteRange, UploadId};

/// Range of bytes that a request declares.
pub(crate) struct Bringing {
    pub(crate) offset: u64,
    /// Length of the file, if this request declares it.
    pub(crate) length: Option<u64>,
    /// `true` if the client declares that the upload ends with these bytes; `None` if it declares nothing.
    pub(crate) says_complete: Option<bool>,
}

/// Appends the bytes of a PATCH request.
pub(crate) async fn patch(asked: &Asked, upload: UploadId, payload: Payload) -> Result<HttpResponse, Problem> {
    let (dialect, headers) = (asked.dialect, asked.request.headers());
    let facts = asked.gateway.started(&asked.principal, upload).await?;
    dialect.check_media_type(headers)?;
    let offset = dialect.number(headers, "Upload-Offset")?;
    let offset = offset.ok_or_else(|| {
        Problem::bad_request(
            ErrorCode::HeaderMissing,
            "send Upload-Offset with the position of the first byte in the file",
        )
    })?;
    let mut says_complete = dialect.says_complete(headers);
    if dialect != Dialect::Tus && says_complete.is_none() {
        if !dialect.is_early() {
            return Err(Problem::bad_request(
                ErrorCode::HeaderMissing,
                "send Upload-Complete: ?1 with the last bytes and ?0 with all others",
            ));
        }
        says_complete = Some(true);
    }
    let length = dialect.number(headers, "Upload-Length")?;
    let bringing = Bringing { offset, length, says_complete };
    let appended = append(asked, upload, &facts, bringing, payload).await;
    // Errors contain the expiry too (tus 1.0, Upload-Expires).
    let expires = || http_date(facts.started.expires_at);
    let appended = appended.map_err(|problem| problem.with(|members| members.upload_expires = Some(expires())))?;
    let mut answer = match (dialect, &appended.state) {
        (Dialect::Draft(_), Some(state)) if appended.is_complete => HttpResponse::Ok().json(status(upload, state)),
        (Dialect::Draft(_), _) if dialect.is_early() => HttpResponse::Created().finish(),
        _ => HttpResponse::NoContent().finish(),
    };
    dialect.say_progress(&mut answer, appended.offset, appended.is_complete);
    describe(&mut answer, &facts, &appended);
    Ok(answer)
}

/// Stores the bytes of the request, and completes the upload if they are the last ones. Stops older requests for the
/// upload.
pub(crate) async fn append(
    asked: &Asked,
    upload: UploadId,
    facts: &UploadStarted,
    bringing: Bringing,
    payload: Payload,
) -> Result<Appended, Problem> {
    let turn = asked.gateway.turns.begin(upload);
    check_kind(facts)?;
    refuse_encoding(&asked.request)?;
    let appending = Appending {
        asked,
        upload,
        facts,
        checksum: checksum(asked)?,
        content_length: content_length(&asked.request),
        bringing,
    };
    asked.gateway.take_over(upload, Some((&turn, appending.bringing.offset))).await?;
    if turn.is_superseded() {
        return Err(Problem::new(409, ErrorCode::Superseded, "a newer request for this upload took over"));
    }
    let length = appending.length().await?;
    let appended = appending.take(payload, length).await?;
    if appending.ends_with(&appended, length).await? && facts.kind == UploadKind::File {
        return complete(asked, upload).await;
    }
    Ok(appended)
}

/// Request that appends bytes.
struct Appending<'a> {
    asked: &'a Asked,
    upload: UploadId,
    /// Start of the upload, with the length as it is known now.
    facts: &'a UploadStarted,
    bringing: Bringing,
    checksum: Option<Checksum>,
    content_length: Option<u64>,
}

impl Appending<'_> {
    /// Returns the length of the file, or its maximum if the length is unknown.
    fn max_bytes(&self) -> u64 {
        self.facts.started.size_bytes
    }

    /// Returns `true` if the declared length must be recorded only after the bytes. If the bytes do not match their
    /// checksum, the whole request has no effect, including the length that it declares.
    fn holds_length_back(&self) -> bool {
        self.facts.length_deferred && self.checksum.is_some()
    }

    /// Returns the length of the file if it is known or if this request declares it.
    async fn length(&self) -> Result<Option<u64>, Problem> {
        let Self { facts, bringing, .. } = self;
        if facts.length_deferred {
            // Report a wrong offset before any other error.
            self.at_offset().await?;
        }
        let said = match (bringing.says_complete, self.content_length) {
            // The content ends at the end of the file (draft §4.1.3).
            (Some(true), Some(content_length)) => {
                let end = bringing.offset.saturating_add(content_length);
                if let Some(length) = bringing.length.filter(|length| *length != end) {
                    self.at_offset().await?;
                    return Err(conflict(length, end));
                }
                Some(end)
            }
            _ => bringing.length,
        };
        match said {
            Some(length) if self.holds_length_back() => self.reserve_up_to(length).await?,
            Some(length) => self.set_length(length, bringing.offset).await?,
            None if facts.length_deferred => {}
            None => return Ok(Some(facts.started.size_bytes)),
        }
        Ok(said)
    }

    /// Sends the bytes to a worker.
    async fn take(&self, mut payload: Payload, length: Option<u64>) -> Result<Appended, Problem> {
        let Self { asked, upload, bringing, checksum, content_length, .. } = self;
        let limit = length.unwrap_or(self.max_bytes());
        let room = limit.saturating_sub(bringing.offset);
        if content_length.is_some_and(|content_length| content_length > room) {
            return Err(self.too_long(length).await);
        }
        if *content_length == Some(0) || room == 0 {
            let there = self.at_offset().await?;
            if content_length.is_none() && has_bytes(&mut payload).await {
                return Err(self.too_long(length).await);
            }
            // An empty body has a checksum too.
            if checksum.is_some_and(|checksum| !Verifier::new(checksum).is_met()) {
                let text = "the body does not match its checksum";
                return Err(Problem::bad_request(ErrorCode::DigestMismatch, text));
            }
            return Ok(there);
        }
        let bytes = PutBytes {
            company: asked.principal.company_id,
            user: asked.principal.user_id,
            link: asked.principal.link,
            upload: *upload,
            range: ByteRange { from: bringing.offset, to: bringing.offset + content_length.unwrap_or(room) },
            checksum: *checksum,
            sequential: true,
            content_length: *content_length,
            request: asked.id,
        };
        let stored = if length.is_some() {
            asked.gateway.workers.put_bytes(bytes, payload).await
        } else {
            growing::send(&asked.gateway, &asked.context(), bytes, payload, limit).await
        };
        match stored {
            Ok(stored) => {
                let position = Some(stored.position);
                Ok(Appended { offset: stored.offset_bytes, is_complete: false, position, state: None })
            }
            Err(problem) if problem.code == ErrorCode::SizeExceeded => {
                let problem = if length.is_some() { problem } else { too_large(limit) };
                Err(self.invalidated(problem).await)
            }
            // If the upload has ended, report that instead.
            Err(problem) if problem.code == ErrorCode::OffsetMismatch => {
                self.at_offset().await?;
                Err(problem.with(|members| members.provided_offset = Some(bringing.offset)))
            }
            Err(problem) => Err(problem),
        }
    }

    /// Returns `true` if the upload ends with these bytes. Records the length if this request declares it or ends the
    /// upload.
    async fn ends_with(&self, appended: &Appended, length: Option<u64>) -> Result<bool, Problem> {
        let offset = appended.offset;
        if let Some(length) = length.filter(|_| self.holds_length_back()) {
            self.set_length(length, offset).await?;
        }
        match (self.bringing.says_complete, length) {
            // The body had no Content-Length. It has ended, so the length is known now.
            (Some(true), None) => self.set_length(offset, offset).await.map(|()| true),
            (Some(true), Some(length)) if offset == length => Ok(true),
            (Some(true), Some(length)) => Err(conflict(length, offset)),
            // Clients of the early versions may declare this even with the last bytes, and never complete the upload
            // (tus-js-client 4.3).
            (Some(false), length) => Ok(self.asked.dialect.is_early() && length == Some(offset)),
            (None, length) => Ok(length == Some(offset)),
        }
    }

    /// Records the length of an upload that was started without one. A known length cannot change.
    async fn set_length(&self, size_bytes: u64, offset: u64) -> Result<(), Problem> {
        let Self { asked, upload, facts, .. } = self;
        if !facts.length_deferred && size_bytes == facts.started.size_bytes {
            return Ok(());
        }
        at_offset(asked, *upload, offset).await?;
        if facts.length_deferred {
            self.reserve_up_to(size_bytes).await?;
        }
        let command = Command::SetLength { size_bytes };
        let aggregate = asked.aggregate(*upload);
        asked
            .gateway
            .repository
            .execute(&aggregate, command, &asked.context())
            .await
            .map(drop)
            .or_problem("setting a length")
    }

    /// Raises the reservation to the length of the file.
    async fn reserve_up_to(&self, size_bytes: u64) -> Result<(), Problem> {
        let limit_bytes = self.max_bytes();
        if size_bytes > limit_bytes {
            return Err(refused(Refusal::FileTooLarge { size_bytes, limit_bytes }));
        }
        let Asked { gateway, principal, .. } = self.asked;
        gateway.reserver.raise(principal.company_id, self.upload, size_bytes, size_bytes, &self.asked.context()).await
    }

    /// Returns the current progress if the offset of this request is right.
    async fn at_offset(&self) -> Result<Appended, Problem> {
        at_offset(self.asked, self.upload, self.bringing.offset).await
    }

    /// Returns the error for more bytes than the file has. If the offset is wrong too, returns that error.
    async fn too_long(&self, length: Option<u64>) -> Problem {
        if let Err(problem) = self.at_offset().await {
            return problem;
        }
        let problem = match length {
            Some(size_bytes) => refused(Refusal::SizeExceeded { size_bytes }),
            None => too_large(self.max_bytes()),
        };
        self.invalidated(problem).await
    }

    /// Returns the error, and ends the upload if the protocol requires that for bytes beyond the length: the draft does
    /// (§4.4.2), tus refuses only the request.
    async fn invalidated(&self, problem: Problem) -> Problem {
        let Self { asked, upload, .. } = self;
        if asked.dialect != Dialect::Tus {
            let aggregate = asked.aggregate(*upload);
            let cancelled = asked.gateway.repository.execute(&aggregate, Command::Cancel, &asked.context()).await;
            if let Err(error) = cancelled {
                tracing::warn!(upload_id = %upload, %error, "cannot cancel an upload that exceeds its length");
            }
        }
        problem
    }
}

fn check_kind(facts: &UploadStarted) -> Result<(), Problem> {
    match facts.kind {
        UploadKind::File | UploadKind::Partial => Ok(()),
        UploadKind::Final { .. } => Err(Problem::new(
            403,
            ErrorCode::UploadKind,
            "a final upload accepts no bytes; send them to its partial uploads",
        )),
        UploadKind::Direct | UploadKind::Quarantine { .. } => {
            Err(Problem::new(403, ErrorCode::UploadKind, "send the bytes of this upload directly to the object store"))
        }
    }
}

/// Returns the checksum of the body: `Upload-Checksum` of tus or `Content-Digest` of HTTP.
pub(crate) fn checksum(asked: &Asked) -> Result<Option<Checksum>, Problem> {
    let Some(value) = asked.request.headers().get("Upload-Checksum") else {
        return Ok(sha256_of(&asked.request, "Content-Digest")?.map(Into::into));
    };
    let invalid = |error: &dyn std::fmt::Display| {
        Problem::bad_request(ErrorCode::ChecksumInvalid, format!("Upload-Checksum: {error}"))
    };
    value.to_str().map_err(|error| invalid(&error))?.parse().map(Some).map_err(|error| invalid(&error))
}

fn conflict(length: u64, end: u64) -> Problem {
    let text = format!("the bytes end at {end}, but the length is {length}");
    Problem::bad_request(ErrorCode::LengthConflict, text)
}

/// Returns `true` if a body without `Content-Length` has at least one byte.
async fn has_bytes(payload: &mut Payload) -> bool {
    while let Some(Ok(bytes)) = payload.next().await {
        if !bytes.is_empty() {
            return true;
        }
    }
    false
}

/// Returns the error for an upload of unknown length that exceeds the largest file size.
fn too_large(limit_bytes: u64) -> Problem {
    refused(Refusal::FileTooLarge { size_bytes: limit_bytes.saturating_add(1), limit_bytes })
}
