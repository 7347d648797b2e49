//! Reading many messages of a filter with one request: the batched direct get of nats-server 2.11 (ADR-31), which
//! async-nats has no helper for.

use super::REQUEST_TIMEOUT;
use super::log::{stored, unavailable};
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

/// A page of events.
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

/// How often a batch is read that has a hole.
const ATTEMPTS: u32 = 3;

/// A message of a batch did not arrive: an answer names another one before it than the one that came.
#[derive(Debug, thiserror::Error)]
#[error("a message of a batched read was lost on the way")]
struct Hole;

/// The answers of a batch, each of which names the one before it.
struct Chain {
    after: u64,
    last: Option<u64>,
}

impl Chain {
    /// Whether an answer that names `before` follows the last one. The first one may name none, or where the batch begins.
    fn continues(&self, before: Option<u64>) -> Result<(), Hole> {
        let is_next = before.is_none_or(|before| match self.last {
            Some(last) => before == last,
            None => before <= self.after,
        });
        if is_next { Ok(()) } else { Err(Hole) }
    }
}

/// Why a batch was not read.
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

/// Reads up to `max` messages of a stream behind `after`, of all or of those that match `filter`. `read` gets sequence, subject,
/// headers and body of each. Returns what it made of them, and whether there are more.
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
            Err(Failed::Hole) => tracing::warn!(stream, after, "a batched read has a hole; reading again"),
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

/// Whether there is more behind the batch that this status ends.
fn end_of_batch(status: StatusCode, answer: &Message) -> Result<bool, ReadError> {
    match status.as_u16() {
        204 => Ok(number(answer.headers.as_ref(), "Nats-Num-Pending").unwrap_or(0) > 0),
        404 => Ok(false),
        code => Err(unavailable(format!("a batched read was refused with status {code}"))),
    }
}

fn number(headers: Option<&HeaderMap>, name: &'static str) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether answers are taken, each with its sequence and the one that it names before it; the last one ends the batch.
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
