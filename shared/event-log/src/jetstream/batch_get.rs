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
    next_by_subj: &'a str,
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
    let (messages, more) = messages(context, &names::event_stream(partition), filter, after, max, read).await?;
    Ok(Page { messages, more })
}

/// Up to `max` messages of a stream behind `after`, each as `read` makes it of its sequence, subject, headers and body;
/// and whether there are more.
pub(super) async fn messages<T>(
    context: &jetstream::Context,
    stream: &str,
    filter: &str,
    after: u64,
    max: usize,
    read: impl Fn(u64, &str, Option<&HeaderMap>, &[u8]) -> T,
) -> Result<(Vec<T>, bool), ReadError> {
    let client = context.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(unavailable)?;
    let request = Request { seq: after + 1, next_by_subj: filter, batch: max };
    let body = serde_json::to_vec(&request).map_err(unavailable)?;
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    client.publish_with_reply(subject, inbox, body.into()).await.map_err(unavailable)?;

    let mut messages = Vec::new();
    loop {
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, answers.next())
            .await
            .map_err(|_| ReadError::Unavailable("a batched read timed out".to_owned()))?
            .ok_or_else(|| ReadError::Unavailable("the connection closed".to_owned()))?;
        if let Some(status) = answer.status {
            return Ok((messages, end_of_batch(status, &answer)?));
        }
        let headers = answer.headers.as_ref();
        let seq = number(headers, "Nats-Sequence").ok_or_else(|| unavailable("an answer has no sequence"))?;
        let subject = headers.and_then(|all| all.get("Nats-Subject")).map(|value| value.as_str()).unwrap_or_default();
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
