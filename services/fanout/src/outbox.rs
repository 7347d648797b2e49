//! The outbox of one connection. The hub and other writers put work for the connection into it and wake the connection.
//!
//! A connection sleeps until its outbox, its client or its timer wakes it. A writer changes the outbox under a lock and
//! wakes the connection afterwards. The connection checks the outbox and stores its waker under the same lock, so no
//! wake-up is lost. Progress that replaces older progress does not wake the connection, because it already knows when
//! to send it.

use crate::live::{Live, What};
use crate::taken::Taken;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use waybill_api::frames::{Close, ProgressFacts, Topic};
use waybill_schema::UploadId;

/// Maximum number of waiting transitions. The connection closes as too slow if there are more.
const QUEUE: usize = 64;
/// Maximum total size of the waiting transitions in bytes.
const QUEUE_BYTES: usize = 256 * 1_024;

/// Newest progress per topic and upload, each with its sequence.
pub(crate) type Progress = HashMap<(Topic, UploadId), (u64, ProgressFacts)>;

/// Next work of a connection.
pub(crate) enum Next {
    /// Close the connection.
    End(Close),
    /// Check access again, after the log has been read up to this sequence.
    Recheck(u64),
    /// Begin a subscription, or refuse it.
    Taken(Taken),
    /// Send a transition.
    Transition(Topic, Arc<Live>),
}

/// Outbox of one connection. An empty outbox uses no heap memory.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    transitions: VecDeque<(Topic, Arc<Live>)>,
    transition_bytes: usize,
    /// Newer progress overwrites older progress.
    progress: Progress,
    taken: VecDeque<Taken>,
    /// Sequence of the last event that may have ended the access of the client.
    recheck: Option<u64>,
    /// Set when there was no room for a transition.
    overflowed: bool,
    /// Set when the process stops.
    stopping: bool,
    /// Set when the connection has ended. Nothing is queued for it any more.
    ended: bool,
    waker: Option<Waker>,
}

impl Outbox {
    /// Adds an event.
    pub(crate) fn deliver(&self, topic: Topic, live: &Arc<Live>) {
        self.change(|waiting| match &live.what {
            What::Progress(facts) => {
                let is_news = waiting.progress.is_empty();
                waiting.progress.insert((topic, facts.upload_id), (live.seq, facts.clone()));
                is_news
            }
            What::Transition { .. } => {
                waiting.queue(topic, live);
                true
            }
        });
    }

    /// Makes the connection check access again, because event `seq` may have ended it.
    pub(crate) fn recheck(&self, seq: u64) {
        self.change(|waiting| {
            waiting.recheck = Some(seq);
            true
        });
    }

    /// Makes the connection send `bye` and close.
    pub(crate) fn stop(&self) {
        self.change(|waiting| {
            waiting.stopping = true;
            true
        });
    }

    /// Adds the result of a wish. Returns `false` if the connection has ended.
    pub(crate) fn hand_over(&self, taken: Taken) -> bool {
        self.change(|waiting| {
            waiting.taken.push_back(taken);
            true
        })
    }

