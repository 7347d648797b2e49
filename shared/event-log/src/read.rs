//! Reads the events of one subject.
//!
//! To find the next event of a subject, a server scans all messages of the stream up to it. An event that was appended
//! with an expectation names the previous event of its subject. Therefore events are read backwards from the last one:
//! the cost of a step does not depend on the number of other messages in between.

use crate::{EventLog, ReadError, Stored};
use futures_util::future::BoxFuture;
use std::time::Duration;
use waybill_schema::{Position, Recorded, Subject};

/// Maximum number of events that are read one by one before the caller looks for a snapshot.
const STEPS: usize = 64;
/// Maximum number of events after a snapshot that are read one by one if they are far apart. It is more than most
/// aggregates have between two snapshots. Pages are cheaper for events that are close together.
const STEPS_MAX: usize = 2_048;
/// Average distance, in messages, above which events count as far apart.
const FAR: u64 = 64;
const PAGE: usize = 1_000;
/// Maximum number of attempts to read messages that a replica does not have yet.
pub(crate) const CATCH_UP_ATTEMPTS: u32 = 100;
/// Pause between two such attempts. All attempts together take 2 s.
pub(crate) const CATCH_UP_PAUSE: Duration = Duration::from_millis(20);

/// Reads all messages of a subject after its event `after` (0: from the beginning), up to the last one that the leader
/// knows.
///
/// # Errors
/// [`ReadError::Diverged`] if the event `after` does not exist any more. [`ReadError::Unavailable`] if the log does not
/// answer, or if a replica lags behind the leader for 2 s.
pub fn read_after(log: &dyn EventLog, subject: Subject, after: u64) -> BoxFuture<'_, Result<Vec<Stored>, ReadError>> {
    Box::pin(async move {
        let last = log.last(subject).await?;
        read_from(log, subject, last, after).await
    })
}

/// Works like [`read_after`], for callers that already have the last event.
///
/// # Errors
/// The same as [`read_after`].
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

/// Events that [`read_back`] has read, in the order of the log.
pub enum Back {
    /// All events.
    All(Vec<Stored>),
    /// The newest events. There are more events before them.
    Newest(Vec<Stored>),
}

/// Reads a subject backwards from its last event to the event `after`, but at most a few events.
///
/// # Errors
/// The same as [`read_after`].
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

/// Reads events backwards one by one from the last one of `newest_first` to the event `after`, and adds them. Before
/// each step, `is_to_go_on` is called with the number of events and the number of messages that they span, and ends the
/// loop with `false`. Returns `true` if all events were read.
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

/// Reads the events after `after` that [`read_back`] did not read, and returns all events. `subject` must be the same
/// as for [`read_back`], and `after` must not be smaller.
///
/// # Errors
/// The same as [`read_after`].
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
        // For a page, the server scans all messages between the events, and appends wait for that. Read one by one
        // while the events are far apart.
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

/// Reads the messages of a subject after `after` and before `until`. The leader must have a message at `until`.
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

/// Works like [`read_after`], but requires that every message is a readable event.
///
/// # Errors
/// The same as [`read_after`], and [`ReadError::Undecodable`].
pub fn read_events(
    log: &dyn EventLog,
    subject: Subject,
    after: u64,
) -> BoxFuture<'_, Result<Vec<Recorded>, ReadError>> {
    Box::pin(async move { read_after(log, subject, after).await?.into_iter().map(Stored::into_event).collect() })
}

impl Stored {
    /// Returns the event.
    ///
    /// # Errors
    /// [`ReadError::Undecodable`] if this build cannot read the message.
    pub fn into_event(self) -> Result<Recorded, ReadError> {
        let position = self.position;
        self.event.map_err(|source| ReadError::Undecodable { position, source })
    }
}
