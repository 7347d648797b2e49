//! Uploads whose object the client creates under a quarantine key. The routes of both Uppy versions use this module.

use crate::application::gateway::Gateway;
use crate::application::idempotency::Idempotency;
use crate::application::links;
use crate::application::uploads::description::check;
use crate::application::uploads::end::cancel_upload;
use crate::application::uploads::start::start_now;
use crate::http::problems::{IntoProblem, OrProblem, cleaned};
use crate::routes::direct::end_of;
use crate::routes::direct::uppy::described::Described;
use actix_web::{HttpRequest, web};
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_domain::limits::UNKNOWN_PART_BYTES;
use waybill_domain::upload::{Command, State};
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_object_store::presign::{Presign, Presigned};
use waybill_object_store::{CompletedPart, ListedPart, StoreError};
use waybill_repository::{Context, Loaded, UploadAggregate};
use waybill_schema::ErrorCode;
use waybill_schema::events::{UploadKind, UploadStarted};
use waybill_schema::{UploadId, names};
use waybill_service_kit::now;

/// Last segment of every quarantine key. An upload has exactly one quarantine key.
const OBJECT: &str = "object";

/// Request context of an Uppy route: the gateway, the caller and the HTTP request.
pub(crate) struct Asked {
    pub(crate) gateway: web::Data<Gateway>,
    pub(crate) principal: Principal,
    pub(crate) context: Context,
    pub(crate) request: HttpRequest,
}

impl Asked {
    pub(crate) fn new(gateway: web::Data<Gateway>, principal: Principal, id: RequestId, request: HttpRequest) -> Self {
        let context = gateway.context(&principal, id);
        Self { gateway, principal, context, request }
    }
}

/// Upload together with its quarantine key.
pub(crate) struct Quarantined {
    pub(crate) aggregate: UploadAggregate,
    pub(crate) loaded: Loaded<State>,
    pub(crate) key: String,
}

impl Asked {
    /// Starts an upload, or finds the upload of an earlier request with the same `Idempotency-Key`. The object key that
    /// the client proposes does not identify an upload.
    pub(crate) async fn start(&self, described: &Described) -> Result<Quarantined, Problem> {
        let (gateway, principal, request) = (&self.gateway, &self.principal, &self.request);
        gateway.check_direct()?;
        let facts = described.facts(links::limits(gateway, principal).await?.max_file_bytes)?;
        let started = check(gateway, principal, &self.context, &facts).await?;
        let body = serde_json::to_vec(&facts).map_err(|_| Problem::internal())?;
        let upload = UploadId(gateway.idempotency.id_for(request, principal, "uppy", &body).await?);
        let is_repeatable = Idempotency::is_repeatable(request);
        let key = format!("{}{OBJECT}", names::quarantine_prefix(principal.company_id, upload));
        let start = UploadStarted {
            started,
            length_deferred: described.size_bytes().is_none(),
            kind: UploadKind::Quarantine { quarantine_key: key.clone() },
            upload_metadata: None,
            link_id: principal.link,
        };
        start_now(gateway, principal, &self.context, upload, start, is_repeatable).await?;
        let aggregate = UploadAggregate { company: principal.company_id, upload };
        let mut found = Quarantined { aggregate, loaded: Loaded::default(), key };
        // The URLs that this request signs are valid from now on, so the upload must live as long as they do.
        self.expect_object(&mut found).await?;
        Ok(found)
    }

    /// Finds the upload of a quarantine key. Returns an error if the upload is not open.
    pub(crate) async fn find(&self, key: &str) -> Result<Quarantined, Problem> {
        let found = self.find_any(key).await?;
        found.loaded.state.check_open(now()).map_err(refused)?;
        Ok(found)
    }

    /// Finds the upload of a quarantine key in any phase.
    pub(crate) async fn find_any(&self, key: &str) -> Result<Quarantined, Problem> {
        let unknown = || Problem::not_found("upload");
        let mut segments = key.split('/');
        let id = segments.nth(2).ok_or_else(unknown)?.parse().map_err(|_| unknown())?;
        let (aggregate, loaded) = self.gateway.upload(&self.principal, id).await?;
        let is_its_key =
            matches!(&loaded.state.kind, UploadKind::Quarantine { quarantine_key } if quarantine_key == key);
        if !is_its_key {
            return Err(unknown());
        }
        Ok(Quarantined { aggregate, loaded, key: key.to_owned() })
    }