    /// Returns `true` if the connection has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.locked().ended
    }

    /// Ends the outbox: drops its content and everything that is added later. Returns the topics of wishes whose
    /// results the connection did not take.
    pub(crate) fn end(&self) -> Vec<Topic> {
        let left = std::mem::replace(&mut *self.locked(), Waiting { ended: true, ..Waiting::default() });
        left.taken.iter().map(|taken| taken.topic).collect()
    }

    /// Takes the next work. Returns frames for the client only if `has_room`. If there is no work, the task of
    /// `context` is woken when there is.
    pub(crate) fn poll_next(&self, context: &Context<'_>, has_room: bool) -> Poll<Next> {
        let mut waiting = self.locked();
        if let Some(next) = waiting.next(has_room) {
            return Poll::Ready(next);
        }
        if !waiting.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            waiting.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Returns `true` if there is progress to send.
    pub(crate) fn has_progress(&self) -> bool {
        !self.locked().progress.is_empty()
    }

    /// Takes the progress that was added since the last call.
    pub(crate) fn take_progress(&self) -> Progress {
        std::mem::take(&mut self.locked().progress)
    }

    /// Runs `change`, and wakes the connection if it returns `true`. Returns `false` if the connection has ended.
    fn change(&self, change: impl FnOnce(&mut Waiting) -> bool) -> bool {
        let waker = {
            let mut waiting = self.locked();
            if waiting.ended {
                return false;
            }
            change(&mut waiting).then(|| waiting.waker.take()).flatten()
        };
        waker.into_iter().for_each(Waker::wake);
        true
    }

    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn queue(&mut self, topic: Topic, live: &Arc<Live>) {
        let bytes = self.transition_bytes + live.bytes;
        // A single transition always has room.
        let is_full = self.transitions.len() >= QUEUE || (bytes > QUEUE_BYTES && !self.transitions.is_empty());
        if self.overflowed || is_full {
            // The connection will close, so the waiting transitions are not sent.
            (self.transitions, self.transition_bytes) = Default::default();
            self.overflowed = true;
            return;
        }
        self.transition_bytes = bytes;
        self.transitions.push_back((topic, live.clone()));
    }

    fn next(&mut self, has_room: bool) -> Option<Next> {
        if self.overflowed {
            return Some(Next::End(Close::TooSlow));
        }
        if self.stopping {
            return Some(Next::End(Close::Restart));
        }
        if let Some(seq) = self.recheck.take() {
            return Some(Next::Recheck(seq));
        }
        if !has_room {
            return None;
        }
        if let Some((topic, live)) = pop(&mut self.transitions) {
            self.transition_bytes -= live.bytes;
            return Some(Next::Transition(topic, live));
        }
        pop(&mut self.taken).map(Next::Taken)
    }
}

