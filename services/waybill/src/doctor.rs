//! `waybill doctor`: whether the servers that Waybill stands on can do what it needs.

use crate::{CommandError, backing};
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use uuid::Uuid;
use waybill_event_log::jetstream::{self, Finding};
use waybill_object_store::s3::S3Store;
use waybill_object_store::{CompletedPart, Crc, ObjectStore, PartCrc, StoreError, crc64nvme};
use waybill_read_model::Database;
use waybill_service_kit::settings::{AuthSettings, DatabaseSettings, NatsSettings, S3Settings, WorkerSecret};

/// The oldest PostgreSQL with all that Waybill uses.
const OLDEST_POSTGRES: u32 = 15;
/// The shortest secrets.
const SECRET_MIN_BYTES: usize = 32;
/// S3 takes no shorter part, but for the last one.
const PART_BYTES: usize = 5 * 1_024 * 1_024;

#[derive(Args)]
#[command(after_long_help = "\
It writes a few objects under doctor/ in the bucket and deletes them again; nothing else is changed.

Exit codes: 0 all is well; 1 something is missing.")]
pub(crate) struct DoctorArgs {
    /// One JSON object a line, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nats: NatsSettings,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    s3: S3Settings,
    #[command(flatten)]
    auth: AuthSettings,
    #[command(flatten)]
    worker_secret: WorkerSecret,
}

