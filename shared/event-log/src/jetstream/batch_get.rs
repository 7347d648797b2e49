//! Reads many messages with one request: the batched direct get of nats-server 2.11 (ADR-31). async-nats has no
//! function for it.

use super::REQUEST_TIMEOUT;
use super::message::{stored, unavailable};
use crate::{Page, ReadError};
use async_nats::jetstream;
use async_nats::{HeaderMap, Message, StatusCode};
use futures_util::StreamExt;
use serde::Serialize;
use waybill_schema::{Position, names};

#[derive(Serialize)]
struct Request<'a> {
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_by_subj: Option<&'a str>,
    batch: usize,
}

/// Reads a page of events.
pub(super) async fn page(
    context: &jetstream::Context,
    partition: u32,
    filter: &str,
    after: u64,
    max: usize,
) -> Result<Page, ReadError> {
    let read = |seq, subject: &str, headers: Option<&HeaderMap>, body: &[u8]| {
        stored(Position { partition, seq }, subject, headers, body)
    };
    let (messages, more) = messages(context, &names::event_stream(partition), Some(filter), after, max, read).await?;
    Ok(Page { messages, more })
}

/// Maximum number of attempts to read a batch whose messages arrive incompletely.
const ATTEMPTS: u32 = 3;

/// Error if a message of a batch is missing: an answer names another previous message than the one that arrived.
#[derive(Debug, thiserror::Error)]
#[error("a message of a batched read was lost")]
struct Hole;

/// Checks the answers of a batch. Each answer names the previous one.
struct Chain {
    after: u64,
    last: Option<u64>,
}

impl Chain {
    /// Checks that an answer that names `before` directly follows the last one. The first answer may name no message,
    /// or the beginning of the batch.
    fn continues(&self, before: Option<u64>) -> Result<(), Hole> {
        let is_next = before.is_none_or(|before| match self.last {
            Some(last) => before == last,
            None => before <= self.after,
        });
        if is_next { Ok(()) } else { Err(Hole) }
    }
}

/// Reason why a batch was not read.
enum Failed {
    Hole,
    Read(ReadError),
}

impl From<Hole> for Failed {
    fn from(_: Hole) -> Self {
        Self::Hole
    }
}

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// Reads up to `max` messages of a stream after sequence `after`: all, or those that match `filter`. `read` converts
/// the sequence, subject, headers and body of each message. Returns the converted messages, and `true` if there are
/// more.
pub(super) async fn messages<T>(
    context: &jetstream::Context,
    stream: &str,
    filter: Option<&str>,
    after: u64,
    max: usize,
    read: impl Fn(u64, &str, Option<&HeaderMap>, &[u8]) -> T,
) -> Result<(Vec<T>, bool), ReadError> {
    for _ in 0..ATTEMPTS {
        match batch(context, stream, filter, after, max, &read).await {
            Ok(batch) => return Ok(batch),
            Err(Failed::Hole) => {
                tracing::warn!(stream, after, "a message of a batched read was lost; reading the batch again")
            }
            Err(Failed::Read(error)) => return Err(error),
        }
    }
    Err(unavailable(Hole))
}

async fn batch<T>(
    context: &jetstream::Context,
    stream: &str,
    filter: Option<&str>,
    after: u64,
    max: usize,
    read: impl Fn(u64, &str, Option<&HeaderMap>, &[u8]) -> T,
) -> Result<(Vec<T>, bool), Failed> {
    let client = context.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(unavailable)?;
    let request = Request { seq: after + 1, next_by_subj: filter, batch: max };
    let body = serde_json::to_vec(&request).map_err(unavailable)?;
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    client.publish_with_reply(subject, inbox, body.into()).await.map_err(unavailable)?;

    let mut messages = Vec::new();
    let mut chain = Chain { after, last: None };
    loop {
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, answers.next())
            .await
            .map_err(|_| ReadError::Unavailable("a batched read timed out".to_owned()))?
            .ok_or_else(|| ReadError::Unavailable("the connection closed".to_owned()))?;
        chain.continues(number(answer.headers.as_ref(), "Nats-Last-Sequence"))?;
        if let Some(status) = answer.status {
            return Ok((messages, end_of_batch(status, &answer)?));
        }
        let headers = answer.headers.as_ref();
        let seq = number(headers, "Nats-Sequence").ok_or_else(|| unavailable("an answer has no sequence"))?;
        let subject = headers.and_then(|all| all.get("Nats-Subject")).map(|value| value.as_str()).unwrap_or_default();
        chain.last = Some(seq);
        messages.push(read(seq, subject, headers, &answer.payload));
    }
}

/// Returns `true` if there are more messages after the batch that ends with this status.
fn end_of_batch(status: StatusCode, answer: &Message) -> Result<bool, ReadError> {
    match status.as_u16() {
        204 => Ok(number(answer.headers.as_ref(), "Nats-Num-Pending").unwrap_or(0) > 0),
        404 => Ok(false),
        code => Err(unavailable(format!("the server refused a batched read with status {code}"))),
    }
}

fn number(headers: Option<&HeaderMap>, name: &'static str) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `true` if all answers of a batch are accepted. Each has a sequence and the previous sequence that it
    /// names. `end` is the previous sequence in the answer that ends the batch.
    fn are_taken(after: u64, answers: &[(u64, u64)], end: u64) -> bool {
        let mut chain = Chain { after, last: None };
        let messages = answers.iter().all(|(seq, before)| {
            let continues = chain.continues(Some(*before)).is_ok();
            chain.last = Some(*seq);
            continues
        });
        messages && chain.continues(Some(end)).is_ok()
    }

    #[test]
    fn a_batch_with_a_hole_is_not_taken() {
        assert!(are_taken(4, &[(7, 0), (9, 7), (20, 9)], 20));
        assert!(are_taken(4, &[(7, 4), (9, 7)], 9));
        assert!(are_taken(4, &[], 0));
        assert!(!are_taken(4, &[(7, 0), (20, 9)], 20), "in the middle");
        assert!(!are_taken(4, &[(9, 7), (20, 9)], 20), "at the beginning");
        assert!(!are_taken(4, &[(7, 0), (9, 7)], 20), "at the end");
        assert!(!are_taken(4, &[], 20), "all of it");
    }
}
