//! Appending with a certain result: after a lost answer, the log is read before the append is repeated.

use crate::{AppendError, EventLog, Expect, NewEvent, read_after};
use futures_util::future::BoxFuture;
use std::time::Duration;
use tokio::time::Instant;
use waybill_schema::Position;
use waybill_service_kit::new_id;

/// Maximum number of attempts.
const ATTEMPTS: u32 = 4;
/// Pause after the first attempt. Each further pause is three times as long.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Time after which no further attempt begins. If NATS does not answer, an attempt and the read after it take 5 s each.
const PATIENCE: Duration = Duration::from_secs(8);

/// Appends `event` exactly once, despite lost answers and short outages.
///
/// # Errors
/// [`AppendError::Conflict`] if another event came first. [`AppendError::Unknown`] or [`AppendError::Unavailable`] if
/// the log stays unavailable. After `Unknown` the event may be stored. To find out, the caller must load the state and
/// decide again.
pub fn append(log: &dyn EventLog, mut event: NewEvent) -> BoxFuture<'_, Result<Position, AppendError>> {
    Box::pin(async move {
        let message_id = event.message_id.get_or_insert_with(|| new_id().simple().to_string()).clone();
        let (mut backoff, began) = (FIRST_BACKOFF, Instant::now());
        let mut lost = None;
        // Stop early if the log does not answer at all, because each attempt would wait for its timeout.
        let mut silent = log.silent();
        for attempt in 1..=ATTEMPTS {
            let error = match log.publish(&event).await {
                Ok(position) => return Ok(position),
                // A conflict of the first attempt is certain. A later one may be with this very event: an earlier
                // answer was lost, or was an error although the event was stored.
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
                    // After a lost answer the result stays unknown, even if a later attempt was refused.
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

/// Returns the error for a conflict that may be with this very event, if the log cannot be read to find out.
fn not_looked() -> AppendError {
    AppendError::Unknown("cannot find out which event came first".to_owned())
}

/// First event on the subject after the expected sequence.
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
