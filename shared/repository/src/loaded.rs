//! Loading of aggregates: reads their subjects from the log and folds the events.

use crate::memory::{Due, Memory, Remembered};
use crate::snapshot::{self, Mark};
use crate::sources::Sources;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;
use waybill_domain::Aggregate;
use waybill_event_log::{Back, EventLog, ReadError, Stored, read_back, read_rest};
use waybill_schema::{Event, Subject, Timestamp};

/// Time during which a state can be used for decisions without reading the log again.
const RECENT: Duration = Duration::from_secs(1);
/// Minimum number of folded events after which a snapshot is written.
const SNAPSHOT_EVERY: u64 = 64;
/// The same for an aggregate with facts. Its caller keeps the state, so that it is rarely loaded.
const SNAPSHOT_EVERY_WITH_FACTS: u64 = 500;
/// Number of folded events after which a snapshot is kept in memory.
const REMEMBER_EVERY: u64 = 4;

/// State of an aggregate, and the sequences up to which its subjects were read.
#[derive(Clone, Debug, Default)]
pub struct Loaded<S> {
    /// The state.
    pub state: S,
    /// Sequence of the last event of the subject of decisions. It is 0 if there is no such event.
    pub last_seq: u64,
    /// Sequence of the last event of all subjects of the aggregate. It is 0 if there is no such event.
    pub read_to: u64,
    /// Sequence of the last fact. It is 0 if there is no such event.
    pub(crate) facts_seq: u64,
    /// Sequence up to which decisions were read together with the facts. Later decisions up to `last_seq` are folded
    /// again, together with the facts before them.
    pub(crate) folded_seq: u64,
    /// Message id of the event at `read_to`.
    read_to_id: Option<String>,
    /// When the next snapshot is written.
    due: Due,
    /// Number of events that were folded since the state was last kept in memory.
    since_remembered: u64,
    /// State before the first event.
    beginning: S,
    /// Generation of the log that the events were read from. `None` before the first read.
    generation: Option<u64>,
    /// Time at which the state was last known to be complete.
    complete_at: Option<Instant>,
}

/// Content of a snapshot.
#[derive(Serialize, Deserialize)]
struct Fold<S> {
    state: S,
    last_seq: u64,
    facts_seq: u64,
}

impl<S: Default> Loaded<S> {
    /// Returns the state of an aggregate with a newly created id, which has no events to read.
    pub fn of_new() -> Self {
        Self { complete_at: Some(Instant::now()), ..Self::default() }
    }
}

impl<S: Default + Clone> Loaded<S> {
    /// Returns the state of an aggregate whose initial state does not come from its own events.
    pub fn beginning_with(state: S) -> Self {
        Self { beginning: state.clone(), state, ..Self::default() }
    }

    /// Checks that the events are of the current generation of the log. Otherwise discards them, so that all are read
    /// again.
    pub(crate) fn is_of(&mut self, log: &dyn EventLog) {
        let generation = log.generation();
        if self.generation.is_some_and(|before| before != generation) {
            self.begin_again();
        }
        self.generation = Some(generation);
    }

    fn begin_again(&mut self) {
        let generation = self.generation;
        *self = Self { generation, ..Self::beginning_with(self.beginning.clone()) };
    }
}

impl<S> Loaded<S> {
    /// Returns `true` if the state was complete recently. This is enough for a decision whose append detects newer
    /// events.
    pub(crate) fn is_recent(&self) -> bool {
        self.complete_at.is_some_and(|at| at.elapsed() < RECENT)
    }

    /// Returns the content of a snapshot.
    fn fold(&self) -> Fold<&S> {
        Fold { state: &self.state, last_seq: self.last_seq, facts_seq: self.facts_seq }
    }

    /// Replaces the state with that of a snapshot.
    fn restored(&mut self, fold: Fold<S>, mark: Mark) {
        let Fold { state, last_seq, facts_seq } = fold;
        self.state = state;
        (self.last_seq, self.folded_seq, self.facts_seq) = (last_seq, last_seq, facts_seq);
        (self.read_to, self.read_to_id) = (mark.seq, mark.id);
    }

    /// Returns the last event of the state.
    fn mark(&self) -> Mark {
        Mark { seq: self.read_to, id: self.read_to_id.clone() }
    }

    fn seqs(&self) -> Seqs {
        Seqs { folded: self.folded_seq, facts: self.facts_seq }
    }
}

/// Replaces the state with the snapshot in memory, if there is one and no event was read. Checks that the stream still has
/// the last event of the snapshot.
async fn recall<A: Aggregate>(
    sources: &Sources,
    aggregate: &A,
    loaded: &mut Loaded<A::State>,
) -> Result<(), ReadError> {
    let subject = aggregate.subject();
    let Some(generation) = loaded.generation.filter(|_| loaded.read_to == 0 && is_remembered(aggregate)) else {
        return Ok(());
    };
    let Some(Remembered { fold, mark, due }) = sources.memory.read(subject, generation) else { return Ok(()) };
    if !mark.is_in(sources.log(), subject).await? {
        sources.memory.forget(subject);
        return Ok(());
    }
    loaded.restored(fold, mark);
    loaded.due = due;
    Ok(())
}

