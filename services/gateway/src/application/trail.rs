//! Reads the events of one company in the order of the log.
//!
//! The read model knows the positions of the company's events in the partition ([`waybill_read_model::blocks`]), so
//! that the gateway does not have to read the events of other companies. For the rest of the partition, it reads all
//! messages.

use crate::application::gateway::Gateway;
use crate::http::problems::OrProblem;
use futures_util::stream;
use futures_util::stream::{StreamExt, TryStreamExt};
use waybill_event_log::{Head, RawMessage};
use waybill_http_kit::Problem;
use waybill_read_model::queries;
use waybill_read_model::queries::EventPositions;
use waybill_schema::{CompanyId, Position};

/// Number of concurrent requests to the log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Haste {
    /// Somebody waits for the events.
    Request,
    /// Nobody waits. The requests of users come first.
    Background,
}

impl Haste {
    fn at_once(self) -> usize {
        match self {
            Self::Request => 8,
            Self::Background => 1,
        }
    }
}

/// Maximum number of blocks of the log that are looked up for a page.
const BLOCKS: u16 = 1_024;

/// Maximum distance between two of the company's messages that are read with one request. Reading messages of other
/// companies between them is cheaper than another request.
const GAP: u64 = 16;

/// Number of messages per request if the positions are not known.
const PIECE: u64 = 1_024;

/// Maximum number of such messages for one page.
const WHOLE: u64 = 16 * PIECE;

/// A page of a company's events.
pub(crate) struct Trail {
    pub(crate) messages: Vec<RawMessage>,
    /// Sequence up to which the log was read.
    pub(crate) read_to: u64,
    /// `true` if the log has messages after `read_to`.
    pub(crate) more: bool,
}

/// Returns about `most` events of a company after the sequence `after` of its partition. It can return fewer events,
/// even if there are `more`.
pub(crate) async fn events(
    gateway: &Gateway,
    company: CompanyId,
    after: u64,
    most: usize,
    haste: Haste,
) -> Result<Trail, Problem> {
    let partition = gateway.log.partitions().of(company);
    // Query the read model before the end of the log, so that its positions are not after that end.
    let known = known_positions(gateway, company, after, most).await?;
    let head = gateway.log.head(partition).await.or_problem("looking for the log's end")?;
    let known = match known {
        Some(known) if is_of_this_log(gateway, partition, &known, &head).await? => Some(known),
        _ => None,
    };
    let mut reading = Reading { gateway, company, haste, messages: Vec::new(), read_to: after };
    let (from, to) = known.as_ref().map_or((0, 0), |known| (known.from, known.checkpoint.seq.unsigned_abs()));
    let from = from.min(head.last_seq);
    if after < from {
        // An older version projected these events without recording their positions.
        reading.read_whole(from, most).await?;
    } else {
        if let Some(known) = known {
            reading.read_known(&known, most).await?;
        }
        if reading.read_to >= to {
            reading.read_whole(head.last_seq, most).await?;
        }
    }
    let Reading { messages, read_to, .. } = reading;
    Ok(Trail { messages, read_to, more: read_to < head.last_seq })
}

/// Queries the positions of the company's events. Returns `None` if the read model has nothing of the partition.
async fn known_positions(
    gateway: &Gateway,
    company: CompanyId,
    after: u64,
    most: usize,
) -> Result<Option<EventPositions>, Problem> {
    let failed = "looking for a company's events";
    // Each block has at least one event after `after`, except perhaps the first block.
    let blocks = u16::try_from(most + 1).unwrap_or(BLOCKS).min(BLOCKS);
    let partition = gateway.log.partitions().of(company);
    let mut connection = gateway.database.connection().await.or_problem(failed)?;
    let found = queries::event_positions(&mut connection, partition, company, after + 1, blocks).await;
    drop(connection);
    found.or_problem(failed)
}

/// Returns `true` if the read model was built from the log with this end.
async fn is_of_this_log(
    gateway: &Gateway,
    partition: u32,
    known: &EventPositions,
    head: &Head,
) -> Result<bool, Problem> {
    let seq = known.checkpoint.seq.unsigned_abs();
    if known.checkpoint.epoch != head.epoch || seq > head.last_seq {
        return Ok(false);
    }
    // A stream that was restored from a backup has the same epoch, but may have different events after the backup.
    let at = gateway.log.at(Position { partition, seq }).await;
    let at = at.or_problem("reading events")?;
    Ok(at.is_some_and(|at| at.message_id.unwrap_or_default() == known.checkpoint.last_id))
}

/// State of reading one page.
struct Reading<'a> {
    gateway: &'a Gateway,
    company: CompanyId,
    haste: Haste,
    messages: Vec<RawMessage>,
    read_to: u64,
}

impl Reading<'_> {
    /// Reads up to `most` events at known positions. The company has no other events between them.
    async fn read_known(&mut self, known: &EventPositions, most: usize) -> Result<(), Problem> {
        let (gateway, company) = (self.gateway, self.company);
        let wanted = &known.seqs[..known.seqs.len().min(most)];
        let read = |(first, last)| between(gateway, company, first, last);
        let mut found = stream::iter(runs(wanted)).map(read).buffered(self.haste.at_once());
        while let Some(messages) = found.try_next().await? {
            self.messages.extend(messages);
        }
        let is_all = wanted.len() == known.seqs.len() && !known.more;
        let known_to = if is_all { Some(known.checkpoint.seq.unsigned_abs()) } else { wanted.last().copied() };
        self.read_to = self.read_to.max(known_to.unwrap_or(0));
        Ok(())
    }

    /// Reads all messages up to `to`, or until it has `most` events of the company, or until it has read [`WHOLE`]
    /// messages.
    async fn read_whole(&mut self, to: u64, most: usize) -> Result<(), Problem> {
        let until = to.min(self.read_to.saturating_add(WHOLE));
        while self.read_to < until && self.messages.len() < most {
            let last = until.min(self.read_to.saturating_add(PIECE));
            self.messages.extend(between(self.gateway, self.company, self.read_to + 1, last).await?);
            self.read_to = last;
        }
        Ok(())
    }
}

async fn between(gateway: &Gateway, company: CompanyId, first: u64, last: u64) -> Result<Vec<RawMessage>, Problem> {
    gateway.raw_events.between(company, first, last).await.or_problem("reading events")
}

/// Joins sequences whose distance is at most [`GAP`]. Returns the first and the last sequence of each run.
fn runs(seqs: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for seq in seqs {
        match runs.last_mut() {
            Some((_, last)) if seq - *last <= GAP => *last = *seq,
            _ => runs.push((*seq, *seq)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_messages_are_read_together_and_distant_ones_apart() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[5, 6, 20, 1_000, 1_016, 1_033]), [(5, 20), (1_000, 1_016), (1_033, 1_033)]);
    }
}
