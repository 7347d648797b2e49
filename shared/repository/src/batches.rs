//! Batches of requests that are answered together. Each key has one task, which takes the requests that arrived while
//! it processed the previous batch. The tasks run on the runtime that created the batches: a thread of a server that
//! stops must not take the requests of other threads with it.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Time without requests after which the task of a key ends.
const IDLE: Duration = Duration::from_secs(300);

type Work<K, T, A> = dyn Fn(K, Vec<T>) -> BoxFuture<'static, Vec<A>> + Send + Sync;

/// Size and timing of batches.
#[derive(Clone, Copy, Debug)]
pub struct BatchSize {
    /// Maximum number of requests in a batch.
    pub most: usize,
    /// Maximum number of waiting requests per key. Further requests are refused with [`Busy`].
    pub queue: usize,
    /// Time for which the task waits for further requests after the first one.
    pub linger: Linger,
}

/// Waiting time of a batch for further requests. It delays the first request, and saves one event for each further
/// request.
#[derive(Clone, Copy, Debug)]
pub enum Linger {
    /// This time.
    For(Duration),
    /// Up to this time: the more requests the last batch had, the longer. After a batch of one request there is no
    /// wait.
    IfBusy(Duration),
}

/// Waiting time for each request of the last batch except the first, if [`Linger::IfBusy`] is set.
const BUSY_STEP: Duration = Duration::from_millis(4);

impl Linger {
    /// Returns the waiting time after a batch of `last_batch` requests.
    fn behind(self, last_batch: usize) -> Duration {
        match self {
            Self::For(time) => time,
            Self::IfBusy(most) => {
                let others = u32::try_from(last_batch.saturating_sub(1)).unwrap_or(u32::MAX);
                BUSY_STEP.saturating_mul(others).min(most)
            }
        }
    }
}

/// Collects requests by key and answers them in batches.
pub struct Batches<K, T, A> {
    size: BatchSize,
    work: Arc<Work<K, T, A>>,
    tasks: Mutex<HashMap<K, mpsc::Sender<Waiting<T, A>>>>,
    runtime: Handle,
}

struct Waiting<T, A> {
    item: T,
    answer: oneshot::Sender<A>,
}

/// Error if too many requests of the key are waiting, or its task ended without an answer. The caller can try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests are waiting for the same key")]
pub struct Busy;

impl<K, T, A> Batches<K, T, A>
where
    K: Copy + Eq + Hash + Send + Sync + 'static,
    T: Send + 'static,
    A: Send + 'static,
{
    /// Creates batches. `work` receives a key and its requests, and returns one answer per request, in the same order.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime.
    pub fn new<F>(size: BatchSize, work: impl Fn(K, Vec<T>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<A>> + Send + 'static,
    {
        let work = move |key, items| work(key, items).boxed();
        Self { size, work: Arc::new(work), tasks: Mutex::default(), runtime: Handle::current() }
    }

    /// Adds a request and waits for its answer.
    ///
    /// # Errors
    /// [`Busy`] if the request was not answered.
    pub async fn ask(&self, key: K, item: T) -> Result<A, Busy> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = Waiting { item, answer };
        // The task may be ending and accept no more requests. The second iteration starts a new task.
        for _ in 0..2 {
            match self.task(key).try_send(waiting) {
                Ok(()) => return answered.await.map_err(|_| Busy),
                Err(mpsc::error::TrySendError::Full(_)) => return Err(Busy),
                Err(mpsc::error::TrySendError::Closed(back)) => waiting = back,
            }
        }
        Err(Busy)
    }

    fn task(&self, key: K) -> mpsc::Sender<Waiting<T, A>> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = tasks.get(&key).filter(|sender| !sender.is_closed()) {
            return sender.clone();
        }
        tasks.retain(|_, sender| !sender.is_closed());
        let (sender, requests) = mpsc::channel(self.size.queue);
        tasks.insert(key, sender.clone());
        drop(self.runtime.spawn(run(key, self.size, self.work.clone(), requests)));
        sender
    }
}

async fn run<K: Copy, T, A>(
    key: K,
    size: BatchSize,
    work: Arc<Work<K, T, A>>,
    mut requests: mpsc::Receiver<Waiting<T, A>>,
) {
    let mut waiting = Vec::with_capacity(size.most);
    let mut last_batch = 0;
    loop {
        let received = tokio::time::timeout(IDLE, requests.recv_many(&mut waiting, size.most)).await;
        if !matches!(received, Ok(1..)) {
            requests.close();
            // Requests that arrived just before get `Busy`, because the senders of their answers are dropped.
            return;
        }
        let linger = size.linger.behind(last_batch);
        let until = Instant::now() + linger;
        while waiting.len() < size.most && !linger.is_zero() {
            let room = size.most - waiting.len();
            let more = tokio::time::timeout_at(until, requests.recv_many(&mut waiting, room)).await;
            if !matches!(more, Ok(1..)) {
                break;
            }
        }
        last_batch = waiting.len();
        let (items, answers): (Vec<T>, Vec<oneshot::Sender<A>>) =
            waiting.drain(..).map(|waiting| (waiting.item, waiting.answer)).unzip();
        for (sender, answer) in answers.into_iter().zip(work(key, items).await) {
            // The caller may have stopped waiting.
            drop(sender.send(answer));
        }
    }
}
