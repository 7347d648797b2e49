//! `waybill audit-store` and `waybill reconcile`: find objects that nothing refers to, and files whose object is missing. A
//! process with the role `content` can do the same on a schedule.
//!
//! The tables only tell which objects need no further check; the log decides about each finding. The command keeps one
//! page of the store's list and one page of the tables in memory.

mod judge;
mod missing;
mod report;
pub(crate) mod schedule;

use crate::backing::Stores;
use crate::{CommandError, backing};
use clap::Args;
use judge::{Judge, Kind, Verdict};
use missing::Missing;
use report::{Finding, Output, Report};
use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;
use waybill_event_log::Bucket;
use waybill_event_log::jetstream::JetStreamLog;
use waybill_object_store::ObjectStore;
use waybill_object_store::s3::{Listed, Marker, S3Store};
use waybill_read_model::Database;
use waybill_read_model::queries::referenced_keys;
use waybill_repository::Repository;
use waybill_schema::names;
use waybill_service_kit::now;
use waybill_service_kit::settings::{DatabaseSettings, NatsSettings, S3Settings};

/// Explanation of the output of both commands.
const FINDINGS: &str = "\
The command ignores objects that are younger than --older-than, because a request may still use them.

Kinds of findings:
  object      object of a file
  staging     staged object
  quarantine  object under a quarantine key
  probe       object of an interrupted `waybill doctor`
  multipart   open multipart upload
  foreign     object under a prefix of Waybill that Waybill did not write; never deleted
  unknown     object whose events cannot be read; never deleted
  missing     file without its object

Exit codes: 0 no finding, or all findings were deleted; 1 a finding remains, or the audit failed.";

#[derive(Args)]
#[command(after_long_help = FINDINGS)]
pub(crate) struct AuditStoreArgs {
    /// Delete objects and multipart uploads that nothing refers to
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    scope: Scope,
}

#[derive(Args)]
#[command(after_long_help = FINDINGS)]
pub(crate) struct ReconcileArgs {
    /// Delete nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    scope: Scope,
}

/// Objects and servers to check.
#[derive(Args)]
struct Scope {
    /// Find also files whose object is missing
    #[arg(long)]
    missing: bool,
    /// Minimum age of an object or multipart upload in seconds; it must exceed the duration of any request
    #[arg(long, value_name = "SECONDS", default_value_t = 24 * 3_600, value_parser = clap::value_parser!(i64).range(0..=315_360_000))]
    older_than: i64,
    /// Output as one JSON object per line, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nats: NatsSettings,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    s3: S3Settings,
}

struct Audit {
    /// All buckets as one.
    store: Arc<dyn ObjectStore>,
    stores: Stores,
    database: Database,
    judge: Judge,
    report: Report,
    deletes: bool,
    /// Only objects and multipart uploads from before this time are checked. In seconds since 1970.
    made_before: i64,
}

pub(crate) async fn audit_store(args: AuditStoreArgs) -> Result<ExitCode, CommandError> {
    check(args.scope, args.delete).await
}

pub(crate) async fn reconcile(args: ReconcileArgs) -> Result<ExitCode, CommandError> {
    check(args.scope, !args.dry_run).await
}

