//! Reading the events of one subject.
//!
//! A server that looks for the next event of a subject goes through all of the stream between two of them. Each event that
//! was appended with an expectation names the one before it, so they are read from the last one back: every step costs the
//! same, however much others have written in between.

use crate::{EventLog, ReadError, Stored};
use std::time::Duration;
use waybill_schema::{Position, Recorded, Subject};

/// How many events are read one by one before pages of them cost less, if they are close to each other; and how many if they are
/// not: more than folds go without a snapshot.
const STEPS: usize = 64;
const STEPS_MAX: usize = 2_048;
/// How many messages lie between two events that are not close, on average.
const FAR: u64 = 64;
const PAGE: usize = 1_000;
/// How long a follower may lag behind its leader before reading is given up.
const CATCH_UP_ATTEMPTS: u32 = 100;
const CATCH_UP_PAUSE: Duration = Duration::from_millis(20);

/// Reads all messages of a subject that follow its event `after` (0: from its beginning) and that the leader knows now.
///
/// # Errors
/// [`ReadError::Diverged`] if the event `after` is not there any more; [`ReadError::Unavailable`], also where a replica
/// stays behind the leader for two seconds.
pub async fn read_after(log: &dyn EventLog, subject: Subject, after: u64) -> Result<Vec<Stored>, ReadError> {
    let last = log.last(subject).await?;
    read_from(log, subject, last, after).await
}

/// As [`read_after`], for whoever has asked for the last event already.
///
/// # Errors
/// As [`read_after`].
pub async fn read_from(
    log: &dyn EventLog,
    subject: Subject,
    last: Option<Stored>,
    after: u64,
) -> Result<Vec<Stored>, ReadError> {
    let back = read_back(log, subject, last, after).await?;
    read_rest(log, subject, back, after).await
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
pub async fn read_back(
    log: &dyn EventLog,
    subject: Subject,
    last: Option<Stored>,
    after: u64,
) -> Result<Back, ReadError> {
    let name = subject.to_nats(log.partitions());
    let diverged = |seq| ReadError::Diverged { subject: name.clone(), seq };
    let nothing = |is_so: bool| if is_so { Ok(Back::All(Vec::new())) } else { Err(diverged(after)) };
    let Some(last) = last else { return nothing(after == 0) };
    if last.position.seq <= after {
        return nothing(last.position.seq == after);
    }
    let Position { partition, seq: end } = last.position;
    let mut previous = last.previous;
    let mut newest_first = vec![last];
    while let Some(seq) = previous.filter(|seq| is_to_go_on(newest_first.len(), end.saturating_sub(*seq))) {
        if seq < after {
            return Err(diverged(after));
        }
        if seq == after {
            newest_first.reverse();
            return Ok(Back::All(newest_first));
        }
        let found = log.at(Position { partition, seq }).await?.filter(|found| found.subject == name);
        let found = found.ok_or_else(|| diverged(seq))?;
        previous = found.previous;
        newest_first.push(found);
    }
    newest_first.reverse();
    Ok(Back::Newest(newest_first))
}

/// Returns whether events are still to be read one by one after `steps` of them within `length` messages. A server that looks for
/// the next event of a subject goes through all messages in between, and appends wait for it.
fn is_to_go_on(steps: usize, length: u64) -> bool {
    steps < STEPS || (steps < STEPS_MAX && length / (steps as u64) > FAR)
}

/// Reads what [`read_back`] has left out, if anything, behind the event `after`: of the same subject, and not before the
/// one that was read back to.
///
/// # Errors
/// As [`read_after`].
pub async fn read_rest(log: &dyn EventLog, subject: Subject, back: Back, after: u64) -> Result<Vec<Stored>, ReadError> {
    let mut newest = match back {
        Back::All(mut all) => {
            all.retain(|event| event.position.seq > after);
            return Ok(all);
        }
        Back::Newest(newest) => newest,
    };
    let known = newest.first().map_or(0, |first| first.position.seq);
    if known <= after {
        newest.retain(|event| event.position.seq > after);
        return Ok(newest);
    }
    let mut messages = pages(log, subject, after, known).await?;
    messages.extend(newest);
    Ok(messages)
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
pub async fn read_events(log: &dyn EventLog, subject: Subject, after: u64) -> Result<Vec<Recorded>, ReadError> {
    read_after(log, subject, after).await?.into_iter().map(Stored::into_event).collect()
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