/// Keeps a snapshot in memory if there are enough new events. The caller must have folded all events up to `read_to`.
pub(crate) fn remember<A: Aggregate>(memory: &Memory, aggregate: &A, loaded: &mut Loaded<A::State>) {
    if loaded.since_remembered < REMEMBER_EVERY || !is_remembered(aggregate) || A::is_over(&loaded.state) {
        return;
    }
    let Some(generation) = loaded.generation else { return };
    loaded.since_remembered = 0;
    let state = Remembered { fold: &loaded.fold(), mark: loaded.mark(), due: loaded.due };
    memory.keep(aggregate.subject(), generation, state);
}

/// Returns `true` if snapshots of an aggregate are kept in memory. The callers of an aggregate with facts keep its state
/// themselves.
fn is_remembered<A: Aggregate>(aggregate: &A) -> bool {
    A::SNAPSHOT_VERSION.is_some() && aggregate.facts().is_none()
}

/// Folds the new events. Implements [`crate::Repository::refresh`].
pub(crate) async fn fold_new<A: Aggregate>(
    sources: &Sources,
    aggregate: &A,
    loaded: &mut Loaded<A::State>,
) -> Result<(), ReadError> {
    let (log, asked_at) = (sources.log(), Instant::now());
    loaded.is_of(log);
    recall(sources, aggregate, loaded).await?;
    let mut read = read_both(log, aggregate, loaded).await;
    if let Err(ReadError::Diverged { subject, seq }) = &read {
        tracing::warn!(subject, seq, "the stream was restored or replaced; reading an aggregate again");
        sources.memory.forget(aggregate.subject());
        loaded.begin_again();
        read = read_both(log, aggregate, loaded).await;
    }
    fold(aggregate, loaded, read?)?;
    loaded.complete_at = Some(asked_at);
    keep(log, aggregate, loaded).await;
    remember(&sources.memory, aggregate, loaded);
    Ok(())
}

/// Writes a snapshot if there are enough new events. The caller must have folded all events up to `read_to`.
async fn keep<A: Aggregate>(log: &dyn EventLog, aggregate: &A, loaded: &mut Loaded<A::State>) {
    let (Some(version), Some(values)) = (A::SNAPSHOT_VERSION, log.snapshots()) else { return };
    let every = if aggregate.facts().is_some() { SNAPSHOT_EVERY_WITH_FACTS } else { SNAPSHOT_EVERY };
    if !loaded.due.is_reached(every) || A::is_over(&loaded.state) {
        return;
    }
    let Some(bytes) = snapshot::pack(&loaded.fold()) else { return };
    loaded.due.bytes = bytes.len();
    // The state in memory must be replaced, because it contains the previous values.
    loaded.since_remembered = REMEMBER_EVERY;
    if !loaded.due.is_reached(every) {
        return;
    }
    loaded.due.folded = 0;
    if let Err(error) = snapshot::write(values, aggregate.subject(), version, loaded.mark(), &bytes).await {
        tracing::warn!(subject = %aggregate.subject(), %error, "cannot write a snapshot");
    }
}

/// Replaces the state with the last snapshot, if there is one.
async fn restore<A: Aggregate>(log: &dyn EventLog, aggregate: &A, loaded: &mut Loaded<A::State>) {
    let (Some(version), Some(values)) = (A::SNAPSHOT_VERSION, log.snapshots()) else { return };
    let read = snapshot::read::<Fold<A::State>>(log, values, aggregate.subject(), version).await;
    // Memory can have a newer state.
    if let Some((fold, mark)) = read.filter(|(_, mark)| mark.seq > loaded.read_to) {
        loaded.restored(fold, mark);
        loaded.due = Due::default();
    }
}

/// Reads the new events of all subjects of an aggregate, in the order of the log. The view is consistent: if it
/// contains an event, it contains all earlier events. If there are many events, the state is first restored from its
/// snapshot.
async fn read_both<A: Aggregate>(
    log: &dyn EventLog,
    aggregate: &A,
    loaded: &mut Loaded<A::State>,
) -> Result<Vec<Stored>, ReadError> {
    let newest = Newest::read(log, aggregate.subject(), aggregate.facts(), loaded.seqs()).await?;
    // A state that was never complete is new, or from memory. Other processes can have written a newer snapshot.
    if (loaded.read_to == 0 || loaded.complete_at.is_none()) && newest.is_long() {
        restore(log, aggregate, loaded).await;
    }
    newest.with_rest(log, loaded.seqs()).await
}

/// Newest events of an aggregate: of the subject of decisions, and of the subject of facts.
struct Newest {
    decisions: (Subject, Back),
    facts: Option<(Subject, Back)>,
}

/// Sequences up to which the two subjects were read.
struct Seqs {
    folded: u64,
    facts: u64,
}

