//! The data plane for a gateway in the same process.

use super::PlaneError;
use super::incoming::IncomingRange;
use super::ingest::ingest;
use super::whole::store_whole;
use super::writer_lease::WriterLease;
use crate::Worker;
use actix_web::dev::Payload;
use std::sync::Arc;
use waybill_data_plane::{Answer, DataPlane, PutBytes, PutWhole, StoredBytes, StoredWhole};
use waybill_repository::Context;
use waybill_schema::Actor;
use waybill_service_kit::now;

/// Data plane that calls the worker directly, without a connection.
#[derive(Clone)]
pub(crate) struct LocalPlane(pub(crate) Arc<Worker>);

impl DataPlane for LocalPlane {
    fn put_bytes(&self, request: PutBytes, body: Payload) -> Answer<'_, StoredBytes> {
        Box::pin(async move {
            let PutBytes { company, upload, range, checksum, sequential, .. } = request;
            let context = Context {
                actor: Actor::of_sender(request.user, request.link),
                causation: request.request.causation(),
                address: request.request.address,
                clock: now,
            };
            let worker = self.0.as_ref();
            let stored = async {
                // From here on a newer request can end this one. The newer request waits until this hold is released.
                let hold = if sequential { Some(WriterLease::take(&*worker.signals, upload).await?) } else { None };
                let eviction = hold.as_ref().map(WriterLease::eviction).unwrap_or_default();
                let open = worker.uploads.open_current(company, upload).await?;
                let incoming = IncomingRange { range, checksum, sequential, eviction };
                ingest(worker, &open, &context, &incoming, body).await
            };
            stored.await.map_err(|error: PlaneError| {
                tracing::info!(upload_id = %upload, request_id = %request.request.id, %error, "cannot store bytes");
                error.problem()
            })
        })
    }

    fn put_whole(&self, request: PutWhole, body: Payload) -> Answer<'_, StoredWhole> {
        Box::pin(async move {
            store_whole(&self.0, &request, body).await.map_err(|error| {
                let (upload, id) = (request.upload, request.request.id);
                tracing::info!(upload_id = %upload, request_id = %id, %error, "cannot store a file");
                error.problem()
            })
        })
    }
}
