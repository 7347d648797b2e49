//! Seals the events of companies: adds new events to the tree of their company, and stores a signed head of the tree.
//!
//! The newest stored head contains the state from which the tree grows, so only new events are read. Each gateway seals.
//! It leaves out companies of which another gateway has stored a head recently. Two heads for the same events are
//! harmless.

use crate::application::audit_heads;
use crate::application::gateway::Gateway;
use crate::application::trail::{self, Haste};
use crate::http::problems::OrProblem;
use crate::http::time::rfc3339;
use chrono::DateTime;
use futures_util::stream::{self, StreamExt};
use prometheus::IntCounter;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;
use waybill_api::audit::{Head, Resume, SignedHead};
use waybill_audit::leaf::leaf;
use waybill_audit::tree::Frontier;
use waybill_cache::Cache;
use waybill_event_log::RawMessage;
use waybill_http_kit::Problem;
use waybill_read_model::queries::{self, LastEvent};
use waybill_schema::{CompanyId, Position, Sha256Digest};
use waybill_service_kit::metrics::counter;
use waybill_service_kit::{Shutdown, now};

/// Number of companies that are sealed at a time. Sealing must not delay the requests of users, however many new events
/// there are.
const AT_ONCE: usize = 2;

/// Number of events that are read at a time.
const PAGE: usize = 500;

/// Number of companies whose last sealed event is kept in memory.
const REMEMBERED: u64 = 200_000;

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

static HEADS: LazyLock<IntCounter> =
    LazyLock::new(|| counter("waybill_audit_heads_total", "Signed audit heads that were stored"));

static FAILURES: LazyLock<IntCounter> =
    LazyLock::new(|| counter("waybill_audit_seal_failures_total", "Failed attempts to store a signed audit head"));

static BREAKS: LazyLock<IntCounter> = LazyLock::new(|| {
    counter("waybill_audit_breaks_total", "Times that the event log did not continue the newest stored audit head")
});

/// Seals all companies with new events after each interval, until shutdown.
pub(crate) async fn run(gateway: Arc<Gateway>, shutdown: Shutdown) {
    let sealer = Sealer { gateway, sealed: Cache::new(REMEMBERED) };
    // A monitoring system needs the counters before the first event.
    for counter in [&HEADS, &FAILURES, &BREAKS] {
        LazyLock::force(counter);
    }
    loop {
        // The gateways do not all begin at the same time.
        let pause = sealer.interval().mul_f64(rand::random_range(0.75..1.25));
        if shutdown.unless(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        match shutdown.unless(sealer.round()).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(problem)) => {
                FAILURES.inc();
                tracing::warn!(%problem, "cannot seal the audit");
            }
        }
    }
}

struct Sealer {
    gateway: Arc<Gateway>,
    /// Sequences of the last sealed events.
    sealed: Cache<CompanyId, u64>,
}

impl Sealer {
    fn interval(&self) -> Duration {
        Duration::from_secs(self.gateway.settings.audit_seal_s.into())
    }

    /// Seals all companies with events that are not sealed.
    async fn round(&self) -> Result<(), Problem> {
        let failed = "looking for companies with new events";
        let lock_days = i64::from(self.gateway.settings.audit_lock_days);
        let locks = lock_days > 0 && self.gateway.store.locks().await.or_problem("asking for Object Lock")?;
        let lock_ms = locks.then(|| lock_days.saturating_mul(DAY_MS));
        let mut after = CompanyId(Uuid::nil());
        loop {
            let mut connection = self.gateway.database.connection().await.or_problem(failed)?;
            let companies = queries::last_events(&mut connection, after).await.or_problem(failed)?;
            drop(connection);
            let Some(end) = companies.last().map(|last| last.company) else { return Ok(()) };
            let sealed_to = |company| self.sealed.get(&company).map_or(0, |sealed| *sealed);
            let is_new = |last: &LastEvent| sealed_to(last.company) < last.seq;
            let seal = |last: LastEvent| async move {
                match self.seal(last, lock_ms).await {
                    Ok(sealed) => self.sealed.insert(&last.company, Arc::new(sealed)),
                    Err(problem) => {
                        FAILURES.inc();
                        tracing::warn!(company = %last.company, %problem, "cannot seal the audit of a company");
                    }
                }
            };
            stream::iter(companies.into_iter().filter(is_new)).for_each_concurrent(AT_ONCE, seal).await;
            after = end;
        }
    }

