//! Reads an object to its end, even if connections break: the missing bytes are requested again.

use super::{classify, unavailable};
use crate::{ObjectBody, StoreError};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::time::Duration;

const OPERATION: &str = "reading an object";
/// Maximum number of consecutive failures without a byte in between.
const BREAKS: u32 = 4;
/// Pause after the first failure. It doubles after each further failure.
const PAUSE: Duration = Duration::from_millis(50);

/// An object, or a range of it, that is being read.
pub(super) struct Reading {
    client: Client,
    bucket: String,
    key: String,
    /// `ETag` of the first answer. Reading is not continued with other content.
    etag: Option<String>,
    at: u64,
    left: u64,
    body: ByteStream,
    breaks: u32,
}

/// Begins to read `length` bytes from `offset`, or to the end of the object if `length` is `None`.
pub(super) async fn begin(
    client: &Client,
    bucket: &str,
    key: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<ObjectBody, StoreError> {
    let range = match length {
        Some(0) => return Ok(ObjectBody { length: 0, bytes: stream::empty().boxed() }),
        Some(length) => Some(format!("bytes={offset}-{}", offset + length - 1)),
        None if offset > 0 => Some(format!("bytes={offset}-")),
        None => None,
    };
    let request = client.get_object().bucket(bucket).key(key).set_range(range);
    let answer = request.send().await.map_err(|error| classify(OPERATION, &error))?;
    let length = answer.content_length().and_then(|length| length.try_into().ok()).unwrap_or(0);
    let reading = Reading {
        client: client.clone(),
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        etag: answer.e_tag,
        at: offset,
        left: length,
        body: answer.body,
        breaks: 0,
    };
    Ok(ObjectBody { length, bytes: stream::unfold(reading, Reading::next).boxed() })
}

impl Reading {
    async fn next(mut self) -> Option<(Result<Bytes, StoreError>, Self)> {
        loop {
            let broken = match self.body.next().await {
                Some(Ok(bytes)) => {
                    let length = bytes.len() as u64;
                    (self.at, self.left, self.breaks) = (self.at + length, self.left.saturating_sub(length), 0);
                    return Some((Ok(bytes), self));
                }
                _ if self.left == 0 => return None,
                Some(Err(error)) => unavailable(OPERATION, error),
                None => unavailable(OPERATION, "the answer ended early"),
            };
            if let Err(error) = self.go_on(broken).await {
                self.left = 0;
                self.body = ByteStream::default();
                return Some((Err(error), self));
            }
        }
    }

    /// Requests the missing bytes.
    async fn go_on(&mut self, mut broken: StoreError) -> Result<(), StoreError> {
        while self.breaks < BREAKS {
            tokio::time::sleep(PAUSE * (1 << self.breaks)).await;
            self.breaks += 1;
            let range = format!("bytes={}-{}", self.at, self.at + self.left - 1);
            let request = self.client.get_object().bucket(&self.bucket).key(&self.key).range(range);
            match request.set_if_match(self.etag.clone()).send().await {
                Ok(answer) => {
                    self.body = answer.body;
                    return Ok(());
                }
                Err(error) => broken = classify(OPERATION, &error),
            }
        }
        Err(broken)
    }
}
