//! Events as they are stored, for whoever wants proof.

use super::batch_get;
use crate::ReadError;
use crate::chain::RawMessage;
use async_nats::{HeaderMap, jetstream};
use waybill_schema::{CompanyId, Partitions, Position, names};

/// What the names of an envelope's headers begin with.
const ENVELOPE: &str = "Waybill-";
/// How many messages are read at once.
const PAGE: usize = 1_024;

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

    /// The messages of a company from sequence `first` to sequence `last` of its partition. All messages in between are read.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn between(&self, company: CompanyId, first: u64, last: u64) -> Result<Vec<RawMessage>, ReadError> {
        let partition = self.partitions.of(company);
        let (stream, prefix) = (names::event_stream(partition), names::company_prefix(partition, company));
        let read = |seq, subject: &str, headers: Option<&HeaderMap>, body: &[u8]| {
            let is_ours = subject.starts_with(&prefix);
            (seq, is_ours.then(|| raw(Position { partition, seq }, subject, headers, body)))
        };
        let (mut found, mut after) = (Vec::new(), first.saturating_sub(1));
        while after < last {
            let most = usize::try_from(last - after).unwrap_or(PAGE).min(PAGE);
            let (messages, more) = batch_get::messages(&self.context, &stream, None, after, most, read).await?;
            let Some((reached, _)) = messages.last() else { break };
            after = *reached;
            found.extend(messages.into_iter().filter(|(seq, _)| *seq <= last).filter_map(|(_, message)| message));
            if !more {
                break;
            }
        }
        Ok(found)
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
