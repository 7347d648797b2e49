//! Appending with certainty: look before trying again.

use crate::{AppendError, EventLog, Expect, NewEvent, read_after};
use futures_util::future::BoxFuture;
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_schema::Position;

const ATTEMPTS: u32 = 4;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// After how long nothing is tried again: an attempt and the look after it take 5 s each where NATS does not answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// Appends `event` once, through lost answers and short outages.
///
/// # Errors
/// [`AppendError::Conflict`] where another event came first; [`AppendError::Unknown`] or
/// [`AppendError::Unavailable`] where the log stays away. After `Unknown` the event may be stored: a caller that
/// decides again on the loaded state finds out.
pub fn append(log: &dyn EventLog, mut event: NewEvent) -> BoxFuture<'_, Result<Position, AppendError>> {
    Box::pin(async move {
        let message_id = event.message_id.get_or_insert_with(|| Uuid::now_v7().simple().to_string()).clone();
        let (mut backoff, began) = (FIRST_BACKOFF, Instant::now());
        let mut lost = None;
        // A log that does not answer would let each attempt wait in vain.
        let mut silent = log.silent();
        for attempt in 1..=ATTEMPTS {
            let error = match log.publish(&event).await {
                Ok(position) => return Ok(position),
                // The first time, a conflict is one. Later it may be with our own event: an earlier answer was lost, or
                // was an error although the event was stored.
                Err(AppendError::Conflict) if attempt == 1 => return Err(AppendError::Conflict),
                Err(error) => error,
            };
            if let Expect::LastSeq(expected) = event.expect
                && matches!(error, AppendError::Conflict | AppendError::Unknown(_))
                && let Ok(found) = look(log, &event, expected, &message_id).await
            {
                match found {
                    Found::Ours(position) => return Ok(position),
                    Found::Another => return Err(AppendError::Conflict),
                    Found::Nothing => {}
                }
            }
            let is_silent = futures_util::poll!(&mut silent).is_ready();
            if matches!(error, AppendError::Encode(_))
                || attempt == ATTEMPTS
                || began.elapsed() >= PATIENCE
                || is_silent
            {
                return Err(match (error, lost) {
                    // A later refusal does not undo an earlier lost answer.
                    (_, Some(lost)) => lost,
                    (AppendError::Conflict, None) => not_looked(),
                    (error, None) => error,
                });
            }
            if matches!(error, AppendError::Unknown(_)) {
                lost.get_or_insert(error);
            }
            tokio::time::sleep(backoff).await;
            backoff *= 3;
        }
        Err(lost.unwrap_or_else(not_looked))
    })
}

/// Of a conflict, whether it is with our own event cannot be seen now.
fn not_looked() -> AppendError {
    AppendError::Unknown("it cannot be seen whose event came first".to_owned())
}

enum Found {
    Ours(Position),
    Another,
    Nothing,
}

async fn look(
    log: &dyn EventLog,
    event: &NewEvent,
    expected: u64,
    message_id: &str,
) -> Result<Found, crate::ReadError> {
    let later = read_after(log, event.subject, expected).await?;
    Ok(match later.first() {
        Some(first) if first.message_id.as_deref() == Some(message_id) => Found::Ours(first.position),
        Some(_) => Found::Another,
        None => Found::Nothing,
    })
}
