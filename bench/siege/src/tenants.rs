//! The tenants whose answers are timed.

use crate::api::{Answer, User};
use crate::report::Report;
use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// Time between the uploads of a tenant.
const EVERY: Duration = Duration::from_secs(4);
const SIZE: u32 = 300_000;

/// Every tenant uploads, lists and downloads until the time is over.
pub(crate) async fn work(url: &str, tokens: &[String], until: Instant) -> Report {
    let Ok(http) = reqwest::Client::builder().no_proxy().build() else { return Report::default() };
    let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX).max(1);
    let tenants = (0..).zip(tokens).map(|(number, token)| {
        let user = User::new(&http, url, token);
        tenant(user, EVERY / count * number, until)
    });
    let mut report = Report::default();
    for one in join_all(tenants).await {
        for (kind, ms) in one.ms {
            report.ms.entry(kind).or_default().extend(ms);
        }
        for (text, count) in one.failures {
            *report.failures.entry(text).or_default() += count;
        }
    }
    report
}

async fn tenant(user: User, delay: Duration, until: Instant) -> Report {
    let mut report = Report::default();
    let mut ticks = tokio::time::interval_at(Instant::now() + delay, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let content: Bytes = (0..SIZE).map(|number| (number % 251) as u8).collect();
    while Instant::now() < until {
        ticks.tick().await;
        round(&user, &content, &mut report).await;
    }
    report
}

async fn round(user: &User, content: &Bytes, report: &mut Report) {
    let body = json!({ "name": "a.bin", "size_bytes": SIZE, "mime_type": "application/octet-stream" });
    let started = report.timed("start", 201, user.post("/v1/uploads", &body)).await;
    if started.status != 201 {
        return;
    }
    let upload = started.text("upload_id");
    let chunk = user.request(Method::PUT, &format!("/v1/uploads/{upload}/chunks/0")).body(content.clone());
    report.timed("chunk", 200, user.send(chunk)).await;
    let complete = user.request(Method::POST, &format!("/v1/uploads/{upload}/complete"));
    report.timed("complete", 200, user.send(complete.header("Prefer", "wait=60").json(&json!({})))).await;
    report.timed("list", 200, user.get("/v1/files?limit=20")).await;
    report.timed("download", 200, user.get(&format!("/v1/files/{upload}/content"))).await;
}

impl Report {
    async fn timed(&mut self, kind: &'static str, status: u16, answer: impl Future<Output = Answer>) -> Answer {
        let began = Instant::now();
        let answer = answer.await;
        if answer.status == status {
            self.ms.entry(kind).or_default().push(began.elapsed().as_secs_f64() * 1e3);
        } else {
            let text = format!("{kind}: {} {}", answer.status, answer.text("code"));
            *self.failures.entry(text).or_default() += 1;
        }
        answer
    }
}
