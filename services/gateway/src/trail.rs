//! The events of one company, in the order of the log, without a look at those of others.
//!
//! The tables say in which blocks of the partition the company has events ([`waybill_read_model::blocks`]); what they do not
//! know is read as a whole.

use crate::gateway::Gateway;
use crate::problems::IntoProblem;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use waybill_event_log::chain::RawMessage;
use waybill_read_model::queries::{self, EventBlocks};
use waybill_schema::{CompanyId, Position};
use waybill_service_kit::Problem;

/// How many blocks are read at once.
const AT_ONCE: usize = 4;
/// How many blocks are read for one page, at most.
const BLOCKS: i64 = 64;
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
    let head = gateway.log.head(partition).await.map_err(|error| error.into_problem("looking for the log's end"))?;
    let mut reading = Reading { gateway, company, messages: Vec::new(), read_to: after };
    let known = known_blocks(gateway, company, (after, &head.epoch, head.last_seq)).await?;
    let (from, to) = known.as_ref().map_or((0, 0), |known| (known.from, known.checkpoint.seq.unsigned_abs()));
    let from = from.min(head.last_seq);
    if after < from {
        // An older version folded these.
        reading.read_whole(from, most).await?;
    } else {
        if let Some(known) = known {
            reading.read_blocks(&known.blocks, to, most).await?;
        }
        if reading.read_to >= to {
            reading.read_whole(head.last_seq, most).await?;
        }
    }
    let Reading { messages, read_to, .. } = reading;
    Ok(Trail { messages, read_to, more: read_to < head.last_seq })
}

/// Asks the tables for the company's blocks; `None` if the tables are not of this log.
async fn known_blocks(
    gateway: &Gateway,
    company: CompanyId,
    (after, epoch, last_seq): (u64, &str, u64),
) -> Result<Option<EventBlocks>, Problem> {
    let failed = "looking for a company's events";
    let partition = gateway.log.partitions().of(company);
    let mut connection = gateway.database.connection().await.map_err(|error| error.into_problem(failed))?;
    let found = queries::event_blocks(&mut connection, (partition, company), after + 1, BLOCKS).await;
    drop(connection);
    let Some(known) = found.map_err(|error| error.into_problem(failed))? else { return Ok(None) };
    let seq = known.checkpoint.seq.unsigned_abs();
    if known.checkpoint.epoch != epoch || seq > last_seq {
        return Ok(None);
    }
    // A stream that was restored from a copy has the epoch of before, and may have other events since.
    let at = gateway.log.at(Position { partition, seq }).await;
    let at = at.map_err(|error| error.into_problem("reading events"))?;
    let is_same = at.is_some_and(|at| at.message_id.unwrap_or_default() == known.checkpoint.last_id);
    Ok(is_same.then_some(known))
}

struct Reading<'a> {
    gateway: &'a Gateway,
    company: CompanyId,
    messages: Vec<RawMessage>,
    read_to: u64,
}

impl Reading<'_> {
    /// Reads blocks until there are `most` messages. Nothing of the company is between them, up to `known`.
    async fn read_blocks(&mut self, blocks: &[(u64, u64)], known: u64, most: usize) -> Result<(), Problem> {
        let are_all = blocks.len() < usize::try_from(BLOCKS).unwrap_or(usize::MAX);
        let (gateway, company, after) = (self.gateway, self.company, self.read_to);
        let read = |(first, last)| async move {
            let found = between(gateway, company, first, last).await?;
            Ok::<_, Problem>((found, last))
        };
        let wanted = blocks.iter().map(|(first, last)| ((*first).max(after + 1), (*last).min(known)));
        let wanted = wanted.filter(|(first, last)| first <= last);
        let mut found = stream::iter(wanted).map(read).buffered(AT_ONCE);
        while let Some((messages, last)) = found.try_next().await? {
            self.messages.extend(messages);
            self.read_to = last;
            if self.messages.len() >= most {
                return Ok(());
            }
        }
        if are_all {
            self.read_to = self.read_to.max(known);
        }
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
