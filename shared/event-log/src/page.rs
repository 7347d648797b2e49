//! Reading a filter to its end.

use crate::{EventLog, ReadError, Stored};
use std::time::Duration;
use waybill_schema::Recorded;

const PAGE: usize = 1_000;
/// How long a follower may lag behind its leader before reading is given up.
const CATCH_UP_ATTEMPTS: u32 = 100;
const CATCH_UP_PAUSE: Duration = Duration::from_millis(20);

/// All messages of a filter behind `after`, at least up to `until`, the last sequence as the leader knows it.
///
/// # Errors
/// [`ReadError::Unavailable`], also where a replica stays behind the leader for two seconds.
pub async fn read_all(
    log: &dyn EventLog,
    partition: u32,
    filter: &str,
    after: u64,
    until: u64,
) -> Result<Vec<Stored>, ReadError> {
    let mut messages: Vec<Stored> = Vec::new();
    let mut attempts = 0;
    loop {
        let reached = messages.last().map_or(after, |message| message.position.seq);
        let page = log.page(partition, filter, reached, PAGE).await?;
        let more = page.more;
        messages.extend(page.messages);
        if more {
            continue;
        }
        if messages.last().map_or(after, |message| message.position.seq) >= until {
            return Ok(messages);
        }
        attempts += 1;
        if attempts > CATCH_UP_ATTEMPTS {
            return Err(ReadError::Unavailable(format!("{filter} does not reach sequence {until}")));
        }
        tokio::time::sleep(CATCH_UP_PAUSE).await;
    }
}

/// As [`read_all`], for folding: every message must be an event.
///
/// # Errors
/// As [`read_all`], and [`ReadError::Undecodable`].
pub async fn read_events(
    log: &dyn EventLog,
    partition: u32,
    filter: &str,
    after: u64,
    until: u64,
) -> Result<Vec<Recorded>, ReadError> {
    let stored = read_all(log, partition, filter, after, until).await?;
    stored
        .into_iter()
        .map(|message| {
            let position = message.position;
            message.event.map_err(|source| ReadError::Undecodable { position, source })
        })
        .collect()
}
