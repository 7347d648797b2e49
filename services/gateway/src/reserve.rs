//! Reserving space. Starts that meet in this gateway are decided together and appended as one event; with those of
//! other gateways they conflict, and are decided again.

use crate::problems::{IntoProblem, refused};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use waybill_access::Policies;
use waybill_domain::Refusal;
use waybill_domain::limits::RESERVATION_ITEMS_MAX;
use waybill_domain::quota::{self, State, reserve};
use waybill_event_log::{AppendError, EventLog};
use waybill_repository::{BatchSize, Batches, Busy, Context, ExecuteError, Held, Linger, Quotas};
use waybill_schema::events::QuotaEvent;
use waybill_schema::events::{QuotaLimitSetV1, ReservedItem, SettledItem};
use waybill_schema::{Actor, Aggregate, CompanyId, Position, Subject, UploadId};
use waybill_service_kit::{Problem, now};

/// How long after the reservation the upload must have started; a whole file in one request must have come by then.
const START_WITHIN_MS: i64 = 30 * 60_000;
/// Starts of one company that are decided together.
const BATCHES: BatchSize =
    BatchSize { most: RESERVATION_ITEMS_MAX, queue: 1_024, linger: Linger::IfBusy(Duration::from_millis(20)) };

struct Request {
    item: ReservedItem,
    context: Context,
    is_repeatable: bool,
}

type Answer = Result<Position, Problem>;

/// Reserves space, one task per company.
pub(crate) struct Reserver {
    shared: Arc<Shared>,
    starts: Batches<CompanyId, Request, Answer>,
}

struct Shared {
    log: Arc<dyn EventLog>,
    quotas: Arc<Quotas>,
    policies: Policies,
    default_quota_bytes: u64,
}

impl Reserver {
    pub(crate) fn new(
        log: Arc<dyn EventLog>,
        quotas: Arc<Quotas>,
        policies: Policies,
        default_quota_bytes: u64,
    ) -> Self {
        let shared = Arc::new(Shared { log, quotas, policies, default_quota_bytes });
        let starts = Batches::new(BATCHES, {
            let shared = shared.clone();
            move |company, requests: Vec<Request>| {
                let shared = shared.clone();
                async move {
                    match shared.reserve_all(company, &requests).await {
                        Ok(answers) => answers,
                        Err(problem) => requests.iter().map(|_| Err(problem.clone())).collect(),
                    }
                }
            }
        });
        Self { shared, starts }
    }

    /// Reserves space for one upload; answers with the reservation's position. `is_repeatable` says that the same
    /// upload may have been asked for before.
    pub(crate) async fn reserve(
        &self,
        company: CompanyId,
        item: ReservedItem,
        context: Context,
        is_repeatable: bool,
    ) -> Answer {
        let answered = self.starts.ask(company, Request { item, context, is_repeatable }).await;
        answered.map_err(|Busy| Problem::unavailable("too many uploads of the company start at once; try again"))?
    }

    /// Raises the reservation of an upload whose length is not known, so that it holds `needed_bytes`.
    pub(crate) async fn raise(
        &self,
        company: CompanyId,
        upload: UploadId,
        (needed_bytes, max_bytes): (u64, u64),
        context: &Context,
    ) -> Result<(), Problem> {
        let limits = self.shared.policies.limits(company).await?;
        let decide = |state: &State, limit| quota::raise(state, upload, needed_bytes, max_bytes, limit, &limits);
        self.change(company, context, decide).await.map(drop)
    }

    /// Gives the reservations of partial uploads to a final one.
    pub(crate) async fn transfer(
        &self,
        company: CompanyId,
        item: &ReservedItem,
        from: &[UploadId],
        context: &Context,
    ) -> Answer {
        let shared = &self.shared;
        let limits = shared.policies.limits(company).await?;
        let until = now().plus_ms(START_WITHIN_MS);
        let mut held = shared.hold(company).await?;
        loop {
            let state = shared.look(&mut held).await?;
            let limit = state.limit_bytes.unwrap_or(shared.default_quota_bytes);
            let decided = quota::transfer(state, item, from, limit, &limits, until);
            // A repeated request whose first try broke off, and was swept up, has nothing to go on with.
            if !state.reserved.contains_key(&item.upload_id) && shared.is_known(company, item.upload_id).await? {
                return Err(refused(&Refusal::UploadEnded { status: "expired" }));
            }
            let Some(event) = decided.map_err(|refusal| refused(&refusal))? else { return Ok(held.position()) };
            if let Some(position) = shared.append(&mut held, context, event).await? {
                return Ok(position);
            }
        }
    }

    /// Gives back what was reserved for an upload that came to nothing.
    pub(crate) async fn give_back(
        &self,
        company: CompanyId,
        upload: UploadId,
        context: &Context,
    ) -> Result<(), Problem> {
        let ended = [SettledItem { upload_id: upload, bytes_used: None }];
        self.change(company, context, |state, _| Ok(quota::settle(state, &ended).map(Into::into))).await.map(drop)
    }

