//! Upload of one file: starts or resumes it, sends the bytes, completes it and waits for the verification.

use super::args::Protocol;
use super::error::UploadError;
use super::plan::Plan;
use super::sender::send_chunks;
use super::shared::Shared;
use super::transfer::Upload;
use super::tus;
use crate::output;
use crate::retry::Patience;
use crate::state::{FileFacts, Kept, Record, Remembered};
use reqwest::{Method, RequestBuilder};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};
use uuid::Uuid;
use waybill_api::uploads::{Completion, Mode, Status, UploadStarted, UploadStatus};
use waybill_api::{ErrorCode, Extensible};
use waybill_schema::Sha256Digest;

/// Maximum size in bytes of a file that is sent with one request.
const WHOLE_BELOW: u64 = 1_024 * 1_024;
/// Time in seconds for which one request waits for the verification.
const VERIFY_WAIT_S: u32 = 60;

/// Time for which a command that failed in part remembers its uploaded files.
const A_DAY: Duration = Duration::from_secs(86_400);
/// Time after which a failed request for a whole file counts as slow.
const SLOW: Duration = Duration::from_secs(8);
/// Minimum throughput in bytes per second of a file that is sent with one request.
const SLOWEST_BYTES_PER_S: u64 = 4_096;

/// Result of sending a file with one request.
enum Whole {
    Done(Uploaded),
    /// The request failed after a long time. The file must be sent in chunks, because Waybill keeps the bytes of those.
    Slow {
        sha256: String,
    },
}

/// Uploaded and verified file.
pub(super) struct Uploaded {
    pub(super) file_id: String,
    pub(super) sha256: String,
    pub(super) size_bytes: u64,
    /// Number of bytes that this run sent, including those that it sent again.
    pub(super) sent_bytes: u64,
    /// Number of bytes that earlier runs had uploaded.
    pub(super) resumed_bytes: u64,
    /// `true` if an earlier run had uploaded the whole file.
    pub(super) was_there: bool,
}

/// Uploads a file. Returns its record after success; the caller deletes it when all files of the command are uploaded.
pub(super) async fn upload(
    shared: &Shared,
    plan: Plan,
    session_id: Option<&str>,
) -> Result<(Uploaded, Kept), UploadError> {
    let way = match shared.protocol {
        Protocol::Direct => Some("direct"),
        // Each of these protocols can continue an upload of the other one.
        Protocol::Native | Protocol::Tus => None,
    };
    let target = [session_id, plan.chatroom.as_deref(), plan.thread.as_deref(), Some(plan.mime_type.as_str()), way];
    let target = target.map(Option::unwrap_or_default).join(" ");
    let (url, whose, path) = (shared.api.url(), shared.api.whose(), plan.path.as_os_str().as_encoded_bytes());
    // A link has another name than its target.
    let link = plan.path.file_name().is_none_or(|name| name != plan.name.as_str()).then_some(plan.name.as_bytes());
    let parts = [url.as_bytes(), whose.as_bytes(), path, target.as_bytes()].into_iter().chain(link);
    let held = shared.state.hold("uploads", parts)?;
    let bar = shared.output.file_bar(&plan.name, plan.size_bytes());
    let patience = Patience::new(shared.patience);
    let upload = Upload { shared, plan: &plan, patience, bar, sent_bytes: Arc::default() };
    let result = upload.run(&held, session_id).await;
    upload.bar.finish_and_clear();
    match result {
        Ok(uploaded) => {
            held.keep(&Record {
                path: plan.shown_path(),
                file: plan.facts.clone(),
                idempotency_key: Uuid::now_v7(),
                upload_id: Some(uploaded.file_id.clone()),
                finished_at: Some(SystemTime::now()),
            })?;
            Ok((uploaded, held.release()))
        }
        Err(error) => {
            // The record is needed to continue, unless Waybill has refused or ended the upload.
            let refused = matches!(&error, UploadError::Api(error) if error.is_refusal());
            if refused || matches!(error, UploadError::Failed { .. }) {
                held.forget();
            }
            Err(error)
        }
    }
}

