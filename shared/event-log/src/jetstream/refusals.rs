//! Refusals of requests, in the streams `AUD-{p}`. They are not part of a replay.

use super::{batch_get, context};
use crate::ReadError;
use async_nats::jetstream;
use async_nats::jetstream::context::PublishError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use waybill_schema::{CompanyId, Partitions, UserId, names};

/// Refusals with their sequences, and `true` if there are more.
type Page = (Vec<(u64, Bytes)>, bool);

/// Refusals of authenticated callers.
#[derive(Clone)]
pub struct Refusals {
    context: jetstream::Context,
    /// Context for reads, so that other requests do not wait for them.
    reads: jetstream::Context,
    partitions: Partitions,
}

impl Refusals {
    /// Returns the refusals on a connection.
    pub fn new(client: async_nats::Client, partitions: Partitions) -> Self {
        let context = context(client);
        Self::by(context.clone(), context, partitions)
    }

    pub(super) fn by(context: jetstream::Context, reads: jetstream::Context, partitions: Partitions) -> Self {
        Self { context, reads, partitions }
    }

    /// Stores a refusal.
    ///
    /// # Errors
    /// [`PublishError`] if the server does not store the refusal.
    pub fn keep(&self, company: CompanyId, user: UserId, refusal: Bytes) -> BoxFuture<'_, Result<(), PublishError>> {
        Box::pin(async move {
            let subject = names::refusal_subject(self.partitions.of(company), company, user);
            self.context.publish(subject, refusal).await?.await.map(drop)
        })
    }

    /// Returns up to `max` refusals of a company after sequence `after` with their sequences, and `true` if there are
    /// more.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the stream cannot be read.
    pub fn page(&self, company: CompanyId, after: u64, max: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(async move {
            let partition = self.partitions.of(company);
            let (stream, filter) = (names::refusal_stream(partition), names::refusals_filter(partition, company));
            let read = |seq, _: &str, _: Option<&_>, body: &[u8]| (seq, Bytes::copy_from_slice(body));
            batch_get::messages(&self.reads, &stream, Some(&filter), after, max, read).await
        })
    }
}
