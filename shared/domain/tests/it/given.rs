//! Tests of an aggregate in the form given, when, then: `given(events).when(command).then(event)`. A test file has a
//! function `given` for its aggregate.

use waybill_domain::{Aggregate, Refusal};
use waybill_schema::Timestamp;

/// Time at which events are recorded, unless a test says otherwise.
pub(crate) const NOW: Timestamp = Timestamp(1_000_000);

/// An aggregate that has recorded some events.
#[derive(Debug)]
pub(crate) struct Given<A: Aggregate> {
    state: A::State,
    time: Timestamp,
}

impl<A: Aggregate> Clone for Given<A> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), time: self.time }
    }
}

impl<A: Aggregate> Given<A> {
    /// Returns an aggregate that has recorded `events` at [`NOW`].
    pub(crate) fn new(events: impl IntoIterator<Item = A::Event>) -> Self {
        let mut given = Self { state: A::State::default(), time: NOW };
        events.into_iter().for_each(|event| given.record(event));
        given
    }

    /// Returns the same aggregate, which records its further events at `time`.
    pub(crate) fn at(&self, time: Timestamp) -> Self {
        Self { state: self.state.clone(), time }
    }

    /// Returns the same aggregate after a further event.
    pub(crate) fn and(&self, event: impl Into<A::Event>) -> Self {
        let mut given = self.clone();
        given.record(event);
        given
    }

    /// Applies a further event.
    pub(crate) fn record(&mut self, event: impl Into<A::Event>) {
        A::evolve(&mut self.state, &event.into(), self.time);
    }

    /// Returns the state.
    pub(crate) fn state(&self) -> &A::State {
        &self.state
    }

    /// Decides on a command. The aggregate itself does not change.
    pub(crate) fn when(&self, command: A::Command) -> When<A> {
        let decision = A::decide(&self.state, command.clone());
        When { given: self.clone(), command, decision }
    }

    /// Decides on a command and applies the event, without an expectation. For tests with many commands.
    pub(crate) fn carry_out(&mut self, command: A::Command) -> Result<Option<A::Event>, Refusal> {
        let event = A::decide(&self.state, command)?;
        event.iter().for_each(|event| A::evolve(&mut self.state, event, self.time));
        Ok(event)
    }
}

/// A decision about a command, whose outcome a test expects.
#[must_use]
pub(crate) struct When<A: Aggregate> {
    given: Given<A>,
    command: A::Command,
    decision: Result<Option<A::Event>, Refusal>,
}

impl<A: Aggregate> When<A> {
    /// Expects an event for which `is_expected` returns `true`. Returns the aggregate after it.
    #[track_caller]
    pub(crate) fn then_some(self, is_expected: impl FnOnce(&A::Event) -> bool) -> Given<A> {
        match self.decision {
            Ok(Some(event)) if is_expected(&event) => self.given.and(event),
            other => panic!("another event was expected than {other:?}"),
        }
    }

    /// Expects any event. Returns the aggregate after it.
    #[track_caller]
    pub(crate) fn then_an_event(self) -> Given<A> {
        self.then_some(|_| true)
    }

    /// Expects no event, because the command was carried out before.
    #[track_caller]
    pub(crate) fn then_nothing(self) {
        assert!(matches!(self.decision, Ok(None)), "no event was expected, not {:?}", self.decision);
    }

    /// Expects exactly this refusal.
    #[track_caller]
    pub(crate) fn then_refused(self, refusal: Refusal) {
        let is_refused = self.decision.as_ref().is_err_and(|decided| *decided == refusal);
        assert!(is_refused, "{refusal:?} was expected, not {:?}", self.decision);
    }

    /// Expects a refusal for which `is_expected` returns `true`.
    #[track_caller]
    pub(crate) fn then_refused_as(self, is_expected: impl FnOnce(&Refusal) -> bool) {
        let is_refused = self.decision.as_ref().is_err_and(is_expected);
        assert!(is_refused, "another refusal was expected than {:?}", self.decision);
    }
}

impl<A: Aggregate<Event: PartialEq>> When<A> {
    /// Expects exactly this event. Returns the aggregate after it.
    #[track_caller]
    pub(crate) fn then(self, event: impl Into<A::Event>) -> Given<A> {
        let event = event.into();
        match self.decision {
            Ok(Some(decided)) if decided == event => self.given.and(decided),
            other => panic!("{event:?} was expected, not {other:?}"),
        }
    }

    /// Expects exactly this event, and none if the command is repeated. Returns the aggregate after the event.
    #[track_caller]
    pub(crate) fn then_once(self, event: impl Into<A::Event>) -> Given<A> {
        let command = self.command.clone();
        let after = self.then(event);
        after.when(command).then_nothing();
        after
    }
}
