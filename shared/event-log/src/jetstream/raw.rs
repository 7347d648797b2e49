//! Events as they are stored, for whoever wants proof.

use super::batch_get;
use super::log::{one, unavailable};
use crate::ReadError;
use crate::chain::RawMessage;
use async_nats::jetstream;
use waybill_schema::{CompanyId, Partitions, Position, names};

/// What the names of an envelope's headers begin with.
const ENVELOPE: &str = "Waybill-";

/// The stored messages of companies.
#[derive(Clone)]
pub struct RawEvents {
    context: jetstream::Context,
    partitions: Partitions,
}

impl RawEvents {
    pub(super) fn new(context: jetstream::Context, partitions: Partitions) -> Self {
        Self { context, partitions }
    }

    /// The sequence of a company's last message, as the stream's leader knows it; 0 without one.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn last_seq(&self, company: CompanyId) -> Result<u64, ReadError> {
        let partition = self.partitions.of(company);
        let stream = self.context.get_stream_no_info(names::event_stream(partition)).await.map_err(unavailable)?;
        let found = stream.get_last_raw_message_by_subject(&names::company_filter(partition, company)).await;
        Ok(one(partition, found)?.map_or(0, |last| last.position.seq))
    }

    /// Up to `max` messages of a company behind sequence `after`; and whether there are more.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn page(&self, company: CompanyId, after: u64, max: usize) -> Result<(Vec<RawMessage>, bool), ReadError> {
        let partition = self.partitions.of(company);
        let (stream, filter) = (names::event_stream(partition), names::company_filter(partition, company));
        let read = |seq, subject: &str, headers: Option<&async_nats::HeaderMap>, body: &[u8]| {
            let all = headers.into_iter().flat_map(|headers| headers.iter());
            let own = all.filter(|(name, _)| name.to_string().starts_with(ENVELOPE));
            let mut headers: Vec<(String, String)> = own
                .filter_map(|(name, values)| Some((name.to_string(), values.first()?.as_str().to_owned())))
                .collect();
            headers.sort();
            let position = Position { partition, seq };
            RawMessage { position, subject: subject.to_owned(), headers, body: body.to_vec() }
        };
        batch_get::messages(&self.context, &stream, &filter, after, max, read).await
    }
}
