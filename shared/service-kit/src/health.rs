//! Routes for operators: `/healthz` (the process is running), `/readyz` (the process can work) and `/metrics`.

use crate::{Problem, descriptors, metrics};
use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use utoipa::{OpenApi, ToSchema};
use waybill_schema::ErrorCode;

/// Timeout of one check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

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

/// The paths of the three routes.
pub const PATHS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Registers the three routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(alive).service(ready).service(measured);
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
    responses((status = 200, description = "Metrics", content_type = "text/plain", body = String)),
)]
#[get("/metrics")]
async fn measured() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(metrics::text())
}

/// Show whether the service is ready.
#[utoipa::path(
    tag = "service",
    operation_id = "show_readiness",
    security(()),
    responses(
        (status = 200, description = "The service is ready", body = Health),
        (status = 503, description = "`not_ready`: `failing` lists the checks that fail"),
    ),
)]
#[get("/readyz")]
async fn ready(readiness: web::Data<Readiness>) -> Result<HttpResponse, Problem> {
    let failing = readiness.failing().await;
    if failing.is_empty() {
        return Ok(HttpResponse::Ok().json(Health { status: "ready" }));
    }
    Err(Problem {
        code: ErrorCode::NotReady,
        ..Problem::unavailable("The service is not ready. Try again.").with("failing", failing)
    })
}