    /// Signs a request to the object store.
    pub(crate) async fn presign(&self, key: &str, request: &Presign<'_>) -> Result<Presigned, Problem> {
        let signed = self.gateway.presigner.presign(key, request, self.gateway.settings.upload_url_lifetime());
        signed.await.or_problem("signing a request")
    }

    /// Lists the stored parts of the multipart upload, and aborts all other multipart uploads of the same key, because
    /// they would occupy space that is not reserved. If the parts exceed the size of the upload, this cancels the
    /// upload.
    ///
    /// # Errors
    /// 404 if the store does not know the multipart upload, 413 `size_exceeded` if the parts are too large.
    pub(crate) async fn check_room(
        &self,
        found: &mut Quarantined,
        upload_id: &str,
    ) -> Result<Vec<ListedPart>, Problem> {
        let store = &self.gateway.store;
        let open = store.list_multiparts(&found.key).await.or_problem("listing multipart uploads")?;
        for (key, other) in open.iter().filter(|(_, open)| open != upload_id) {
            let aborted = store.abort_multipart(key, other).await;
            cleaned(aborted, "dropping a second multipart upload")?;
        }
        let parts = match store.list_parts(&found.key, upload_id).await {
            Ok(parts) => parts,
            Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. }) => {
                return Err(Problem::not_found("multipart upload"));
            }
            Err(error) => return Err(error.into_problem("listing parts")),
        };
        let size_bytes = found.loaded.state.grid().size_bytes;
        if parts.iter().map(|part| part.size_bytes).sum::<u64>() <= size_bytes {
            return Ok(parts);
        }
        cancel_upload(&self.gateway, &self.context, &found.aggregate, &mut found.loaded).await?;
        let aborted = store.abort_multipart(&found.key, upload_id).await;
        cleaned(aborted, "dropping a multipart upload")?;
        Err(refused(Refusal::SizeExceeded { size_bytes }))
    }

    /// Records that the client has a URL until it expires. Until then the upload does not expire, and a worker looks
    /// for its object.
    pub(crate) async fn expect_object(&self, found: &mut Quarantined) -> Result<(), Problem> {
        let until = end_of(self.gateway.settings.upload_url_lifetime());
        let command = Command::SignQuarantine { until };
        self.gateway
            .repository
            .execute_from(&found.aggregate, &mut found.loaded, command, &self.context)
            .await
            .map(drop)
            .or_problem("signing a request")
    }

    /// Raises the reservation to `bytes` if the size of the upload is unknown.
    pub(crate) async fn reserve(&self, found: &Quarantined, bytes: u64) -> Result<(), Problem> {
        if !found.loaded.state.length_deferred {
            return Ok(());
        }
        let max_bytes = found.loaded.state.grid().size_bytes;
        let (company, upload) = (found.aggregate.company, found.aggregate.upload);
        self.gateway.reserver.raise(company, upload, bytes.min(max_bytes), max_bytes, &self.context).await
    }

    /// Signs a part. If the size of the upload is unknown, this first reserves space for all parts up to this one that
    /// are not stored yet. It assumes that each is as large as the largest stored part, and at least
    /// [`UNKNOWN_PART_BYTES`].
    pub(crate) async fn sign_part(
        &self,
        found: &mut Quarantined,
        upload_id: &str,
        part_number: u32,
    ) -> Result<Presigned, Problem> {
        check_part_number(part_number)?;
        let parts = self.check_room(found, upload_id).await?;
        let size_bytes = self.check_number(found, part_number)?;
        let there: u64 = parts.iter().map(|part| part.size_bytes).sum();
        let largest = parts.iter().map(|part| part.size_bytes).max().unwrap_or_default().max(UNKNOWN_PART_BYTES);
        let before = parts.iter().filter(|part| part.part_number < part_number).count();
        let under_way = u64::from(part_number).saturating_sub(before as u64);
        self.reserve(found, there.saturating_add(under_way.saturating_mul(largest))).await?;
        self.expect_object(found).await?;
        self.presign(&found.key, &Presign::UploadPart { upload_id, part_number, size_bytes, pinned: None }).await
    }

    /// Checks that an upload of known size can have a part with this number: S3 allows no part below 5 MiB, except for
    /// the last one. Returns the size of the part if it is the only one.
    fn check_number(&self, found: &Quarantined, part_number: u32) -> Result<Option<u64>, Problem> {
        if found.loaded.state.length_deferred {
            return Ok(None);
        }
        let size_bytes = found.loaded.state.grid().size_bytes;
        let most = size_bytes.div_ceil(UNKNOWN_PART_BYTES).max(1);
        if u64::from(part_number) > most {
            let detail = format!("a file of {size_bytes} bytes has at most {most} parts of 5 MiB or more");
            return Err(Problem::bad_request(ErrorCode::PartsInvalid, detail));
        }
        Ok((most == 1).then_some(size_bytes))
    }

    /// Completes a multipart upload. Succeeds if an earlier request has already completed it and its response was lost.
    pub(crate) async fn make_object(
        &self,
        found: &mut Quarantined,
        upload_id: &str,
        parts: &[CompletedPart],
    ) -> Result<(), Problem> {
        found.loaded.state.check_open(now()).map_err(refused)?;
        let store = &self.gateway.store;
        if self.is_made(&found.key).await? {
            return self.expect_object(found).await;
        }
        let listed = self.check_room(found, upload_id).await?;
        check_parts(&listed, parts)?;
        self.reserve(found, listed.iter().map(|part| part.size_bytes).sum()).await?;
        // Recorded first: if this process dies after the completion, a worker still finds the object.
        self.expect_object(found).await?;
        match store.complete_multipart(&found.key, upload_id, parts).await {
            Ok(()) => Ok(()),
            // Another request has completed the multipart upload.
            Err(StoreError::NoSuchUpload { .. }) if self.is_made(&found.key).await? => Ok(()),
            Err(StoreError::NoSuchUpload { .. }) => Err(Problem::not_found("multipart upload")),
            Err(StoreError::PartsInvalid { code, .. }) => Err(Problem::bad_request(
                ErrorCode::PartsInvalid,
                format!("the object store refused the parts: {code}"),
            )),
            Err(error) => Err(error.into_problem("completing a multipart upload")),
        }
    }

    /// Returns `true` if the store has an object with this key.
    pub(crate) async fn is_made(&self, key: &str) -> Result<bool, Problem> {
        let size = self.gateway.store.size(key).await;
        size.map(|size| size.is_some()).or_problem("looking for an object")
    }

    /// Signs a PUT request for the whole object.
    pub(crate) async fn sign_object(&self, found: &Quarantined, size_bytes: Option<u64>) -> Result<Presigned, Problem> {
        self.presign(&found.key, &Presign::PutObject { size_bytes }).await
    }
}

