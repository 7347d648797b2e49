//! The events of one company, in the order of the log, without a look at those of others.
//!
//! The tables say where in the partition the company has events ([`waybill_read_model::blocks`]); what they do not know is read
//! as a whole.

use crate::gateway::Gateway;
use crate::problems::IntoProblem;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use waybill_event_log::Head;
use waybill_event_log::chain::RawMessage;
use waybill_read_model::queries::{self, EventPositions};
use waybill_schema::{CompanyId, Position};
use waybill_service_kit::Problem;

/// How many requests are made of the log at once.
const AT_ONCE: usize = 8;
/// In how many blocks of the log the events of a page may be, at most.
const BLOCKS: u16 = 1_024;
/// So many messages of others in a row are rather read than a request more made.
const GAP: u64 = 16;
/// How many messages are read as a whole at once, and for one page, at most.
const PIECE: u64 = 1_024;
const WHOLE: u64 = 16 * PIECE;

/// Some of a company's events.
pub(crate) struct Trail {
    pub(crate) messages: Vec<RawMessage>,
    /// The sequence up to which the log was read for them.
    pub(crate) read_to: u64,
    /// Whether the log has more messages after it.
    pub(crate) more: bool,
}

/// The events of a company behind sequence `after` of its partition: about `most` of them, or fewer and `more`.
pub(crate) async fn events(gateway: &Gateway, company: CompanyId, after: u64, most: usize) -> Result<Trail, Problem> {
    let partition = gateway.log.partitions().of(company);
    // The tables first: what they know then is not behind the end.
    let known = known_positions(gateway, company, after, most).await?;
    let head = gateway.log.head(partition).await.map_err(|error| error.into_problem("looking for the log's end"))?;
    let known = match known {
        Some(known) if is_of_this_log(gateway, partition, &known, &head).await? => Some(known),
        _ => None,
    };
    let mut reading = Reading { gateway, company, messages: Vec::new(), read_to: after };
    let (from, to) = known.as_ref().map_or((0, 0), |known| (known.from, known.checkpoint.seq.unsigned_abs()));
    let from = from.min(head.last_seq);
    if after < from {
        // An older version folded these.
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

/// Asks the tables where the company's events are; `None` if nothing of its partition is in them.
async fn known_positions(
    gateway: &Gateway,
    company: CompanyId,
    after: u64,
    most: usize,
) -> Result<Option<EventPositions>, Problem> {
    let failed = "looking for a company's events";
    // Each of them has one event at least, but perhaps the first.
    let blocks = u16::try_from(most + 1).unwrap_or(BLOCKS).min(BLOCKS);
    let partition = gateway.log.partitions().of(company);
    let mut connection = gateway.database.connection().await.map_err(|error| error.into_problem(failed))?;
    let found = queries::event_positions(&mut connection, (partition, company), after + 1, blocks).await;
    drop(connection);
    found.map_err(|error| error.into_problem(failed))
}

/// Whether the tables are of the log that has this end.
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
    // A stream that was restored from a copy has the epoch of before, and may have other events since.
    let at = gateway.log.at(Position { partition, seq }).await;
    let at = at.map_err(|error| error.into_problem("reading events"))?;
    Ok(at.is_some_and(|at| at.message_id.unwrap_or_default() == known.checkpoint.last_id))
}

struct Reading<'a> {
    gateway: &'a Gateway,
    company: CompanyId,
    messages: Vec<RawMessage>,
    read_to: u64,
}

impl Reading<'_> {
    /// Reads up to `most` events whose positions are known. Nothing of the company is between them.
    async fn read_known(&mut self, known: &EventPositions, most: usize) -> Result<(), Problem> {
        let (gateway, company) = (self.gateway, self.company);
        let wanted = &known.seqs[..known.seqs.len().min(most)];
        let read = |(first, last)| between(gateway, company, first, last);
        let mut found = stream::iter(runs(wanted)).map(read).buffered(AT_ONCE);
        while let Some(messages) = found.try_next().await? {
            self.messages.extend(messages);
        }
        let is_all = wanted.len() == known.seqs.len() && !known.more;
        let known_to = if is_all { Some(known.checkpoint.seq.unsigned_abs()) } else { wanted.last().copied() };
        self.read_to = self.read_to.max(known_to.unwrap_or(0));
        Ok(())
    }

    /// Reads all messages up to `to`, or until there are `most` of the company.
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
    let found = gateway.raw_events.between(company, first, last).await;
    found.map_err(|error| error.into_problem("reading events"))
}

/// Joins sequences that are close to each other: the first and the last of each run.
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
