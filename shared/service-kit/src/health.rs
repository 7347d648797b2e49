//! Health: `/healthz` says that the process runs, `/readyz` that it can do its work, `/metrics` how it does it.

use crate::{Problem, metrics};
use actix_web::{HttpResponse, web};
use serde_json::json;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// What must answer before a service is ready.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
}

impl Readiness {
    /// Adds a check of something behind `client`.
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

    /// All checks of `other` too.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.checks.extend(other.checks);
        self
    }

    /// The names of the checks that fail.
    pub async fn failing(&self) -> Vec<&'static str> {
        let mut failing = Vec::new();
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

/// The three routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/healthz", web::get().to(|| async { HttpResponse::Ok().json(json!({ "status": "ok" })) }))
        .route("/readyz", web::get().to(ready))
        .route(
            "/metrics",
            web::get()
                .to(|| async { HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(metrics::text()) }),
        );
}

async fn ready(readiness: web::Data<Readiness>) -> Result<HttpResponse, Problem> {
    let failing = readiness.failing().await;
    if failing.is_empty() {
        return Ok(HttpResponse::Ok().json(json!({ "status": "ready" })));
    }
    Err(Problem { code: "not_ready".to_owned(), ..Problem::unavailable("not ready yet").with("failing", failing) })
}
