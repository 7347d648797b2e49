//! The subscriptions of one connection, as a state machine without I/O.

use crate::live::{Live, What};
use crate::outbox::Progress;
use crate::taken::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;
use waybill_api::frames::{Close, Refusal, ServerFrame, Topic};

/// Maximum number of topics that a connection may watch.
pub(crate) const TOPICS_MAX: usize = 100;
/// Maximum number of transitions that wait for a snapshot.
const EARLY_MAX: usize = 1_000;

/// One subscription.
enum Subscription {
    /// The snapshot is being taken. Transitions that arrive meanwhile wait in `early`.
    Asked { topic: Topic, asked: u64, early: Vec<Arc<Live>> },
    /// The snapshot was sent. `sent_seq` is the sequence of the last frame.
    Live { topic: Topic, sent_seq: u64 },
}

impl Subscription {
    fn topic(&self) -> Topic {
        match self {
            Self::Asked { topic, .. } | Self::Live { topic, .. } => *topic,
        }
    }
}

/// All subscriptions of a connection, by the ids that the client chose.
#[derive(Default)]
pub(crate) struct Subscriptions {
    all: BTreeMap<u64, Subscription>,
    asked: u64,
}

impl Subscriptions {
    /// Records that the client subscribes to `topic` under `id`. Returns a number that distinguishes this request from
    /// later ones under the same id.
    ///
    /// # Errors
    /// [`Refusal::IdInUse`] and [`Refusal::TooManyTopics`].
    pub(crate) fn ask(&mut self, id: u64, topic: Topic) -> Result<u64, Refusal> {
        if self.all.contains_key(&id) {
            return Err(Refusal::IdInUse);
        }
        if self.all.len() >= TOPICS_MAX {
            return Err(Refusal::TooManyTopics);
        }
        self.asked += 1;
        self.all.insert(id, Subscription::Asked { topic, asked: self.asked, early: Vec::new() });
        Ok(self.asked)
    }

    /// Removes a subscription. Returns its topic if no other subscription has it.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Topic> {
        let topic = self.all.remove(&id)?.topic();
        (!self.has(topic)).then_some(topic)
    }

    /// Returns the topics of all subscriptions.
    pub(crate) fn topics(&self) -> Vec<Topic> {
        self.all.values().map(Subscription::topic).collect()
    }

    /// Returns `true` if the request with number `wish` under `id` still waits for its snapshot.
    pub(crate) fn waits(&self, id: u64, wish: u64) -> bool {
        matches!(self.all.get(&id), Some(Subscription::Asked { asked, .. }) if *asked == wish)
    }

    /// Returns `true` if any subscription has the topic.
    pub(crate) fn has(&self, topic: Topic) -> bool {
        self.all.values().any(|subscription| subscription.topic() == topic)
    }

    /// Makes a subscription live. Returns the frames for the snapshot and for the transitions after it.
    pub(crate) fn begin(&mut self, id: u64, snapshot: Snapshot) -> Vec<ServerFrame> {
        let Some(Subscription::Asked { topic, early, .. }) = self.all.remove(&id) else { return Vec::new() };
        let mut frames = vec![ServerFrame::Snap {
            id,
            topic: topic.to_string(),
            epoch: snapshot.epoch,
            seq: snapshot.seq,
            state: snapshot.state,
        }];
        let mut sent_seq = snapshot.seq;
        frames.extend(early.iter().filter_map(|live| event_frame(id, topic, &mut sent_seq, live)));
        self.all.insert(id, Subscription::Live { topic, sent_seq });
        frames
    }

    /// Returns the frames for a transition. Keeps it for subscriptions that wait for their snapshot.
    ///
    /// # Errors
    /// [`Close::TooSlow`] if more than [`EARLY_MAX`] transitions wait for a snapshot.
    pub(crate) fn transition(&mut self, topic: Topic, live: &Arc<Live>) -> Result<Vec<ServerFrame>, Close> {
        let mut frames = Vec::new();
        for (id, subscription) in &mut self.all {
            match subscription {
                Subscription::Asked { topic: asked, early, .. } if *asked == topic => {
                    if early.len() >= EARLY_MAX {
                        return Err(Close::TooSlow);
                    }
                    early.push(live.clone());
                }
                Subscription::Live { topic: watched, sent_seq } if *watched == topic => {
                    frames.extend(event_frame(*id, topic, sent_seq, live));
                }
                _ => {}
            }
        }
        Ok(frames)
    }

    /// Returns the frames of progress that is newer than the last frame of a live subscription.
    pub(crate) fn progress(&self, newest: Progress) -> Vec<ServerFrame> {
        let mut frames = Vec::new();
        for ((topic, _), (seq, facts)) in newest {
            let newer = |subscription: &Subscription| matches!(subscription, Subscription::Live { topic: watched, sent_seq } if *watched == topic && seq > *sent_seq);
            let ids = self.all.iter().filter(|(_, subscription)| newer(subscription)).map(|(id, _)| *id);
            frames.extend(ids.map(|id| ServerFrame::Prog {
                id,
                topic: topic.to_string(),
                seq,
                progress: facts.clone(),
            }));
        }
        frames
    }
}

/// Returns the frame of a transition if it is newer than `sent_seq`, and updates `sent_seq`.
fn event_frame(id: u64, topic: Topic, sent_seq: &mut u64, live: &Live) -> Option<ServerFrame> {
    let What::Transition { kind, facts } = &live.what else { return None };
    if live.seq <= *sent_seq {
        return None;
    }
    let prev_seq = std::mem::replace(sent_seq, live.seq);
    Some(ServerFrame::Ev {
        id,
        topic: topic.to_string(),
        seq: live.seq,
        prev_seq,
        kind: (*kind).into(),
        facts: facts.clone(),
    })
}