pub(crate) async fn doctor(args: DoctorArgs) -> Result<ExitCode, CommandError> {
    let mut findings = nats(&args.nats).await;
    findings.push(postgres("PostgreSQL", backing::database(&args.database)).await);
    if let Some(replica) = backing::replica(&args.database).transpose() {
        findings.push(postgres("PostgreSQL, the replica", replica).await);
    }
    let s3 = backing::store(&args.s3);
    findings.extend(store(s3.as_ref()).await);
    findings.push(tokens(&args.auth).await);
    findings.push(secret("WAYBILL_WORKER_SECRET", &args.worker_secret.worker_secret));
    for (what, found) in &findings {
        let (mark, text) = match found {
            Ok(text) => ("✓", text),
            Err(text) => ("✗", text),
        };
        if args.json {
            println!("{}", json!({ "check": what, "ok": found.is_ok(), "detail": text }));
        } else {
            println!("{mark} {what}: {text}");
        }
    }
    Ok(if findings.iter().all(|(_, found)| found.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn nats(settings: &NatsSettings) -> Vec<Finding> {
    let partitions = match backing::partitions(settings) {
        Ok(partitions) => partitions,
        Err(error) => return vec![("partitions".to_owned(), Err(error.to_string()))],
    };
    match backing::nats(settings).await {
        Ok(client) => jetstream::inspect(&client, partitions).await,
        Err(error) => vec![("NATS server".to_owned(), Err(error.to_string()))],
    }
}

async fn tokens(settings: &AuthSettings) -> Finding {
    let what = "tokens of users".to_owned();
    match backing::authenticator(settings) {
        Ok(authenticator) => (what, authenticator.check().await),
        Err(error) => {
            let hint = "set WAYBILL_JWKS_URL, or WAYBILL_JWT_HS256_SECRET to what `openssl rand -hex 32` says";
            (what, Err(format!("{error}; {hint}")))
        }
    }
}

async fn postgres(what: &str, database: Result<Database, CommandError>) -> Finding {
    let inspect = async {
        let found = database?.inspect().await?;
        let major: u32 = found.version.split(['.', ' ']).next().and_then(|major| major.parse().ok()).unwrap_or(0);
        if major < OLDEST_POSTGRES {
            return Err(format!("version {} is too old; {OLDEST_POSTGRES} or newer is needed", found.version).into());
        }
        match found.pending_migrations {
            0 => Ok(format!("{}, its tables are up to date", found.version)),
            n => Err(CommandError::from(format!("{n} migrations are missing; run `waybill provision`"))),
        }
    };
    (what.to_owned(), inspect.await.map_err(|error| error.to_string()))
}

/// Does with the store what uploads do with it.
async fn store(store: &S3Store) -> Vec<Finding> {
    if let Err(error) = store.check().await {
        let wrong = format!(
            "{error}; are WAYBILL_S3_ENDPOINT, its keys and the bucket right? `waybill provision` makes the bucket"
        );
        return vec![(format!("bucket {}", store.bucket()), Err(wrong))];
    }
    let mut findings = vec![(format!("bucket {}", store.bucket()), Ok("there".to_owned()))];
    let key = |name: &str| format!("doctor/{}/{name}", Uuid::now_v7().simple());
    for (what, outcome) in [
        ("objects, whole and in ranges", objects(store, &key("object")).await),
        ("checksums of objects", checksums(store, &key("checksum")).await),
        ("encryption", encryption(store, &key("encrypted")).await),
        ("checksums of parts", checksums_of_parts(store, &key("part")).await),
        ("multipart uploads", multipart(store, &key("parts")).await),
        ("multipart uploads that are given up", aborted(store, &key("aborted")).await),
    ] {
        let text = outcome.map(|()| "as needed".to_owned()).map_err(|error| error.to_string());
        findings.push((format!("store: {what}"), text));
    }
    findings
}

async fn objects(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    let bytes = Bytes::from_static(b"0123456789");
    store.put(key, bytes.clone(), crc64nvme(&bytes)).await?;
    let found = store.get(key, 3, Some(4)).await?.collect().await?;
    let size = store.size(key).await?;
    store.delete(key).await?;
    must(found == "3456" && size == Some(10), "a range is not what was stored")?;
    must(store.size(key).await?.is_none(), "a deleted object is still there")
}

async fn checksums(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    let taken = store.put(key, Bytes::from_static(b"other bytes"), crc64nvme(b"these bytes")).await;
    store.delete(key).await?;
    must(taken.is_err(), "bytes with a wrong CRC-64/NVME are taken: the store does not check x-amz-checksum-crc64nvme")
}

async fn encryption(store: &S3Store, key: &str) -> Result<(), CommandError> {
    if !store.encrypts() {
        return Ok(());
    }
    let bytes = Bytes::from_static(b"secret");
    store.put(key, bytes.clone(), crc64nvme(&bytes)).await?;
    let method = store.encryption_of(key).await;
    store.delete(key).await?;
    must(method?.is_some(), "the store ignores WAYBILL_S3_ENCRYPTION: objects are not encrypted")
}

async fn checksums_of_parts(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    let id = store.create_multipart(key, Some(Crc::Crc64Nvme)).await?;
    let taken = store.upload_part(key, &id, 1, Bytes::from_static(b"other bytes"), crc64nvme(b"these bytes")).await;
    store.abort_multipart(key, &id).await?;
    must(taken.is_err(), "parts with a wrong CRC-64/NVME are taken: the store does not check x-amz-checksum-crc64nvme")
}

async fn multipart(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    let id = store.create_multipart(key, Some(Crc::Crc64Nvme)).await?;
    let mut parts = Vec::new();
    for (part_number, length) in [(1, PART_BYTES), (2, 100)] {
        let bytes = Bytes::from(vec![7; length]);
        let crc = crc64nvme(&bytes);
        let etag = store.upload_part(key, &id, part_number, bytes, crc).await?;
        parts.push(CompletedPart { part_number, etag, crc: Some(PartCrc::crc64nvme(crc)) });
    }
    let listed = store.list_parts(key, &id).await?;
    let as_sent = listed.iter().map(|part| (part.part_number, part.size_bytes, part.etag.as_str()));
    let sizes = [PART_BYTES as u64, 100];
    let sent = parts.iter().zip(sizes).map(|(part, size)| (part.part_number, size, part.etag.as_str()));
    let listed_as_sent = as_sent.eq(sent);
    store.complete_multipart(key, &id, &parts).await?;
    let size = store.size(key).await?;
    store.delete(key).await?;
    must(listed_as_sent, "the listed parts are not those that were sent")?;
    must(size == Some(PART_BYTES as u64 + 100), "the object is not made of its parts")
}

async fn aborted(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    let id = store.create_multipart(key, Some(Crc::Crc64Nvme)).await?;
    store.abort_multipart(key, &id).await?;
    let listed = store.list_parts(key, &id).await;
    let gone = matches!(listed, Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. }));
    must(gone, "an upload that was given up is still there")?;
    let bytes = Bytes::from_static(b"late");
    let late = store.upload_part(key, &id, 1, bytes.clone(), crc64nvme(&bytes)).await;
    let refused = matches!(late, Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. }));
    must(refused, "parts of an upload that was given up are not refused as NoSuchUpload")
}

fn must(holds: bool, otherwise: &str) -> Result<(), CommandError> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

fn secret(name: &str, value: &str) -> Finding {
    let found = match value.len() {
        0 => Err("it is not set; openssl rand -hex 32 makes one".to_owned()),
        length if length < SECRET_MIN_BYTES => Err(format!("it has {length} bytes; {SECRET_MIN_BYTES} are needed")),
        _ => Ok("set".to_owned()),
    };
    (name.to_owned(), found)
}