impl Newest {
    /// Reads a few of the newest events, but none that were read before.
    async fn read(
        log: &dyn EventLog,
        subject: Subject,
        facts: Option<Subject>,
        before: Seqs,
    ) -> Result<Self, ReadError> {
        let (last, last_fact) = ends(log, subject, facts).await?;
        let decisions = (subject, read_back(log, subject, last, before.folded).await?);
        let facts = match facts {
            Some(facts) => Some((facts, read_back(log, facts, last_fact, before.facts).await?)),
            None => None,
        };
        Ok(Self { decisions, facts })
    }

    /// Returns `true` if there are older events that were not read.
    fn is_long(&self) -> bool {
        let is_long = |back: &Back| matches!(back, Back::Newest(_));
        is_long(&self.decisions.1) || self.facts.as_ref().is_some_and(|(_, facts)| is_long(facts))
    }

    /// Reads the remaining events and returns all events in the order of the log.
    async fn with_rest(self, log: &dyn EventLog, before: Seqs) -> Result<Vec<Stored>, ReadError> {
        let (subject, back) = self.decisions;
        let mut events = read_rest(log, subject, back, before.folded).await?;
        if let Some((facts, back)) = self.facts {
            events.extend(read_rest(log, facts, back, before.facts).await?);
            events.sort_by_key(|event| event.position.seq);
        }
        Ok(events)
    }
}

/// Returns the last decision and the last fact, as of the same time.
async fn ends(
    log: &dyn EventLog,
    subject: Subject,
    facts: Option<Subject>,
) -> Result<(Option<Stored>, Option<Stored>), ReadError> {
    let mut last = log.last(subject).await?;
    let Some(facts) = facts else { return Ok((last, None)) };
    loop {
        let last_fact = log.last(facts).await?;
        // If the fact is newer, there may be a decision between the last known decision and the fact. Read the last
        // decision again.
        if seq_of(last_fact.as_ref()) < seq_of(last.as_ref()) || last_fact.is_none() {
            return Ok((last, last_fact));
        }
        let again = log.last(subject).await?;
        let same = seq_of(again.as_ref()) == seq_of(last.as_ref());
        last = again;
        if same {
            return Ok((last, last_fact));
        }
    }
}

fn seq_of(event: Option<&Stored>) -> u64 {
    event.map_or(0, |event| event.position.seq)
}

fn fold<A: Aggregate>(aggregate: &A, loaded: &mut Loaded<A::State>, events: Vec<Stored>) -> Result<(), ReadError> {
    let subject = aggregate.subject();
    for mut event in events {
        let id = event.message_id.take();
        let recorded = event.into_event()?;
        A::fold(&mut loaded.state, &recorded.event, recorded.envelope.time);
        loaded.due.folded += 1;
        loaded.since_remembered += 1;
        if recorded.position.seq > loaded.read_to {
            (loaded.read_to, loaded.read_to_id) = (recorded.position.seq, id);
        }
        if recorded.subject == subject {
            loaded.last_seq = recorded.position.seq;
            loaded.folded_seq = recorded.position.seq;
        } else {
            loaded.facts_seq = recorded.position.seq;
        }
    }
    Ok(())
}

impl<S: Clone> Loaded<S> {
    /// Folds a decision that was appended after `last_seq`. If the aggregate also has facts, the next refresh folds the
    /// decision again together with the facts before it. Folding it twice has no effect.
    pub(crate) fn decided<A: Aggregate<State = S>>(&mut self, aggregate: &A, appended: &Appended) {
        A::fold(&mut self.state, &appended.event, appended.time);
        self.last_seq = appended.seq;
        if aggregate.facts().is_none() {
            self.folded_seq = appended.seq;
            self.read_up_to(appended);
        }
    }
}

/// Appended event.
pub(crate) struct Appended {
    pub(crate) event: Event,
    pub(crate) time: Timestamp,
    pub(crate) seq: u64,
    pub(crate) message_id: String,
}

impl<S> Loaded<S> {
    fn read_up_to(&mut self, appended: &Appended) {
        self.read_to = appended.seq;
        self.read_to_id = Some(appended.message_id.clone());
        self.due.folded += 1;
        self.since_remembered += 1;
    }
}

/// Folds a fact that was appended after the last known fact, together with the decisions before it.
pub(crate) async fn fold_fact<A: Aggregate>(
    sources: &Sources,
    aggregate: &A,
    loaded: &mut Loaded<A::State>,
    appended: &Appended,
) -> Result<(), ReadError> {
    let asked_at = Instant::now();
    let last = sources.log().last(aggregate.subject()).await?;
    if seq_of(last.as_ref()) != loaded.last_seq {
        return fold_new(sources, aggregate, loaded).await;
    }
    // No fact came before the appended one, and the last decision is known. The state is therefore complete.
    loaded.complete_at = Some(asked_at);
    A::fold(&mut loaded.state, &appended.event, appended.time);
    loaded.facts_seq = appended.seq;
    loaded.folded_seq = loaded.last_seq;
    loaded.read_up_to(appended);
    Ok(())
}
