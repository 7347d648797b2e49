//! Several of each role, as processes behind balancers.

use crate::balancer::{Balancer, Valve};
use crate::process::{Process, free_addr};
use crate::{Backing, Client};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;
use waybill_event_log::EventLog;
use waybill_schema::CompanyId;
use waybill_service_kit::Role;

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Of each role.
    pub each: usize,
    /// Of the streams.
    pub partitions: u32,
    /// How long a partition stays with a projector that is gone.
    pub lease_ms: u32,
    /// Whether each worker has a way of its own to the store.
    pub valves: bool,
    /// Whether the roles reach their servers by [`Ways`].
    pub ways: bool,
}

/// The ways on which all roles reach their servers.
pub struct Ways {
    /// To NATS.
    pub nats: Valve,
    /// To Postgres.
    pub postgres: Valve,
    /// To the store.
    pub store: Valve,
}

impl Ways {
    async fn start(backing: &Backing) -> Self {
        let (_, postgres) = address_in(backing.database_url());
        let (_, nats) = address_in(backing.nats_url());
        Self {
            nats: Valve::start(nats).await,
            postgres: Valve::start(postgres).await,
            store: Valve::start(&backing.store_url()).await,
        }
    }

    fn arguments(&self, backing: &Backing) -> [String; 3] {
        let (before, address) = address_in(backing.database_url());
        let after = &backing.database_url()[before.len() + address.len()..];
        [
            format!("--nats-url=nats://{}", self.nats.addr()),
            format!("--database-url={before}{}{after}", self.postgres.addr()),
            format!("--s3-endpoint={}", self.store.url()),
        ]
    }
}

/// What stands before host and port in a URL, and they.
fn address_in(url: &str) -> (&str, &str) {
    let begin = url.rfind('@').or_else(|| url.find("://").map(|at| at + 2)).map_or(0, |at| at + 1);
    let end = url[begin..].find('/').map_or(url.len(), |at| begin + at);
    (&url[..begin], &url[begin..end])
}

impl Default for Counts {
    fn default() -> Self {
        Self { each: 1, partitions: 1, lease_ms: 2_000, valves: false, ways: false }
    }
}

/// A Waybill of processes. Ends with the value.
pub struct Cluster {
    /// NATS, Postgres, the store.
    pub backing: Backing,
    /// The gateways.
    pub gateways: Vec<Process>,
    /// The workers.
    pub workers: Vec<Process>,
    /// Their ways to the store, where they have such.
    pub valves: Vec<Valve>,
    ways: Option<Ways>,
    /// The projectors.
    pub projectors: Vec<Process>,
    /// The fan-outs.
    pub fanouts: Vec<Process>,
    balancer: Balancer,
    fanout_balancer: Balancer,
    folder: TempDir,
}

impl Cluster {
    /// A company for each partition, in their order.
    pub fn company_of_each_partition(&self) -> Vec<Client> {
        let partitions = self.backing.log().partitions().count() as usize;
        let mut found = BTreeMap::new();
        while found.len() < partitions {
            let client = self.client();
            found.insert(self.backing.partition_of(client.principal.company_id), client);
        }
        found.into_values().collect()
    }

    /// Starts one, and waits until all of it is ready.
    ///
    /// # Panics
    /// Where anything does not start.
    pub async fn start(counts: Counts) -> Self {
        let backing = Backing::start(counts.partitions).await;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut valves = Vec::new();
        for _ in 0..if counts.valves { counts.each } else { 0 } {
            valves.push(Valve::start(&backing.store_url()).await);
        }
        let ways = if counts.ways { Some(Ways::start(&backing).await) } else { None };
        let ways_said = ways.iter().flat_map(|ways| ways.arguments(&backing)).collect::<Vec<_>>();
        let role = async |role: &'static str, option: &str, more: &[String]| {
            let mut processes = Vec::new();
            for number in 0..counts.each {
                let addr = free_addr();
                let mut own = vec![format!("--{option}={addr}"), format!("--projector-lease-ms={}", counts.lease_ms)];
                own.extend(more.iter().chain(&ways_said).cloned());
                if let Some(valve) = valves.get(number).filter(|_| role == "worker") {
                    own.push(format!("--s3-endpoint={}", valve.url()));
                }
                let args = backing.arguments(role, &own);
                let log = folder.path().join(format!("{role}-{number}.log"));
                processes.push(Process::start(role, addr, args, log).await);
            }
            processes
        };
        // The projector first: it makes the tables.
        let projectors = role("projector", "projector-addr", &[]).await;
        let workers = role("worker", "worker-addr", &[]).await;
        let urls: Vec<String> = workers.iter().map(|worker| format!("http://{}", worker.addr())).collect();
        let gateways = role("gateway", "http-addr", &[format!("--worker-urls={}", urls.join(","))]).await;
        let fanouts = role("fanout", "fanout-addr", &[]).await;
        let balancer = Balancer::start(gateways.iter().map(Process::addr).collect()).await;
        let fanout_balancer = Balancer::start(fanouts.iter().map(Process::addr).collect()).await;
        Self { backing, gateways, workers, valves, ways, projectors, fanouts, balancer, fanout_balancer, folder }
    }

    /// Where clients are told to go: to any gateway.
    pub fn url(&self) -> String {
        self.balancer.url()
    }

    /// Where watchers are told to go: to any fan-out.
    pub fn progress_url(&self) -> String {
        self.fanout_balancer.url()
    }

    /// A client for a new user of a new company, with all roles.
    pub fn client(&self) -> Client {
        self.backing.client(&self.url())
    }

    /// A client for a new user of `company`, with all roles.
    pub fn client_for(&self, company: CompanyId) -> Client {
        self.backing.client_for(&self.url(), company, &[Role::Admin, Role::Auditor])
    }

    /// The ways of all roles to their servers.
    ///
    /// # Panics
    /// Where it was started without.
    pub fn ways(&self) -> &Ways {
        self.ways.as_ref().expect("it was started with ways")
    }

    /// A folder for what the test writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops, and checks what must hold after any test: the tables equal a rebuild, and nothing is parked.
    ///
    /// # Panics
    /// Where it does not hold.
    pub async fn finish(self) {
        self.backing.check(0).await;
        let Self { backing, gateways, workers, projectors, fanouts, .. } = self;
        drop((gateways, workers, projectors, fanouts));
        backing.remove().await;
    }
}
