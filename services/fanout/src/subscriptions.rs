//! The subscriptions of one connection, as a state machine that never sees a socket.

use crate::live::{Live, What};
use crate::outbox::Progress;
use crate::protocol::{Close, ServerFrame, Topic};
use crate::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many topics a connection may watch.
pub(crate) const TOPICS_MAX: usize = 100;
/// How many transitions may wait for a snapshot.
const EARLY_MAX: usize = 1_000;

/// One subscription. It is asked for when its snapshot is being taken, and live once that was sent.
enum Subscription {
    /// Transitions that came meanwhile wait here.
    Asked {
        topic: Topic,
        asked: u64,
        early: Vec<Arc<Live>>,
    },
    Live {
        topic: Topic,
        sent_seq: u64,
    },
}

impl Subscription {
    fn topic(&self) -> Topic {
        match self {
            Self::Asked { topic, .. } | Self::Live { topic, .. } => *topic,
        }
    }
}

/// All subscriptions of a connection, by the client's ids.
#[derive(Default)]
pub(crate) struct Subscriptions {
    all: BTreeMap<u64, Subscription>,
    asked: u64,
}

impl Subscriptions {
    /// Notes that the client wants `topic` under `id`; answers with a number that tells this wish from later ones under
    /// the same id.
    ///
    /// # Errors
    /// The code of the refusal.
    pub(crate) fn ask(&mut self, id: u64, topic: Topic) -> Result<u64, &'static str> {
        if self.all.contains_key(&id) {
            return Err("id_in_use");
        }
        if self.all.len() >= TOPICS_MAX {
            return Err("too_many_topics");
        }
        self.asked += 1;
        self.all.insert(id, Subscription::Asked { topic, asked: self.asked, early: Vec::new() });
        Ok(self.asked)
    }

    /// Forgets a subscription; answers with its topic where no other one has it.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Topic> {
        let topic = self.all.remove(&id)?.topic();
        (!self.has(topic)).then_some(topic)
    }

    /// All topics.
    pub(crate) fn topics(&self) -> Vec<Topic> {
        self.all.values().map(Subscription::topic).collect()
    }

    /// Whether the wish number `wish` under `id` still waits for its snapshot.
    pub(crate) fn waits(&self, id: u64, wish: u64) -> bool {
        matches!(self.all.get(&id), Some(Subscription::Asked { asked, .. }) if *asked == wish)
    }

    /// Whether any subscription has the topic.
    pub(crate) fn has(&self, topic: Topic) -> bool {
        self.all.values().any(|subscription| subscription.topic() == topic)
    }

    /// The snapshot is there: it goes first, then what came after it.
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

    /// A transition came.
    ///
    /// # Errors
    /// [`Close::TooSlow`] where more came than may wait for a snapshot.
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

    /// The newest figures, for live subscriptions whose state is older.
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

/// The frame of a transition that is newer than what was sent.
fn event_frame(id: u64, topic: Topic, sent_seq: &mut u64, live: &Live) -> Option<ServerFrame> {
    let What::Transition { kind, facts } = &live.what else { return None };
    if live.seq <= *sent_seq {
        return None;
    }
    let prev_seq = std::mem::replace(sent_seq, live.seq);
    Some(ServerFrame::Ev { id, topic: topic.to_string(), seq: live.seq, prev_seq, kind, facts: facts.clone() })
}
