//! Routes for operators: `/healthz` (the process is running), `/readyz` (the process can work) and `/metrics`. If there
//! is a separate listener for operations, the listeners for clients only serve `/healthz`.

use crate::Problem;
use actix_web::{HttpResponse, get, web};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use serde::Serialize;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use utoipa::{OpenApi, ToSchema};
use waybill_schema::ErrorCode;
use waybill_service_kit::{descriptors, metrics};

/// Timeout of one check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for which the result of the checks is used again. The checks cost requests to other servers, and anybody who
/// reaches the listener can ask for them.
const FRESH: Duration = Duration::from_secs(1);

type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The checks that must succeed before a service is ready.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
}

impl Readiness {
    /// Adds a check of the server that `client` connects to.
    #[must_use]
    pub fn with<C, F, E>(
        mut self,
        name: &'static str,
        client: C,
        check: impl Fn(C) -> F + Send + Sync + 'static,
    ) -> Self
    where
        C: Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let check: Check = Arc::new(move || {
            let running = check(client.clone());
            Box::pin(async move { running.await.map_err(|error| error.to_string()) })
        });
        self.checks.push((name, check));
        self
    }

    /// Adds all checks of `other`.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.checks.extend(other.checks);
        self
    }

    /// Runs all checks and returns the names of those that fail.
    pub async fn failing(&self) -> Vec<&'static str> {
        let mut failing = Vec::new();
        if let Err(error) = descriptors::check() {
            tracing::error!(%error, "not ready: cannot open more files; raise the limit (ulimit -n)");
            failing.push("descriptors");
        }
        for (name, check) in &self.checks {
            let outcome = tokio::time::timeout(CHECK_TIMEOUT, check()).await;
            if let Err(reason) = outcome.unwrap_or_else(|_| Err("timed out".to_owned())) {
                tracing::warn!(check = name, reason, "not ready");
                failing.push(*name);
            }
        }
        failing
    }
}

/// A run of the checks, which all requests share that come before its end or within [`FRESH`] after it.
type Run = Shared<BoxFuture<'static, Outcome>>;

/// Result of a run of the checks.
#[derive(Clone)]
struct Outcome {
    ended: Instant,
    failing: Vec<&'static str>,
}

/// The routes of one listener, for all of its threads.
#[derive(Clone)]
pub struct HealthRoutes {
    probe: web::Data<Probe>,
    is_for_clients: bool,
}

impl HealthRoutes {
    /// Serves all routes.
    pub fn new(readiness: Readiness) -> Self {
        Self { probe: web::Data::new(Probe { readiness, last: Mutex::default() }), is_for_clients: false }
    }

    /// Serves only `/healthz` if `has_operations`: the other routes have a listener of their own.
    pub fn beside_operations(readiness: Readiness, has_operations: bool) -> Self {
        Self { is_for_clients: has_operations, ..Self::new(readiness) }
    }

    /// Registers the routes.
    pub fn configure(&self, config: &mut web::ServiceConfig) {
        config.service(alive);
        if self.is_for_clients {
            config.route("/readyz", web::to(hidden)).route("/metrics", web::to(hidden));
        } else {
            config.app_data(self.probe.clone()).service(ready).service(measured);
        }
    }
}

/// Runs the checks for requests, at most once per [`FRESH`].
struct Probe {
    readiness: Readiness,
    last: Mutex<Option<Run>>,
}

impl Probe {
    /// Returns the names of the checks that fail.
    async fn failing(&self) -> Vec<&'static str> {
        let run = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let current = last.clone().filter(|run| run.peek().is_none_or(|outcome| outcome.ended.elapsed() < FRESH));
            current.unwrap_or_else(|| last.insert(self.begin()).clone())
        };
        run.await.failing
    }

    /// Begins a run in a task of its own, so that it ends even if all clients disconnect.
    fn begin(&self) -> Run {
        let readiness = self.readiness.clone();
        let run = tokio::spawn(async move {
            let failing = readiness.failing().await;
            Outcome { ended: Instant::now(), failing }
        });
        // The task is only cancelled when the process ends.
        let stopped = |_| Outcome { ended: Instant::now(), failing: vec!["process"] };
        async move { run.await.unwrap_or_else(stopped) }.boxed().shared()
    }
}

/// The paths of the three routes.
pub const PATHS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Answers requests for a route that only the listener for operations has.
async fn hidden() -> HttpResponse {
    HttpResponse::from_error(Problem::not_found("route"))
}

/// Returns the OpenAPI description of the three routes.
pub fn api() -> utoipa::openapi::OpenApi {
    Operations::openapi()
}

#[derive(OpenApi)]
#[openapi(paths(alive, ready, measured))]
struct Operations;

/// State of the service.
#[derive(Serialize, ToSchema)]
struct Health {
    status: &'static str,
}

/// Show whether the process is running.
#[utoipa::path(
    tag = "service",
    operation_id = "show_health",
    security(()),
    responses((status = 200, description = "The process is running", body = Health)),
)]
#[get("/healthz")]
async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Show metrics in the text format of Prometheus.
#[utoipa::path(
    tag = "service",
    operation_id = "show_metrics",
    security(()),
    responses(
        (status = 200, description = "Metrics", content_type = "text/plain", body = String),
        (status = 404, description = "`not_found`: `WAYBILL_OPS_ADDR` is set, and its address serves this route"),
    ),
)]
#[get("/metrics")]
async fn measured() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(metrics::text())
}

/// Show whether the service is ready. The result is at most one second old.
#[utoipa::path(
    tag = "service",
    operation_id = "show_readiness",
    security(()),
    responses(
        (status = 200, description = "The service is ready", body = Health),
        (status = 404, description = "`not_found`: `WAYBILL_OPS_ADDR` is set, and its address serves this route"),
        (status = 503, description = "`not_ready`: `failing` lists the checks that fail"),
    ),
)]
#[get("/readyz")]
async fn ready(probe: web::Data<Probe>) -> Result<HttpResponse, Problem> {
    let failing = probe.failing().await;
    if failing.is_empty() {
        return Ok(HttpResponse::Ok().json(Health { status: "ready" }));
    }
    Err(Problem {
        code: ErrorCode::NotReady,
        ..Problem::unavailable("The service is not ready. Try again.")
            .with(|members| members.failing = Some(failing.into_iter().map(str::to_owned).collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn m3_requests_share_one_run_of_the_checks_per_second() {
        let runs = Arc::new(AtomicUsize::new(0));
        let readiness = Readiness::default().with("server", runs.clone(), |runs| async move {
            runs.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            Err("down")
        });
        let health = HealthRoutes::new(readiness);
        let together = futures_util::future::join_all((0..50).map(|_| health.probe.failing())).await;
        assert!(together.iter().all(|failing| failing.contains(&"server")));
        // A client that disconnects does not make the next one begin again.
        assert!(health.probe.failing().now_or_never().is_some());
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        tokio::time::advance(FRESH).await;
        assert!(health.probe.failing().now_or_never().is_none());
        health.probe.failing().await;
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }
}
