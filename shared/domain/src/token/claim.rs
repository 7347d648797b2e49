//! A claim: one download with a token.

use crate::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use uuid::Uuid;
use waybill_schema::events::{DownloadTokenContinued, DownloadTokenRedeemed, DownloadTokenServed};
use waybill_schema::{ByteRange, RangeSet, Timestamp};

/// Time in milliseconds after the delivery during which a download can be continued, because the sent bytes may not
/// have arrived.
pub const GOES_ON_FOR_MS: i64 = 120_000;
/// Time in milliseconds after the delivery during which a request for the whole file must wait. Requests that arrive at
/// the same time do not come from one person.
const QUIET_MS: i64 = 1_000;
/// Time in milliseconds after which a response no longer counts as running. Its end may be missing because its gateway
/// died.
const RUNS_FOR_MS: i64 = 60_000;
/// Maximum number of requests of one claim.
const REQUESTS_MAX: u32 = 1_000;
/// Maximum number of bytes that one claim sends, as a multiple of the file size.
const TIMES_SENT: u64 = 2;

/// Identity of a downloading client: two requests with equal values count as one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct By {
    /// Address of the client.
    pub ip_address: IpAddr,
    /// `User-Agent` of the client.
    pub user_agent: Option<String>,
}

/// Request for bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Id of the request.
    pub request: Uuid,
    /// The client.
    pub by: By,
    /// The requested range.
    pub range: ByteRange,
    /// Size of the file in bytes.
    pub size_bytes: u64,
    /// Current time.
    pub now: Timestamp,
    /// `true` if the request has waited for the end of other responses.
    pub has_waited: bool,
    /// Responses that are known to send nothing more.
    pub stopped: BTreeSet<Uuid>,
}

impl Asked {
    /// Returns `true` if the request is for the whole file.
    pub fn is_whole(&self) -> bool {
        self.range.from == 0 && self.range.to >= self.size_bytes
    }
}

/// One download, folded from its events. See the parent module for the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    by: By,
    size_bytes: u64,
    /// The ranges that were sent.
    sent: RangeSet,
    /// Number of bytes that were sent. Bytes that were sent twice count twice.
    sent_bytes: u64,
    /// Running responses, by the id of their request.
    running: BTreeMap<Uuid, Running>,
    /// Clients that received the whole file in one response. They have no reason to request the whole file again.
    received_by: Vec<By>,
    requests: u32,
    delivered_at: Option<Timestamp>,
}

/// Running response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Running {
    by: By,
    range: ByteRange,
    since: Timestamp,
}

impl Claim {
    pub(super) fn open(redeemed: &DownloadTokenRedeemed, time: Timestamp) -> Self {
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

    /// Adds a request that continues the claim.
    pub(super) fn go_on(&mut self, continued: &DownloadTokenContinued, time: Timestamp) {
        let by = By { ip_address: continued.ip_address, user_agent: continued.user_agent.clone() };
        self.running.insert(continued.request, Running { by, range: continued.range, since: time });
        self.requests = self.requests.saturating_add(1);
    }

    /// Records the end of a response.
    pub(super) fn served(&mut self, served: &DownloadTokenServed, time: Timestamp) {
        let ended = self.running.remove(&served.request);
        self.received_by.extend(ended.filter(|_| self.is_whole(served.sent)).map(|ended| ended.by));
        self.sent.insert(served.sent);
        self.sent_bytes = self.sent_bytes.saturating_add(served.sent.len());
        if served.is_delivered {
            self.delivered_at.get_or_insert(time);
        }
    }

    /// Returns the approximate memory usage in bytes.
    pub(super) fn weight_bytes(&self) -> usize {
        // Recorded user agents have at most 256 bytes. The entries of maps need some more memory.
        const CLIENT_BYTES: usize = size_of::<By>() + 256;
        let clients = 1 + self.running.len() + self.received_by.len();
        let runs = self.sent.runs().len() + self.running.len();
        size_of::<Self>() + clients * CLIENT_BYTES + runs * 2 * size_of::<ByteRange>()
    }

    /// Returns `true` if this client opened the claim.
    pub(super) fn is_of(&self, by: &By) -> bool {
        self.by == *by
    }

    pub(super) fn is_delivered(&self) -> bool {
        self.delivered_at.is_some()
    }

    pub(super) fn is_running(&self, request: Uuid) -> bool {
        self.running.contains_key(&request)
    }

    /// Returns `true` if sending this range completes the first delivery of the file.
    pub(super) fn is_delivered_with(&self, sent: ByteRange) -> bool {
        let mut all = self.sent.clone();
        all.insert(sent);
        !self.is_delivered() && all.prefix() >= self.size_bytes
    }

    fn is_whole(&self, range: ByteRange) -> bool {
        range.from == 0 && range.to >= self.size_bytes
    }

    /// Returns `true` if further requests can continue the claim.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        self.requests < REQUESTS_MAX && self.delivered_at.is_none_or(|at| now < at.plus_ms(GOES_ON_FOR_MS))
    }

    /// Checks whether this request can continue the claim.
    pub(super) fn check(&self, asked: &Asked) -> Result<(), Refusal> {
        let running = || self.running.iter().filter(|(id, _)| !asked.stopped.contains(id));
        let is_alive = |answer: &Running| asked.now < answer.since.plus_ms(RUNS_FOR_MS);
        let ended = || Refusal::TokenEnded { reason: "it allows no more downloads" };
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
        // Only one response at a time may send the whole file. Ranges can be sent in parallel, because download
        // managers request them so.
        let is_in_the_way =
            asked.is_whole() && running().any(|(_, answer)| is_alive(answer) && self.is_whole(answer.range));
        let is_too_soon = self.delivered_at.is_some_and(|at| asked.now < at.plus_ms(QUIET_MS));
        if is_in_the_way || (is_too_soon && asked.is_whole() && !asked.has_waited) {
            return Err(Refusal::DownloadRunning);
        }
        Ok(())
    }
}