/// Takes the first item. Frees the memory of the queue when the last item is taken.
pub(crate) fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::of_a_hundred;
    use serde_json::{Map, Value};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use uuid::Uuid;
    use waybill_api::frames::Refusal;

    /// A name, and something that changes an outbox.
    type PutIn = (&'static str, fn(&Outbox));

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Wakes {
        fn count(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn topic() -> Topic {
        Topic::Upload(UploadId(Uuid::nil()))
    }

    fn transition(seq: u64, bytes: usize) -> Arc<Live> {
        let facts = Map::from_iter([("name".to_owned(), Value::String("x".repeat(bytes)))]);
        Arc::new(Live::new(seq, What::Transition { kind: "FileRenamed", facts }))
    }

    fn progress(seq: u64) -> Arc<Live> {
        let facts = of_a_hundred(UploadId(Uuid::nil()), seq);
        Arc::new(Live::new(seq, What::Progress(facts)))
    }

    fn taken() -> Taken {
        Taken { id: 1, wish: 1, topic: topic(), outcome: Err(Refusal::Lagging) }
    }

    /// Creates an outbox at which a task waits.
    fn waited_for() -> (Outbox, Arc<Wakes>, Waker) {
        let (outbox, wakes) = (Outbox::default(), Arc::<Wakes>::default());
        let waker = Waker::from(wakes.clone());
        assert!(outbox.poll_next(&Context::from_waker(&waker), true).is_pending());
        (outbox, wakes, waker)
    }

    fn poll(outbox: &Outbox, waker: &Waker) -> Poll<Next> {
        outbox.poll_next(&Context::from_waker(waker), true)
    }

    fn polled_seq(outbox: &Outbox, waker: &Waker) -> Option<u64> {
        match poll(outbox, waker) {
            Poll::Ready(Next::Transition(_, live)) => Some(live.seq),
            _ => None,
        }
    }

    #[test]
    fn every_entry_in_the_outbox_wakes_the_waiting_connection() {
        let put_in: [PutIn; 5] = [
            ("transition", |outbox| outbox.deliver(topic(), &transition(1, 1))),
            ("progress", |outbox| outbox.deliver(topic(), &progress(1))),
            ("recheck", |outbox| outbox.recheck(1)),
            ("stop", Outbox::stop),
            ("taken", |outbox| assert!(outbox.hand_over(taken()))),
        ];
        for (what, put_in) in put_in {
            let (outbox, wakes, waker) = waited_for();
            put_in(&outbox);
            assert_eq!(wakes.count(), 1, "{what}");
            assert_eq!(poll(&outbox, &waker).is_ready(), what != "progress", "{what}");
        }
    }

    #[test]
    fn what_came_before_somebody_waited_is_found() {
        let outbox = Outbox::default();
        outbox.recheck(7);
        assert!(matches!(poll(&outbox, Waker::noop()), Poll::Ready(Next::Recheck(7))));
        assert!(poll(&outbox, Waker::noop()).is_pending(), "a recheck is returned only once");
    }

    #[test]
    fn newer_figures_wake_nobody_until_the_older_ones_were_taken() {
        let (outbox, wakes, waker) = waited_for();
        for seq in 1..=3 {
            outbox.deliver(topic(), &progress(seq));
            assert!(poll(&outbox, &waker).is_pending(), "progress waits for its time");
        }
        assert_eq!(wakes.count(), 1);
        let figures = outbox.take_progress();
        assert_eq!(figures.values().map(|(seq, _)| *seq).collect::<Vec<_>>(), [3]);
        assert!(!outbox.has_progress());
        outbox.deliver(topic(), &progress(4));
        assert!(wakes.count() == 2 && outbox.has_progress());
    }

    #[test]
    fn a_wake_up_is_for_whoever_waited_last() {
        let (outbox, first, _) = waited_for();
        let second = Arc::<Wakes>::default();
        assert!(poll(&outbox, &Waker::from(second.clone())).is_pending());
        outbox.stop();
        assert_eq!((first.count(), second.count()), (0, 1));
    }

    #[test]
    fn transitions_keep_their_order_and_wait_for_room() {
        let (outbox, _, waker) = waited_for();
        (1..=3).for_each(|seq| outbox.deliver(topic(), &transition(seq, 1)));
        assert!(outbox.poll_next(&Context::from_waker(&waker), false).is_pending(), "transitions wait for room");
        outbox.recheck(9);
        assert!(matches!(outbox.poll_next(&Context::from_waker(&waker), false), Poll::Ready(Next::Recheck(9))));
        assert_eq!([1, 2, 3].map(Some), [(); 3].map(|()| polled_seq(&outbox, &waker)));
    }

    #[test]
    fn one_transition_more_than_there_is_room_for_ends_the_connection() {
        for (count, bytes) in [(64, 1), (5, 50_000)] {
            let (outbox, _, waker) = waited_for();
            (0..count).for_each(|seq| outbox.deliver(topic(), &transition(seq, bytes)));
            assert_eq!(polled_seq(&outbox, &waker), Some(0), "{count}");
            outbox.deliver(topic(), &transition(count, bytes));
            assert_eq!(polled_seq(&outbox, &waker), Some(1), "taking a transition makes room: {count}");
            (1..=2).for_each(|more| outbox.deliver(topic(), &transition(count + more, bytes)));
            assert!(matches!(poll(&outbox, &waker), Poll::Ready(Next::End(Close::TooSlow))), "{count}");
        }
        let (outbox, _, waker) = waited_for();
        outbox.deliver(topic(), &transition(1, 300_000));
        assert_eq!(polled_seq(&outbox, &waker), Some(1), "a single transition always has room");
    }

    #[test]
    fn the_end_comes_before_all_else() {
        let (outbox, _, waker) = waited_for();
        outbox.deliver(topic(), &transition(1, 1));
        outbox.recheck(1);
        outbox.stop();
        assert!(matches!(poll(&outbox, &waker), Poll::Ready(Next::End(Close::Restart))));
    }

    #[test]
    fn after_the_end_nothing_is_kept() {
        let (outbox, wakes, _) = waited_for();
        assert!(outbox.hand_over(taken()));
        assert_eq!(outbox.end(), [topic()]);
        assert!(outbox.has_ended() && !outbox.hand_over(taken()));
        outbox.deliver(topic(), &progress(1));
        outbox.deliver(topic(), &transition(2, 1));
        assert!(!outbox.has_progress() && polled_seq(&outbox, Waker::noop()).is_none());
        assert_eq!(wakes.count(), 1);
    }

    #[test]
    fn an_empty_outbox_keeps_no_memory_for_entries() {
        let (outbox, _, waker) = waited_for();
        (1..=10).for_each(|seq| outbox.deliver(topic(), &transition(seq, 1)));
        while poll(&outbox, &waker).is_ready() {}
        outbox.deliver(topic(), &progress(11));
        outbox.take_progress();
        let waiting = outbox.locked();
        let kept = (waiting.transitions.capacity(), waiting.progress.capacity(), waiting.transition_bytes);
        assert_eq!(kept, (0, 0, 0));
    }
}
