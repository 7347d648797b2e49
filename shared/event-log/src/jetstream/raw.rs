//! Reads events exactly as they are stored, for audits.

use super::batch_get;
use crate::RawMessage;
use crate::ReadError;
use crate::read::{CATCH_UP_ATTEMPTS, CATCH_UP_PAUSE};
use async_nats::{HeaderMap, jetstream};
use futures_util::future::BoxFuture;
use waybill_schema::{CompanyId, Partitions, Position, names};

/// Prefix of the names of the headers of an envelope.
const ENVELOPE: &str = "Waybill-";
/// Maximum number of messages of one read.
const PAGE: usize = 1_024;

/// Stored messages of companies.
#[derive(Clone)]
pub struct RawEvents {
    context: jetstream::Context,
    partitions: Partitions,
}

impl RawEvents {
    pub(super) fn new(context: jetstream::Context, partitions: Partitions) -> Self {
        Self { context, partitions }
    }

    /// Returns the messages of a company from sequence `first` to sequence `last` of its partition, both inclusive.
    /// Reads all messages of the partition in this range. The last one must exist.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the log cannot be read, or if a replica lags behind the leader for 2 s.
    pub fn between(
        &self,
        company: CompanyId,
        first: u64,
        last: u64,
    ) -> BoxFuture<'_, Result<Vec<RawMessage>, ReadError>> {
        Box::pin(async move {
            let partition = self.partitions.of(company);
            let (stream, prefix) = (names::event_stream(partition), names::company_prefix(partition, company));
            let read = |seq, subject: &str, headers: Option<&HeaderMap>, body: &[u8]| {
                let is_ours = subject.starts_with(&prefix);
                (seq, is_ours.then(|| raw(Position { partition, seq }, subject, headers, body)))
            };
            let (mut found, mut after, mut attempts) = (Vec::new(), first.saturating_sub(1), 0);
            while after < last {
                let most = usize::try_from(last - after).unwrap_or(PAGE).min(PAGE);
                let (messages, _) = batch_get::messages(&self.context, &stream, None, after, most, read).await?;
                match messages.last() {
                    Some((reached, _)) => after = *reached,
                    // A replica may lag behind the leader and not have these messages yet.
                    None if attempts == CATCH_UP_ATTEMPTS => {
                        return Err(ReadError::Unavailable(format!("{stream} does not reach sequence {last}")));
                    }
                    None => {
                        attempts += 1;
                        tokio::time::sleep(CATCH_UP_PAUSE).await;
                    }
                }
                found.extend(messages.into_iter().filter(|(seq, _)| *seq <= last).filter_map(|(_, message)| message));
            }
            Ok(found)
        })
    }
}

fn raw(position: Position, subject: &str, headers: Option<&HeaderMap>, body: &[u8]) -> RawMessage {
    let all = headers.into_iter().flat_map(HeaderMap::iter);
    let own = all.filter(|(name, _)| name.to_string().starts_with(ENVELOPE));
    let mut headers: Vec<(String, String)> =
        own.filter_map(|(name, values)| Some((name.to_string(), values.first()?.as_str().to_owned()))).collect();
    headers.sort();
    RawMessage { position, subject: subject.to_owned(), headers, body: body.to_vec() }
}
