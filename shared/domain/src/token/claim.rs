//! One download by a token.

use crate::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use uuid::Uuid;
use waybill_schema::events::{DownloadTokenContinuedV1, DownloadTokenRedeemedV2, DownloadTokenServedV1};
use waybill_schema::{ByteRange, RangeSet, Timestamp};

/// How long after its delivery a download may be continued: what was sent may not have arrived.
pub const GOES_ON_FOR_MS: i64 = 120_000;
/// How long somebody who asks for the whole file again has to wait after the delivery. Those who ask at the same time are
/// not one person.
const QUIET_MS: i64 = 1_000;
/// How long an answer counts as running if its end is not recorded: its gateway may have died.
const RUNS_FOR_MS: i64 = 60_000;
/// How many requests may continue one download.
const REQUESTS_MAX: u32 = 1_000;
/// How many times the file a download sends at most.
const TIMES_SENT: u64 = 2;

/// The client that downloads, as it is told from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct By {
    /// From where.
    pub ip_address: IpAddr,
    /// With what, as it calls itself.
    pub user_agent: Option<String>,
}

/// A request for bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its id.
    pub request: Uuid,
    /// Whose.
    pub by: By,
    /// Which bytes.
    pub range: ByteRange,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// The time.
    pub now: Timestamp,
    /// Whether it has waited for others to end.
    pub has_waited: bool,
    /// Answers of which it is known that they send nothing any more.
    pub stopped: BTreeSet<Uuid>,
}

impl Asked {
    /// Returns whether it asks for all of the file.
    pub fn is_whole(&self) -> bool {
        self.range.from == 0 && self.range.to >= self.size_bytes
    }
}

/// A download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    by: By,
    size_bytes: u64,
    /// The ranges that were sent, and the sum of their bytes; bytes that were sent twice count twice.
    sent: RangeSet,
    sent_bytes: u64,
    /// Answers that run.
    running: BTreeMap<Uuid, Running>,
    /// Clients that got the whole file in one answer. They have no reason to ask for all of it again.
    received_by: Vec<By>,
    requests: u32,
    delivered_at: Option<Timestamp>,
}

/// An answer that runs: to whom, what it may send, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Running {
    by: By,
    range: ByteRange,
    since: Timestamp,
}

impl Claim {
    pub(super) fn open(redeemed: &DownloadTokenRedeemedV2, time: Timestamp) -> Self {
        let by = By { ip_address: redeemed.ip_address, user_agent: redeemed.user_agent.clone() };
        let counted_at_once = redeemed.request.is_nil();
        let first = Running { by: by.clone(), range: redeemed.range, since: time };
        let running = (!counted_at_once).then_some((redeemed.request, first));
        Self {
            by,
            size_bytes: redeemed.size_bytes,
            sent: RangeSet::default(),
            sent_bytes: 0,
            running: running.into_iter().collect(),
            received_by: Vec::new(),
            requests: 1,
            delivered_at: counted_at_once.then_some(time),
        }
    }

    pub(super) fn go_on(&mut self, continued: &DownloadTokenContinuedV1, time: Timestamp) {
        let by = By { ip_address: continued.ip_address, user_agent: continued.user_agent.clone() };
        self.running.insert(continued.request, Running { by, range: continued.range, since: time });
        self.requests = self.requests.saturating_add(1);
    }

    pub(super) fn served(&mut self, served: &DownloadTokenServedV1, time: Timestamp) {
        let ended = self.running.remove(&served.request);
        self.received_by.extend(ended.filter(|_| self.is_whole(served.sent)).map(|ended| ended.by));
        self.sent.insert(served.sent);
        self.sent_bytes = self.sent_bytes.saturating_add(served.sent.len());
        if served.is_delivered {
            self.delivered_at.get_or_insert(time);
        }
    }

    pub(super) fn weight_bytes(&self) -> usize {
        // The longest user agent is recorded with 256 bytes; each entry of a map has some more around it.
        const CLIENT_BYTES: usize = size_of::<By>() + 256;
        let clients = 1 + self.running.len() + self.received_by.len();
        let runs = self.sent.runs().len() + self.running.len();
        size_of::<Self>() + clients * CLIENT_BYTES + runs * 2 * size_of::<ByteRange>()
    }

    pub(super) fn is_of(&self, by: &By) -> bool {
        self.by == *by
    }

    pub(super) fn is_delivered(&self) -> bool {
        self.delivered_at.is_some()
    }

    pub(super) fn is_running(&self, request: Uuid) -> bool {
        self.running.contains_key(&request)
    }

    /// Returns whether it is delivered for the first time when this was sent, too.
    pub(super) fn is_delivered_with(&self, sent: ByteRange) -> bool {
        let mut all = self.sent.clone();
        all.insert(sent);
        !self.is_delivered() && all.prefix() >= self.size_bytes
    }

    fn is_whole(&self, range: ByteRange) -> bool {
        range.from == 0 && range.to >= self.size_bytes
    }

    /// Returns whether requests may go on with it.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        self.requests < REQUESTS_MAX && self.delivered_at.is_none_or(|at| now < at.plus_ms(GOES_ON_FOR_MS))
    }

    /// Returns whether this request may go on with it.
    pub(super) fn check(&self, asked: &Asked) -> Result<(), Refusal> {
        let running = || self.running.iter().filter(|(id, _)| !asked.stopped.contains(id));
        let is_alive = |answer: &Running| asked.now < answer.since.plus_ms(RUNS_FOR_MS);
        let ended = || Refusal::TokenEnded { reason: "it was good for no more downloads" };
        if asked.is_whole() && self.received_by.contains(&asked.by) {
            return Err(ended());
        }
        let running_bytes: u64 = running().map(|(_, answer)| answer.range.len()).sum();
        if self.sent_bytes.saturating_add(running_bytes).saturating_add(asked.range.len())
            > self.size_bytes.saturating_mul(TIMES_SENT)
        {
            let is_all_sent = running().all(|(_, answer)| !is_alive(answer));
            return Err(if is_all_sent { ended() } else { Refusal::DownloadRunning });
        }
        // All of the file goes to one at a time; pieces may come side by side, as download managers ask for them.
        let is_in_the_way =
            asked.is_whole() && running().any(|(_, answer)| is_alive(answer) && self.is_whole(answer.range));
        let is_too_soon = self.delivered_at.is_some_and(|at| asked.now < at.plus_ms(QUIET_MS));
        if is_in_the_way || (is_too_soon && asked.is_whole() && !asked.has_waited) {
            return Err(Refusal::DownloadRunning);
        }
        Ok(())
    }
}
