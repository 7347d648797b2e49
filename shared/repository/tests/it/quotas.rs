//! Tests of quotas: the cost of a command, and commands of several processes at the same time.

use crate::counted::{CountedLog, context};
use std::sync::Arc;
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::limits::{Limits, OpenLimits};
use waybill_domain::quota::{Command, QuotaAggregate, Terms};
use waybill_repository::{ExecuteError, Repository};
use waybill_schema::events::ReservedItem;
use waybill_schema::{CompanyId, Timestamp, UploadId};

fn reserve(bytes_total: u64) -> Command {
    let item =
        ReservedItem { upload_id: UploadId(Uuid::now_v7()), session_id: None, bytes_total, user_id: None, link: None };
    let terms = Terms {
        default_limit_bytes: 0,
        limits: Limits::default(),
        open: OpenLimits::default(),
        links: std::collections::BTreeMap::new(),
    };
    Command::Reserve { items: vec![item], until: Timestamp(2_000_000), terms }
}

fn new_quota() -> QuotaAggregate {
    QuotaAggregate { company: CompanyId(Uuid::now_v7()) }
}

#[tokio::test]
async fn a_start_reads_the_end_of_the_quota_once() {
    let log = Arc::new(CountedLog::new());
    let (repository, quota, context) = (Repository::new(log.clone()), new_quota(), context());
    for (number, reads) in [2, 1, 1].into_iter().enumerate() {
        log.read();
        let mut held = repository.hold_quota(quota.company).await.unwrap();
        let mut limit = Command::SetFirstLimit { storage_limit_bytes: 100 };
        let set = held.execute(&mut limit, &context).await.unwrap();
        assert_eq!(set.event.is_some(), number == 0);
        assert!(held.execute(&mut reserve(1), &context).await.unwrap().event.is_some());
        assert_eq!(log.read(), reads);
    }
    log.read();
    let refused = repository.execute(&quota, reserve(98), &context).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(Refusal::QuotaExceeded { reserved_bytes: 3, .. }))));
    assert_eq!(log.read(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_never_reserve_more_than_the_limit_together() {
    let log = Arc::new(CountedLog::new());
    let (first, second) = (Arc::new(Repository::new(log.clone())), Arc::new(Repository::new(log)));
    let quota = new_quota();
    let limit = Command::SetLimit { storage_limit_bytes: 100 };
    first.execute(&quota, limit, &context()).await.unwrap();
    let starts = (0..40).map(|number| {
        let repository = if number % 2 == 0 { first.clone() } else { second.clone() };
        tokio::spawn(async move { repository.execute(&quota, reserve(9), &context()).await })
    });
    let done = futures_util::future::join_all(starts).await;
    assert_eq!(done.into_iter().filter(|done| matches!(done, Ok(Ok(_)))).count(), 11);
    for repository in [first, second] {
        assert_eq!(repository.quota(quota.company).await.unwrap().reserved_bytes(), 99);
    }
}