impl Upload<'_> {
    async fn run(&self, held: &Remembered, session_id: Option<&str>) -> Result<Uploaded, UploadError> {
        let record = self.earlier(held).await?;
        if let Some(record) = &record
            && let Some(upload_id) = &record.upload_id
        {
            let status = self.status(upload_id).await;
            match status {
                Ok(status) => match status.status {
                    Extensible::Known(Status::Completed) => return self.found(upload_id, status),
                    Extensible::Known(Status::Pending | Status::Uploading) => {
                        return self.send(upload_id, status).await;
                    }
                    _ => {}
                },
                Err(UploadError::Api(error)) if matches!(error.status(), Some(404 | 410)) => {}
                Err(error) => return Err(error),
            }
        }
        // If the answer to an earlier start was lost, the same idempotency key returns the same upload.
        let mut record = record.filter(|record| record.upload_id.is_none()).unwrap_or_else(|| Record {
            path: self.plan.shown_path(),
            file: self.plan.facts.clone(),
            idempotency_key: Uuid::now_v7(),
            upload_id: None,
            finished_at: None,
        });
        held.keep(&record)?;
        let mut sha256 = None;
        if self.plan.size_bytes() <= WHOLE_BELOW && self.shared.protocol == Protocol::Native {
            match self.send_whole(&record, session_id).await? {
                Whole::Done(uploaded) => return Ok(uploaded),
                Whole::Slow { sha256: of_file } => sha256 = Some(of_file),
            }
        }
        let upload_id = match self.shared.protocol {
            Protocol::Tus => tus::start(self, session_id, record.idempotency_key).await?,
            Protocol::Native | Protocol::Direct => self.start(session_id, sha256, record.idempotency_key).await?,
        };
        record.upload_id = Some(upload_id.clone());
        held.keep(&record)?;
        self.event("started", &upload_id, 0);
        let status = self.status(&upload_id).await?;
        self.send(&upload_id, status).await
    }

    async fn start(
        &self,
        session_id: Option<&str>,
        sha256: Option<String>,
        idempotency_key: Uuid,
    ) -> Result<String, UploadError> {
        let mut start = self.plan.start(session_id)?;
        // The request for the whole file had the same idempotency key and this digest. Both must match.
        start.sha256 = sha256;
        if self.shared.protocol == Protocol::Direct {
            start.mode = Mode::Direct;
        }
        let started: UploadStarted = self
            .persist(|| {
                let request = self.shared.api.request(Method::POST, "/v1/uploads").json(&start);
                self.shared.api.json(request.header("Idempotency-Key", idempotency_key.to_string()))
            })
            .await?;
        Ok(started.upload_id.to_string())
    }

    /// Returns the record of an earlier run for the same file. If the file has changed since, cancels that upload.
    async fn earlier(&self, held: &Remembered) -> Result<Option<Record>, UploadError> {
        let Some(record) = held.load::<Record>() else { return Ok(None) };
        if let Some(finished_at) = record.finished_at
            && (!self.shared.resume || record.file != self.plan.facts || finished_at.elapsed().is_ok_and(|t| t > A_DAY))
        {
            // Waybill keeps the uploaded file, even if the local file has changed.
            return Ok(None);
        }
        if self.shared.resume && record.file == self.plan.facts {
            return Ok(Some(record));
        }
        if let Some(upload_id) = record.upload_id {
            if self.shared.resume {
                self.shared
                    .output
                    .note(&format!("{}: changed since the last run; uploading from the beginning", self.plan.name));
            }
            let path = format!("/v1/uploads/{upload_id}");
            // Errors are ignored: the upload expires in any case.
            drop(self.shared.api.send_soon(self.shared.api.request(Method::DELETE, &path)).await);
        }
        Ok(None)
    }

    fn found(&self, upload_id: &str, status: UploadStatus) -> Result<Uploaded, UploadError> {
        let sha256 = self.digest(status)?;
        self.shared.total.inc(self.plan.size_bytes());
        output::estimate_from_here(&self.shared.total);
        let (file_id, size_bytes) = (upload_id.to_owned(), self.plan.size_bytes());
        Ok(Uploaded { file_id, sha256, size_bytes, sent_bytes: 0, resumed_bytes: size_bytes, was_there: true })
    }

    /// Sends a small file with one request. If the request fails after a long time, the connection is slow and the
    /// request would fail again.
    async fn send_whole(&self, record: &Record, session_id: Option<&str>) -> Result<Whole, UploadError> {
        let bytes = bytes::Bytes::from(tokio::fs::read(&self.plan.path).await?);
        self.unchanged(bytes.len() as u64)?;
        let sha256 = Sha256Digest(Sha256::digest(&bytes).into()).to_string();
        let mut query = vec![("name", self.plan.name.as_str()), ("mime_type", self.plan.mime_type.as_str())];
        query.push(("sha256", &sha256));
        query.extend(session_id.map(|id| ("session_id", id)));
        query.extend(self.plan.chatroom.as_deref().map(|id| ("chatroom_id", id)));
        query.extend(self.plan.thread.as_deref().map(|id| ("thread_id", id)));
        let done: Option<UploadStatus> = self
            .persist(|| async {
                let _permit = self.shared.requests.acquire().await;
                self.sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                let request = self.shared.api.request(Method::POST, "/v1/files").query(&query).body(bytes.clone());
                let request = request.header("Idempotency-Key", record.idempotency_key.to_string());
                let timeout = Duration::from_secs(120 + self.plan.size_bytes() / SLOWEST_BYTES_PER_S);
                let began = Instant::now();
                match self.shared.api.json_within(timeout, request).await {
                    Err(error) if error.is_passing() && began.elapsed() >= SLOW => Ok(None),
                    answer => answer.map(Some),
                }
            })
            .await?;
        let Some(done) = done else { return Ok(Whole::Slow { sha256 }) };
        self.bar.inc(bytes.len() as u64);
        self.shared.total.inc(bytes.len() as u64);
        let upload_id = done.upload_id.to_string();
        self.verified(&upload_id, done, &sha256, 0).await.map(Whole::Done)
    }

    /// Sends the missing bytes, completes the upload and waits for the verification.
    async fn send(&self, upload_id: &str, status: UploadStatus) -> Result<Uploaded, UploadError> {
        let there = status.bytes_uploaded;
        if there > 0 {
            self.event("resumed", upload_id, there);
            self.bar.set_position(there);
            self.shared.total.inc(there);
            [&self.bar, &self.shared.total].into_iter().for_each(output::estimate_from_here);
        }
        let sent = match self.shared.protocol {
            Protocol::Tus if status.status != Status::Completed => tus::send_rest(self, upload_id).await?,
            _ => send_chunks(self, upload_id, &status).await?,
        };
        self.unchanged(sent.read_bytes)?;
        self.bar.set_message("verifying");
        let complete = Completion { sha256: Some(sent.sha256.clone()) };
        let done: Result<UploadStatus, _> =
            self.persist(|| self.shared.api.json(self.complete(upload_id).json(&complete))).await;
        let done = match done {
            // The answer to an earlier completion was lost. The status has its result.
            Err(error) if error.has_code(ErrorCode::DigestMismatch) || error.has_code(ErrorCode::UploadEnded) => {
                self.status(upload_id).await?
            }
            done => done?,
        };
        self.verified(upload_id, done, &sent.sha256, there).await
    }

    fn complete(&self, upload_id: &str) -> RequestBuilder {
        let request = self.shared.api.request(Method::POST, &format!("/v1/uploads/{upload_id}/complete"));
        request.header("Prefer", format!("wait={VERIFY_WAIT_S}"))
    }

    /// Waits for the verification of a completed upload.
    async fn verified(
        &self,
        upload_id: &str,
        mut done: UploadStatus,
        sha256: &str,
        resumed_bytes: u64,
    ) -> Result<Uploaded, UploadError> {
        let mut waits_left = 60;
        loop {
            match done.status {
                Extensible::Known(Status::Completed) => {
                    let found = self.digest(done)?;
                    if found != sha256 {
                        return Err(UploadError::Failed {
                            code: ErrorCode::DigestMismatch.to_string(),
                            message: format!("the stored file has the SHA-256 {found}, the local file has {sha256}"),
                        });
                    }
                    let (file_id, size_bytes) = (upload_id.to_owned(), self.plan.size_bytes());
                    let sent_bytes = self.sent_bytes.load(Ordering::Relaxed);
                    let was_there = false;
                    return Ok(Uploaded { file_id, sha256: found, size_bytes, sent_bytes, resumed_bytes, was_there });
                }
                Extensible::Known(Status::Pending | Status::Uploading) if waits_left > 0 => waits_left -= 1,
                Extensible::Known(Status::Pending | Status::Uploading) => return Err(UploadError::Unverified),
                _ => {
                    return Err(UploadError::Failed {
                        code: done.error_code.unwrap_or_else(|| ErrorCode::UploadEnded.to_string()),
                        message: done.error_message.unwrap_or_else(|| "the upload was cancelled".to_owned()),
                    });
                }
            }
            done = self.persist(|| self.shared.api.json(self.complete(upload_id).json(&Completion::default()))).await?;
        }
    }

    /// Returns the SHA-256 of a verified upload.
    fn digest(&self, status: UploadStatus) -> Result<String, UploadError> {
        status.sha256.ok_or_else(|| self.shared.api.strange("no sha256").into())
    }

    /// Checks that the file has not changed since the beginning, and that all its bytes were read.
    fn unchanged(&self, read_bytes: u64) -> Result<(), UploadError> {
        let now = FileFacts::of(&std::fs::metadata(&self.plan.path)?);
        if now == self.plan.facts && read_bytes == now.size_bytes { Ok(()) } else { Err(UploadError::Changed) }
    }
}
