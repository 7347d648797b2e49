//! Requests that are answered together: one task a key takes what has come while it was at work.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// After how long without a request a key's task ends.
const IDLE: Duration = Duration::from_secs(300);

type Work<K, T, A> = dyn Fn(K, Vec<T>) -> BoxFuture<'static, Vec<A>> + Send + Sync;

/// How much is taken together.
#[derive(Clone, Copy, Debug)]
pub struct BatchSize {
    /// How many at most.
    pub most: usize,
    /// How many wait for their turn at most; one more is turned away.
    pub queue: usize,
    /// For how long more are waited for once there is one.
    pub linger: Linger,
}

/// How long a batch waits for more: it costs its first request that time, and saves the rest an event each.
#[derive(Clone, Copy, Debug)]
pub enum Linger {
    /// So long.
    For(Duration),
    /// Up to so long, the longer the more came together the last time; a request that comes alone waits for nobody.
    IfBusy(Duration),
}

/// How much longer a busy key waits for each request of its last batch but the first.
const BUSY_STEP: Duration = Duration::from_millis(4);

impl Linger {
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

/// Collects requests by key, so that several are answered together.
pub struct Batches<K, T, A> {
    size: BatchSize,
    work: Arc<Work<K, T, A>>,
    tasks: Mutex<HashMap<K, mpsc::Sender<Waiting<T, A>>>>,
}

struct Waiting<T, A> {
    item: T,
    answer: oneshot::Sender<A>,
}

/// Too many wait already, or their task ended without an answer: come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many wait for the same")]
pub struct Busy;

impl<K, T, A> Batches<K, T, A>
where
    K: Copy + Eq + Hash + Send + Sync + 'static,
    T: Send + 'static,
    A: Send + 'static,
{
    /// `work` gets a key and what was asked for it, and answers each, in order.
    pub fn new<F>(size: BatchSize, work: impl Fn(K, Vec<T>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<A>> + Send + 'static,
    {
        let work = move |key, items| work(key, items).boxed();
        Self { size, work: Arc::new(work), tasks: Mutex::default() }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn ask(&self, key: K, item: T) -> Result<A, Busy> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = Waiting { item, answer };
        // A task that is just ending takes nothing more; then a new one is begun.
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
        tokio::spawn(run(key, self.size, self.work.clone(), requests));
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
            // Requests of the last moment get `Busy`, because their senders are dropped.
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
            // The caller may have gone.
            drop(sender.send(answer));
        }
    }
}
