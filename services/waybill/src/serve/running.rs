//! The running roles of a process, and the order in which they stop.

use std::net::SocketAddr;
use tokio::task::JoinSet;
use waybill_http_kit::health::Readiness;
use waybill_service_kit::Shutdown;

/// Running roles of this process.
#[derive(Default)]
pub struct Running {
    pub(super) addr: Option<SocketAddr>,
    pub(super) ops_addr: Option<SocketAddr>,
    pub(super) gateway: Option<waybill_gateway::Server>,
    pub(super) fanout: Option<waybill_fanout::Server>,
    pub(super) worker: Option<waybill_worker::Server>,
    pub(super) projector: Option<waybill_projector::Server>,
    pub(super) content: Option<waybill_content::Server>,
    pub(super) back: Shutdown,
    pub(super) tasks: JoinSet<()>,
    /// Tasks that follow the events that affect authorization. They stop last, because every running request needs them.
    pub(super) followers: JoinSet<()>,
    pub(super) end: Shutdown,
}

impl Running {
    /// Returns the address on which the process listens.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Returns the address that serves readiness and metrics.
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops_addr.or(self.addr)
    }

    /// Returns the readiness checks of the roles.
    pub(super) fn readiness(&self) -> Readiness {
        // The gateway has the checks of all roles of its process.
        let gateway = self.gateway.as_ref().map(waybill_gateway::Server::readiness);
        let fanout = || self.fanout.as_ref().map(waybill_fanout::Server::readiness);
        let worker = || self.worker.as_ref().map(waybill_worker::Server::readiness);
        let projector = || self.projector.as_ref().map(waybill_projector::Server::readiness);
        let content = || self.content.as_ref().map(waybill_content::Server::readiness);
        gateway.or_else(fanout).or_else(worker).or_else(projector).or_else(content).unwrap_or_default()
    }

    /// Waits until all roles have stopped after the shutdown was triggered. The roles that accept requests stop first,
    /// the roles that requests depend on stop last.
    pub async fn stopped(self) {
        if let Some(gateway) = self.gateway {
            gateway.stopped().await;
        }
        if let Some(fanout) = self.fanout {
            fanout.stopped().await;
        }
        self.back.trigger();
        if let Some(content) = self.content {
            content.stopped().await;
        }
        if let Some(worker) = self.worker {
            worker.stopped().await;
        }
        if let Some(projector) = self.projector {
            projector.stopped().await;
        }
        self.tasks.join_all().await;
        self.end.trigger();
        self.followers.join_all().await;
    }
}
