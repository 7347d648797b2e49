//! Several processes of each role, behind balancers.

use crate::authority::Authority;
use crate::balancer::{Balancer, Valve};
use crate::edge::Tunnel;
use crate::process::{Process, free_addr};
use crate::{Backing, Client};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use waybill_event_log::EventLog;
use waybill_http_kit::Role;
use waybill_schema::CompanyId;

/// Number of processes and partitions of a [`Cluster`], and its options.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Number of processes of each role.
    pub each: usize,
    /// Number of partitions of the event log.
    pub partitions: u32,
    /// Lease of a partition, in milliseconds: the time after which another projector can take it over.
    pub lease_ms: u32,
    /// `true` if each worker reaches the store through its own [`Valve`].
    pub valves: bool,
    /// `true` if all roles reach their servers through [`Ways`].
    pub ways: bool,
    /// `true` if all connections have TLS. Clients reach the balancers through tunnels, without TLS.
    pub tls: bool,
}

/// Proxies through which all roles reach their servers. A test can interrupt them.
pub struct Ways {
    /// The proxy in front of NATS.
    pub nats: Valve,
    /// The proxy in front of PostgreSQL.
    pub postgres: Valve,
    /// The proxy in front of the object store.
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

/// Splits a URL: returns the text before the host and port, and the host and port.
fn address_in(url: &str) -> (&str, &str) {
    let begin = url.rfind('@').or_else(|| url.find("://").map(|at| at + 2)).map_or(0, |at| at + 1);
    let end = url[begin..].find('/').map_or(url.len(), |at| begin + at);
    (&url[..begin], &url[begin..end])
}

impl Default for Counts {
    fn default() -> Self {
        Self { each: 1, partitions: 1, lease_ms: 2_000, valves: false, ways: false, tls: false }
    }
}

/// A Waybill of processes. Dropping the value ends them.
pub struct Cluster {
    /// NATS, PostgreSQL and the object store.
    pub backing: Backing,
    /// The gateways.
    pub gateways: Vec<Process>,
    /// The workers.
    pub workers: Vec<Process>,
    /// The proxies between the workers and the store; empty without [`Counts::valves`].
    pub valves: Vec<Valve>,
    ways: Option<Ways>,
    /// The projectors.
    pub projectors: Vec<Process>,
    /// The fan-outs.
    pub fanouts: Vec<Process>,
    balancer: Balancer,
    fanout_balancer: Balancer,
    /// In front of the balancers, with TLS.
    tunnels: Option<(Tunnel, Tunnel)>,
    folder: TempDir,
}

impl Cluster {
    /// Returns a client of one company for each partition, in the order of the partitions.
    pub fn company_of_each_partition(&self) -> Vec<Client> {
        let partitions = self.backing.log().partitions().count() as usize;
        let mut found = BTreeMap::new();
        while found.len() < partitions {
            let client = self.client();
            found.insert(self.backing.partition_of(client.principal.company_id), client);
        }
        found.into_values().collect()
    }

    /// Starts a cluster and waits until all roles are ready.
    ///
    /// # Panics
    /// If a server or a role does not start.
    pub async fn start(counts: Counts) -> Self {
        let tls = counts.tls.then(|| Arc::new(Authority::new()));
        let backing = match &tls {
            Some(authority) => Backing::start_secure(authority, counts.partitions).await,
            None => Backing::start(counts.partitions).await,
        };
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
                processes.push(Process::start_with(role, addr, args, log, tls.clone()).await);
            }
            processes
        };
        // The projector starts first because it creates the tables.
        let projectors = role("projector", "projector-addr", &[]).await;
        let workers = role("worker", "worker-addr", &[]).await;
        let scheme = if counts.tls { "https" } else { "http" };
        let urls: Vec<String> = workers.iter().map(|worker| format!("{scheme}://{}", worker.addr())).collect();
        let gateways = role("gateway", "http-addr", &[format!("--worker-urls={}", urls.join(","))]).await;
        let fanouts = role("fanout", "fanout-addr", &[]).await;
        let balancer = Balancer::start(gateways.iter().map(Process::addr).collect()).await;
        let fanout_balancer = Balancer::start(fanouts.iter().map(Process::addr).collect()).await;
        let tunnels = match &tls {
            Some(tls) => {
                Some((Tunnel::start(tls, balancer.addr()).await, Tunnel::start(tls, fanout_balancer.addr()).await))
            }
            None => None,
        };
        Self {
            backing,
            gateways,
            workers,
            valves,
            ways,
            projectors,
            fanouts,
            balancer,
            fanout_balancer,
            tunnels,
            folder,
        }
    }

    /// Returns the URL of the balancer in front of the gateways.
    pub fn url(&self) -> String {
        self.tunnels.as_ref().map_or_else(|| self.balancer.url(), |(gateways, _)| gateways.url())
    }

    /// Returns the URL of the balancer in front of the fan-outs.
    pub fn progress_url(&self) -> String {
        self.tunnels.as_ref().map_or_else(|| self.fanout_balancer.url(), |(_, fanouts)| fanouts.url())
    }

    /// Restarts a gateway with other arguments, after the balancer has taken it out and its connections have ended.
    pub async fn replace_gateway(&mut self, index: usize, replaced: &[String]) {
        let gateway = &mut self.gateways[index];
        self.balancer.take_out(gateway.addr()).await;
        gateway.restart_with(replaced).await;
        self.balancer.put_back(gateway.addr());
    }

    /// Returns a client for a new user of a new company, with all roles.
    pub fn client(&self) -> Client {
        self.backing.client(&self.url())
    }

    /// Returns a client for a new user of `company`, with all roles.
    pub fn client_for(&self, company: CompanyId) -> Client {
        self.backing.client_for(&self.url(), company, &[Role::Admin, Role::Auditor])
    }

    /// Returns a client for a new user of `company` without roles.
    pub fn user_of(&self, company: CompanyId) -> Client {
        self.backing.client_for(&self.url(), company, &[])
    }

    /// Returns the proxies between all roles and their servers.
    ///
    /// # Panics
    /// If the cluster was started without [`Counts::ways`].
    pub fn ways(&self) -> &Ways {
        self.ways.as_ref().expect("the cluster was started with Counts::ways")
    }

    /// Returns a folder for files of the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Checks what must hold after every test, and stops the processes: the tables equal a rebuild, and nothing is
    /// parked.
    ///
    /// # Panics
    /// If it does not hold.
    pub async fn finish(self) {
        self.backing.check(0).await;
        let Self { backing, gateways, workers, projectors, fanouts, .. } = self;
        drop((gateways, workers, projectors, fanouts));
        backing.remove().await;
    }
}
