//! The events of one company, in the order of the log, without a look at those of others.
//!
//! The tables say in which blocks of the partition the company has events ([`waybill_read_model::blocks`]); what they do not
//! have yet is read as a whole.

use crate::gateway::Gateway;
use crate::problems::IntoProblem;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use waybill_event_log::chain::RawMessage;
use waybill_read_model::{projection, queries};
use waybill_schema::CompanyId;
use waybill_service_kit::Problem;

/// How many blocks are read at once.
const AT_ONCE: usize = 4;
/// How many messages are read, at most, that the tables do not have yet.
const REST: u64 = 20_000;

/// Some of a company's events.
pub(crate) struct Trail {
    pub(crate) messages: Vec<RawMessage>,
    /// Up to where the log was read for them.
    pub(crate) read_to: u64,
    /// Whether the log goes on there.
    pub(crate) more: bool,
}

/// The events of a company behind sequence `after` of its partition: about `most` of them, or fewer and `more`.
pub(crate) async fn events(gateway: &Gateway, company: CompanyId, after: u64, most: usize) -> Result<Trail, Problem> {
    let partition = gateway.log.partitions().of(company);
    let head = gateway.log.head(partition).await.map_err(|error| error.into_problem("looking for the log's end"))?;
    let mut trail = Trail { messages: Vec::new(), read_to: after, more: true };
    let unavailable = "looking for a company's events";
    let mut connection = gateway.database.connection().await.map_err(|error| error.into_problem(unavailable))?;
    // Before the blocks: those are at least as new then.
    let checkpoint = projection::checkpoint(&mut connection, partition).await;
    let checkpoint = checkpoint.map_err(|error| error.into_problem(unavailable))?;
    // Tables of another log say nothing about this one.
    let known = checkpoint.filter(|at| at.epoch == head.epoch).map_or(0, |at| at.seq.unsigned_abs());
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let blocks = queries::event_blocks(&mut connection, company, after + 1, limit).await;
    let blocks = blocks.map_err(|error| error.into_problem(unavailable))?;
    drop(connection);
    // All that the tables know of, also those that they learned of meanwhile.
    let are_all = blocks.len() < most || blocks.last().is_none_or(|(_, last)| *last >= known);
    let read = |(first, last): (u64, u64)| async move {
        let found = gateway.raw_events.between(company, first, last).await;
        found.map(|found| (found, last)).map_err(|error| error.into_problem("reading events"))
    };
    let wanted = blocks.into_iter().filter(|(first, _)| *first <= known);
    let wanted =
        wanted.map(|(first, last)| (first.max(after + 1), last.min(known))).filter(|(first, last)| first <= last);
    let mut found = stream::iter(wanted).map(read).buffered(AT_ONCE);
    while let Some((messages, last)) = found.try_next().await? {
        trail.messages.extend(messages);
        trail.read_to = last;
        if trail.messages.len() >= most {
            return Ok(Trail { more: trail.read_to < head.last_seq, ..trail });
        }
    }
    if are_all {
        let from = trail.read_to.max(known);
        let to = head.last_seq.min(from.saturating_add(REST));
        if from < to {
            trail.messages.extend(read((from + 1, to)).await?.0);
        }
        trail.read_to = to.max(trail.read_to);
    }
    Ok(Trail { more: trail.read_to < head.last_seq, ..trail })
}