/// Checks that the store has all of these parts and that they are in ascending order. S3 checks this too
/// (`InvalidPart`, `InvalidPartOrder`), but not every other store does.
fn check_parts(listed: &[ListedPart], parts: &[CompletedPart]) -> Result<(), Problem> {
    if parts.is_empty() {
        return Err(Problem::bad_request(
            ErrorCode::PartsInvalid,
            "the upload has no parts; send at least one part first",
        ));
    }
    if !parts.is_sorted_by(|a, b| a.part_number < b.part_number) {
        return Err(Problem::bad_request(
            ErrorCode::PartsInvalid,
            "list each part once, in ascending order of part numbers",
        ));
    }
    let is_there = |part: &CompletedPart| {
        listed.iter().any(|known| known.part_number == part.part_number && known.has_etag(&part.etag))
    };
    match parts.iter().find(|part| !is_there(part)) {
        Some(part) => {
            let detail = format!("the object store has no part {} with this ETag; send it again", part.part_number);
            Err(Problem::new(409, ErrorCode::PartMissing, detail)
                .with(|members| members.part_number = Some(part.part_number)))
        }
        None => Ok(()),
    }
}

/// Checks that the part number is in S3's range of 1 to 10,000.
fn check_part_number(part_number: u32) -> Result<(), Problem> {
    if (1..=10_000).contains(&part_number) {
        return Ok(());
    }
    Err(Problem::bad_request(ErrorCode::PartsInvalid, "the part number must be between 1 and 10000"))
}
