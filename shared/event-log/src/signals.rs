//! Signals: short questions from process to process, which no server stores.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Error if a process cannot listen for signals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot listen for signals: {0}")]
pub struct SignalError(pub String);

/// Result of [`Signals::ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The listener has answered.
    Answered,
    /// Nobody listens to the subject.
    NobodyListens,
    /// There was no answer in time. The listener may have received the question, or may receive it later.
    Unanswered,
}

/// A question that a listener has received.
pub struct Question {
    /// Content of the question.
    pub payload: Bytes,
    answer: BoxFuture<'static, ()>,
}

impl Question {
    /// Creates a question. `answer` tells the one who asked that it was answered.
    pub fn new(payload: Bytes, answer: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { payload, answer: Box::pin(answer) }
    }

    /// Answers the question.
    pub async fn answer(self) {
        self.answer.await;
    }
}

/// Questions that arrive at a listener.
pub type Questions = BoxStream<'static, Question>;

/// Way in which processes send signals to each other.
pub trait Signals: Send + Sync {
    /// Returns `true` if questions are sent immediately, and not when a connection is there again.
    fn is_connected(&self) -> bool;

    /// Asks the listener of a subject. Waits for the answer, but not longer than `within`.
    fn ask(&self, subject: String, payload: Bytes, within: Duration) -> BoxFuture<'_, Asked>;

    /// Listens to a subject until the stream is dropped.
    ///
    /// # Errors
    /// [`SignalError`] if the server refuses it or the connection has ended.
    fn listen(&self, subject: String) -> BoxFuture<'_, Result<Questions, SignalError>>;
}

/// Signals within one process, for tests and simulations. A subject has at most one listener.
#[derive(Default)]
pub struct MemorySignals(Mutex<HashMap<String, mpsc::UnboundedSender<Question>>>);

impl Signals for MemorySignals {
    fn is_connected(&self) -> bool {
        true
    }

    fn ask(&self, subject: String, payload: Bytes, within: Duration) -> BoxFuture<'_, Asked> {
        let (answered, answer) = oneshot::channel();
        let question = Question::new(payload, async move {
            // The one who asked may have given up.
            let _ = answered.send(());
        });
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_sent = listeners.get(&subject).is_some_and(|listener| listener.send(question).is_ok());
        Box::pin(async move {
            if !is_sent {
                return Asked::NobodyListens;
            }
            match tokio::time::timeout(within, answer).await {
                Ok(Ok(())) => Asked::Answered,
                _ => Asked::Unanswered,
            }
        })
    }

    fn listen(&self, subject: String) -> BoxFuture<'_, Result<Questions, SignalError>> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(subject, sender);
        let questions = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
        Box::pin(std::future::ready(Ok(questions.boxed())))
    }
}
