//! Records about requests that append no events: refusals in the streams `AUD-{p}`, and reads in `ACC-{p}`. They are not
//! part of a replay.

use super::{batch_get, context};
use crate::ReadError;
use async_nats::jetstream;
use async_nats::jetstream::context::PublishError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use waybill_schema::names::RecordKind;
use waybill_schema::{CompanyId, Partitions, UserId};

/// Records with their sequences, and `true` if there are more.
type Page = (Vec<(u64, Bytes)>, bool);

/// Records of one kind about the requests of authenticated callers.
#[derive(Clone)]
pub struct Records {
    kind: RecordKind,
    context: jetstream::Context,
    /// Context for reads, so that other requests do not wait for them.
    reads: jetstream::Context,
    partitions: Partitions,
}

impl Records {
    /// Returns the records of this kind on a connection.
    pub fn new(kind: RecordKind, client: async_nats::Client, partitions: Partitions) -> Self {
        let context = context(client);
        Self { kind, context: context.clone(), reads: context, partitions }
    }

    pub(super) fn by(
        kind: RecordKind,
        context: jetstream::Context,
        reads: jetstream::Context,
        partitions: Partitions,
    ) -> Self {
        Self { kind, context, reads, partitions }
    }

    /// Stores a record.
    ///
    /// # Errors
    /// [`PublishError`] if the server does not store the record.
    pub fn keep(&self, company: CompanyId, user: UserId, record: Bytes) -> BoxFuture<'_, Result<(), PublishError>> {
        Box::pin(async move {
            let subject = self.kind.subject(self.partitions.of(company), company, user);
            self.context.publish(subject, record).await?.await.map(drop)
        })
    }

    /// Returns up to `max` records of a company after sequence `after` with their sequences, and `true` if there are
    /// more.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the stream cannot be read.
    pub fn page(&self, company: CompanyId, after: u64, max: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(async move {
            let partition = self.partitions.of(company);
            let (stream, filter) = (self.kind.stream(partition), self.kind.filter(partition, company));
            let read = |seq, _: &str, _: Option<&_>, body: &[u8]| (seq, Bytes::copy_from_slice(body));
            batch_get::messages(&self.reads, &stream, Some(&filter), after, max, read).await
        })
    }
}