async fn check(args: Scope, deletes: bool) -> Result<ExitCode, CommandError> {
    let nats = backing::nats(&args.nats).await?;
    let log = backing::log(&args.nats, &nats).await?;
    let snapshots = Bucket::open(&nats, names::SNAPSHOTS_BUCKET).await;
    let snapshots = snapshots.map_err(|error| format!("{error}; run `waybill provision`"))?;
    let log = Arc::new(JetStreamLog::clone(&log).keeping_snapshots_in(snapshots));
    let stores = backing::stores(&args.s3)?;
    let mut audit = Audit {
        store: stores.all(),
        stores,
        database: backing::database(&args.database)?,
        judge: Judge::new(Arc::new(Repository::new(log))),
        report: Report::new(if args.json { Output::Json } else { Output::Table }),
        deletes,
        made_before: (now().0 / 1_000).saturating_sub(args.older_than),
    };
    audit.run(args.missing).await?;
    Ok(if audit.report.end()? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Audit {
    /// Checks all objects and multipart uploads, and with `missing` also all files.
    async fn run(&mut self, missing: bool) -> Result<(), CommandError> {
        let stores = self.stores.clone();
        for bucket in stores.each() {
            for kind in Kind::ALL {
                self.objects(bucket, kind).await?;
                self.multiparts(bucket, kind).await?;
            }
        }
        if missing {
            Missing::new(&stores.hot, self.store.as_ref())
                .look(&self.database, &mut self.judge, &mut self.report)
                .await?;
        }
        Ok(())
    }

    async fn objects(&mut self, bucket: &S3Store, kind: Kind) -> Result<(), CommandError> {
        let prefix = kind.prefix();
        let mut after: Option<String> = None;
        loop {
            let page = bucket.objects_after(prefix, after.as_deref()).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.clone());
            let known = if kind == Kind::Object { self.known(prefix, &page).await? } else { HashSet::new() };
            for listed in page {
                let is_known = known.contains(&listed.key);
                self.look(kind, listed, is_known).await?;
            }
        }
    }

    async fn multiparts(&mut self, bucket: &S3Store, kind: Kind) -> Result<(), CommandError> {
        let mut from = Some(Marker::default());
        while let Some(marker) = from {
            let (page, next) = bucket.multiparts_from(kind.prefix(), marker).await?;
            for listed in page {
                self.look(kind, listed, false).await?;
            }
            from = next;
        }
        Ok(())
    }

    /// Returns the keys of a page that files in the tables refer to. Their events need no check.
    async fn known(&self, prefix: &str, page: &[Listed]) -> Result<HashSet<String>, CommandError> {
        let old = page.iter().filter(|listed| listed.since < self.made_before);
        let keys: Vec<&str> =
            old.map(|listed| listed.key.as_str()).filter(|key| names::owner(prefix, key).is_some()).collect();
        if keys.is_empty() {
            return Ok(HashSet::new());
        }
        let mut connection = self.database.connection().await?;
        Ok(referenced_keys(&mut connection, &keys).await?)
    }

    /// Decides about an object or a multipart upload. An object to which nothing refers can have the only bytes of a file: after the
    /// restore of an older log, or if the store lost the object that replaced it.
    async fn verdict(&mut self, kind: Kind, listed: &Listed) -> Result<Verdict, CommandError> {
        let verdict = self.judge.verdict(kind, listed).await?;
        let is_object = kind == Kind::Object && listed.upload_id.is_none();
        let owner = names::owner(kind.prefix(), &listed.key).filter(|_| is_object);
        if let (Verdict::Unreferenced(_), Some((company, upload))) = (verdict, owner) {
            for key in self.judge.keys_of(company, upload).await? {
                if self.store.size(&key).await?.is_none() {
                    return Ok(Verdict::Needed);
                }
            }
        }
        Ok(verdict)
    }

    async fn look(&mut self, kind: Kind, listed: Listed, is_known: bool) -> Result<(), CommandError> {
        self.report.looked_at();
        if is_known || listed.since >= self.made_before {
            return Ok(());
        }
        let mut finding = match self.verdict(kind, &listed).await {
            Ok(Verdict::Needed) => return Ok(()),
            Ok(Verdict::Unreferenced(why)) => Finding::of(kind, listed, why.to_owned()),
            Ok(Verdict::Foreign) => {
                Finding { kind: "foreign", ..Finding::of(kind, listed, "Waybill does not use such keys".to_owned()) }
            }
            Err(error) => Finding { kind: "unknown", ..Finding::of(kind, listed, error.to_string()) },
        };
        if let Some(upload_id) = &finding.upload_id {
            // A multipart upload that has ended in the meantime has no parts.
            let parts = self.store.list_parts(&finding.key, upload_id).await.unwrap_or_default();
            finding.size_bytes = parts.iter().map(|part| part.size_bytes).sum();
        }
        if self.deletes && finding.is_deletable() {
            let deleted = match &finding.upload_id {
                Some(upload_id) => self.store.abort_multipart(&finding.key, upload_id).await,
                None => self.store.delete(&finding.key).await,
            };
            match deleted {
                Ok(()) => finding.deleted = true,
                Err(error) => finding.why = format!("{}; {error}", finding.why),
            }
        }
        self.report.found(&finding)
    }
}
