//! Reading the events of one subject.
//!
//! A server that looks for the next event of a subject goes through all of the stream between two of them. Each event that
//! was appended with an expectation names the one before it, so they are read from the last one back: every step costs the
//! same, however much others have written in between.

use crate::{EventLog, ReadError, Stored};
use futures_util::future::BoxFuture;
use std::time::Duration;
use waybill_schema::{Position, Recorded, Subject};

/// How many events are read one by one before it is looked for a snapshot.
const STEPS: usize = 64;
/// How many are read one by one behind a snapshot, if they are far from each other: more than folds go without one. Those that
/// are close to each other cost less in pages.
const STEPS_MAX: usize = 2_048;
/// How many messages lie between two events that are far from each other, on average.
const FAR: u64 = 64;
const PAGE: usize = 1_000;
/// How long a follower may lag behind its leader before reading is given up.
pub(crate) const CATCH_UP_ATTEMPTS: u32 = 100;
pub(crate) const CATCH_UP_PAUSE: Duration = Duration::from_millis(20);

/// Reads all messages of a subject that follow its event `after` (0: from its beginning) and that the leader knows now.
///
/// # Errors
/// [`ReadError::Diverged`] if the event `after` is not there any more; [`ReadError::Unavailable`], also where a replica
/// stays behind the leader for two seconds.
pub fn read_after(log: &dyn EventLog, subject: Subject, after: u64) -> BoxFuture<'_, Result<Vec<Stored>, ReadError>> {
    Box::pin(async move {
        let last = log.last(subject).await?;
        read_from(log, subject, last, after).await
    })
}

/// As [`read_after`], for whoever has asked for the last event already.
///
/// # Errors
/// As [`read_after`].
pub fn read_from(
    log: &dyn EventLog,
    subject: Subject,
    last: Option<Stored>,
    after: u64,
) -> BoxFuture<'_, Result<Vec<Stored>, ReadError>> {
    Box::pin(async move {
        let back = read_back(log, subject, last, after).await?;
        read_rest(log, subject, back, after).await
    })
}

/// What [`read_back`] has read, in the order of the log.
pub enum Back {
    /// All of it.
    All(Vec<Stored>),
    /// The newest; there are more before them.
    Newest(Vec<Stored>),
}

/// Reads a subject from its last event back to the event `after`, but only a few events.
///
/// # Errors
/// As [`read_after`].
pub fn read_back(
    log: &dyn EventLog,
    subject: Subject,
    last: Option<Stored>,
    after: u64,
) -> BoxFuture<'_, Result<Back, ReadError>> {
    Box::pin(async move {
        let name = subject.to_nats(log.partitions());
        let diverged = |seq| ReadError::Diverged { subject: name.clone(), seq };
        let nothing = |is_so: bool| if is_so { Ok(Back::All(Vec::new())) } else { Err(diverged(after)) };
        let Some(last) = last else { return nothing(after == 0) };
        if last.position.seq <= after {
            return nothing(last.position.seq == after);
        }
        let mut newest_first = vec![last];
        let is_all = step_back(log, &name, after, &mut newest_first, |steps, _| steps < STEPS).await?;
        newest_first.reverse();
        Ok(if is_all { Back::All(newest_first) } else { Back::Newest(newest_first) })
    })
}

/// Reads events one by one, each before the last one of `newest_first`, back to the event `after`, as long as `is_to_go_on` with
/// so many of them within so many messages. Returns whether they are all.
async fn step_back(
    log: &dyn EventLog,
    name: &str,
    after: u64,
    newest_first: &mut Vec<Stored>,
    is_to_go_on: impl Fn(usize, u64) -> bool,
) -> Result<bool, ReadError> {
    let diverged = |seq| ReadError::Diverged { subject: name.to_owned(), seq };
    let Some(first) = newest_first.first() else { return Ok(true) };
    let Position { partition, seq: end } = first.position;
    let mut previous = newest_first.last().and_then(|oldest| oldest.previous);
    while let Some(seq) = previous.filter(|seq| is_to_go_on(newest_first.len(), end.saturating_sub(*seq))) {
        if seq < after {
            return Err(diverged(after));
        }
        if seq == after {
            return Ok(true);
        }
        let found = log.at(Position { partition, seq }).await?.filter(|found| found.subject == name);
        let found = found.ok_or_else(|| diverged(seq))?;
        previous = found.previous;
        newest_first.push(found);
    }
    Ok(false)
}

/// Reads what [`read_back`] has left out, if anything, behind the event `after`: of the same subject, and not before the
/// one that was read back to.
///
/// # Errors
/// As [`read_after`].
pub fn read_rest(
    log: &dyn EventLog,
    subject: Subject,
    back: Back,
    after: u64,
) -> BoxFuture<'_, Result<Vec<Stored>, ReadError>> {
    Box::pin(async move {
        let mut newest = match back {
            Back::All(mut all) => {
                all.retain(|event| event.position.seq > after);
                return Ok(all);
            }
            Back::Newest(newest) => newest,
        };
        let begin = newest.first().map_or(0, |first| first.position.seq);
        if begin <= after {
            newest.retain(|event| event.position.seq > after);
            return Ok(newest);
        }
        // A server that looks for the next event of a subject goes through all messages in between, and appends wait for
        // it.
        let is_far = |steps: usize, length: u64| steps < STEPS_MAX && length > FAR * steps as u64;
        newest.reverse();
        let name = subject.to_nats(log.partitions());
        let is_all = step_back(log, &name, after, &mut newest, is_far).await?;
        newest.reverse();
        if is_all {
            return Ok(newest);
        }
        let known = newest.first().map_or(0, |first| first.position.seq);
        let mut messages = pages(log, subject, after, known).await?;
        messages.extend(newest);
        Ok(messages)
    })
}

/// The messages of a subject behind `after` and before `until`, of which the leader knows that it is there.
async fn pages(log: &dyn EventLog, subject: Subject, after: u64, until: u64) -> Result<Vec<Stored>, ReadError> {
    let mut messages: Vec<Stored> = Vec::new();
    let mut attempts = 0;
    loop {
        let reached = messages.last().map_or(after, |message| message.position.seq);
        let page = log.page(subject, reached, PAGE).await?;
        let more = page.more;
        messages.extend(page.messages);
        if messages.last().is_some_and(|message| message.position.seq >= until) {
            messages.retain(|message| message.position.seq < until);
            return Ok(messages);
        }
        if more {
            continue;
        }
        attempts += 1;
        if attempts > CATCH_UP_ATTEMPTS {
            return Err(ReadError::Unavailable(format!("{subject} does not reach sequence {until}")));
        }
        tokio::time::sleep(CATCH_UP_PAUSE).await;
    }
}

/// As [`read_after`], for folding: every message must be an event.
///
/// # Errors
/// As [`read_after`], and [`ReadError::Undecodable`].
pub fn read_events(
    log: &dyn EventLog,
    subject: Subject,
    after: u64,
) -> BoxFuture<'_, Result<Vec<Recorded>, ReadError>> {
    Box::pin(async move { read_after(log, subject, after).await?.into_iter().map(Stored::into_event).collect() })
}

impl Stored {
    /// The event, for folding.
    ///
    /// # Errors
    /// [`ReadError::Undecodable`].
    pub fn into_event(self) -> Result<Recorded, ReadError> {
        let position = self.position;
        self.event.map_err(|source| ReadError::Undecodable { position, source })
    }
}