    /// Seals the events of a company up to the last known one. Returns the sequence of the last sealed event.
    async fn seal(&self, last: LastEvent, lock_ms: Option<i64>) -> Result<u64, Problem> {
        let (gateway, company) = (&*self.gateway, last.company);
        let newest = audit_heads::newest(gateway, company).await.or_problem("reading audit heads")?;
        let end =
            gateway.log.head(gateway.log.partitions().of(company)).await.or_problem("looking for the log's end")?;
        let mut growth = match newest {
            None => Growth::default(),
            Some(newest) => match Growth::after(gateway, &newest, &end.epoch).await? {
                Some(growth) if self.is_recent(&newest) => return Ok(growth.sealed()),
                Some(growth) => growth,
                None => {
                    BREAKS.inc();
                    tracing::error!(
                        %company,
                        sealed_epoch = newest.head.epoch,
                        sealed_events = newest.head.size,
                        epoch = end.epoch,
                        "the event log does not continue the newest audit head, because it was restored or changed; \
                         `waybill audit verify` shows the difference"
                    );
                    Growth::default()
                }
            },
        };
        let before = growth.tree.size();
        let mut read_to = growth.sealed();
        while read_to < last.seq {
            let began = Instant::now();
            let trail = trail::events(gateway, company, read_to, PAGE, Haste::Background).await?;
            trail.messages.iter().for_each(|message| growth.add(message));
            if trail.read_to <= read_to {
                return Err(Problem::unavailable("the event log ends before the last known event"));
            }
            read_to = trail.read_to;
            tokio::time::sleep(began.elapsed()).await;
        }
        let Some((position, last_leaf)) = growth.last.filter(|_| growth.tree.size() > before) else {
            return Ok(growth.sealed());
        };
        let time = now();
        let head = Head {
            company_id: company,
            epoch: end.epoch,
            position: Some(position.to_string()),
            root: growth.tree.root(),
            size: growth.tree.size(),
            time: rfc3339(time),
        };
        let mut signed = gateway.head_key.sign(head).ok_or_else(Problem::internal)?;
        signed.resume = Some(Resume { last_leaf, peaks: growth.tree.peaks().to_vec() });
        let until = lock_ms.map(|lock_ms| time.0.saturating_add(lock_ms) / 1_000);
        audit_heads::store(gateway, &signed, time, until).await.or_problem("storing an audit head")?;
        HEADS.inc();
        Ok(growth.sealed())
    }

    /// Returns `true` if another gateway has just stored the head.
    fn is_recent(&self, newest: &SignedHead) -> bool {
        let time = DateTime::parse_from_rfc3339(&newest.head.time).map_or(0, |time| time.timestamp_millis());
        let age_ms = now().0.saturating_sub(time);
        u128::try_from(age_ms).is_ok_and(|age_ms| age_ms < self.interval().as_millis() / 2)
    }
}

/// A growing tree and its last event.
#[derive(Default)]
struct Growth {
    tree: Frontier,
    last: Option<(Position, Sha256Digest)>,
}

impl Growth {
    /// Continues the tree of a stored head. Returns `None` if the log has another epoch or another last event.
    async fn after(gateway: &Gateway, newest: &SignedHead, epoch: &str) -> Result<Option<Self>, Problem> {
        let SignedHead { head, resume: Some(resume), .. } = newest else { return Ok(None) };
        let position = head.position.as_deref().and_then(|position| position.parse::<Position>().ok());
        let tree = Frontier::from_peaks(head.size, resume.peaks.clone()).filter(|tree| tree.root() == head.root);
        let (Some(position), Some(tree)) = (position, tree) else { return Ok(None) };
        if head.epoch != epoch {
            return Ok(None);
        }
        let trail =
            trail::events(gateway, head.company_id, position.seq.saturating_sub(1), 1, Haste::Background).await?;
        let is_there = trail.messages.first().is_some_and(|message| leaf(message) == resume.last_leaf);
        Ok(is_there.then_some(Self { tree, last: Some((position, resume.last_leaf)) }))
    }

    fn add(&mut self, message: &RawMessage) {
        let leaf = leaf(message);
        self.tree.push(leaf);
        self.last = Some((message.position, leaf));
    }

    /// Returns the sequence of the last event, or 0 if there is no event.
    fn sealed(&self) -> u64 {
        self.last.map_or(0, |(position, _)| position.seq)
    }
}