    /// A company's quota as it is now.
    pub(crate) async fn quota(&self, company: CompanyId) -> Result<State, Problem> {
        self.shared.quotas.look(company).await.map_err(failed)
    }

    /// Sets the most that a company may store.
    pub(crate) async fn set_limit(&self, company: CompanyId, storage_limit_bytes: u64, context: &Context) -> Answer {
        self.change(company, context, |_, _| Ok(Some(QuotaLimitSetV1 { storage_limit_bytes }.into()))).await
    }

    async fn change(
        &self,
        company: CompanyId,
        context: &Context,
        decide: impl Fn(&State, u64) -> Result<Option<QuotaEvent>, Refusal> + Sync,
    ) -> Answer {
        let Shared { quotas, default_quota_bytes, .. } = self.shared.as_ref();
        let decide = |state: &State| decide(state, state.limit_bytes.unwrap_or(*default_quota_bytes));
        quotas.change(context, company, &decide).await.map_err(failed)
    }
}

impl Shared {
    async fn hold(&self, company: CompanyId) -> Result<Held<'_>, Problem> {
        self.quotas.hold(company).await.map_err(|error| failed(error.into()))
    }

    async fn look<'a>(&self, held: &'a mut Held<'_>) -> Result<&'a State, Problem> {
        held.look().await.map_err(|error| error.into_problem("loading a quota"))
    }

    async fn append(
        &self,
        held: &mut Held<'_>,
        context: &Context,
        event: QuotaEvent,
    ) -> Result<Option<Position>, Problem> {
        held.append(context, event).await.map_err(|error| failed(error.into()))
    }

    /// Whether an upload's own events say anything. Its reservation came before them, so where it is not open it was settled.
    async fn is_known(&self, company: CompanyId, upload: UploadId) -> Result<bool, Problem> {
        let last = self.log.last(Subject::new(company, Aggregate::UploadLifecycle(upload))).await;
        Ok(last.map_err(|error| error.into_problem("looking for an upload"))?.is_some())
    }

    /// Decides starts together, on the newest state; again where another gateway was faster.
    async fn reserve_all(&self, company: CompanyId, batch: &[Request]) -> Result<Vec<Answer>, Problem> {
        let context = common_context(batch);
        let limits = self.policies.limits(company).await?;
        let until = now().plus_ms(START_WITHIN_MS);
        let mut held = self.hold(company).await?;
        loop {
            let state = self.look(&mut held).await?;
            let Some(limit_bytes) = state.limit_bytes else {
                let set = QuotaLimitSetV1 { storage_limit_bytes: self.default_quota_bytes };
                let context = Context { actor: Actor::Service("gateway".to_owned()), ..context.clone() };
                self.append(&mut held, &context, set.into()).await?;
                continue;
            };
            // A repeated request whose reservation was settled by now needs none. What is settled after this look belongs to
            // reservations that the state has, or that the append below conflicts with.
            let mut open = Vec::with_capacity(batch.len());
            for Request { item, is_repeatable, .. } in batch {
                let is_reserved = state.reserved.contains_key(&item.upload_id);
                if !*is_repeatable || is_reserved || !self.is_known(company, item.upload_id).await? {
                    open.push(item.clone());
                }
            }
            let reservation = reserve(state, &open, limit_bytes, &limits, until);
            let position = match reservation.event {
                Some(event) => match self.append(&mut held, &context, event.into()).await? {
                    Some(position) => position,
                    None => continue,
                },
                None => held.position(),
            };
            // One id may be asked for several times at once: all of them are refused, or none is.
            let answered = open.iter().map(|item| item.upload_id).zip(&reservation.answers);
            let refusals: HashMap<UploadId, &Refusal> =
                answered.filter_map(|(id, answer)| answer.as_ref().err().map(|refusal| (id, refusal))).collect();
            let answer = |request: &Request| match refusals.get(&request.item.upload_id) {
                Some(refusal) => Err(refused(refusal)),
                None => Ok(position),
            };
            return Ok(batch.iter().map(answer).collect());
        }
    }
}

fn failed(error: ExecuteError) -> Problem {
    match error {
        ExecuteError::Append(AppendError::Conflict) => {
            Problem::unavailable("the company's space is in great demand; try again")
        }
        error => error.into_problem("changing a quota"),
    }
}

/// One event for several starts: of the user, if they are all of one, otherwise of the gateway.
fn common_context(batch: &[Request]) -> Context {
    let service = || Actor::Service("gateway".to_owned());
    let mut contexts = batch.iter().map(|request| &request.context);
    let Some(first) = contexts.next() else {
        return Context {
            actor: service(),
            causation: waybill_schema::Causation::Request(uuid::Uuid::nil()),
            address: None,
            clock: now,
        };
    };
    if contexts.all(|context| context.actor == first.actor) {
        return first.clone();
    }
    Context { actor: service(), address: None, ..first.clone() }
}
