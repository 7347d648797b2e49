//! Does with the store what uploads do with it.

use super::{Check, Found};
use crate::CommandError;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use waybill_object_store::presign::{Pinned, Presign, Presigner};
use waybill_object_store::s3::{LifecycleRule, S3Store};
use waybill_object_store::{CompletedPart, Crc, ObjectInfo, ObjectStore, PartCrc, StoreError, crc64nvme};
use waybill_schema::names;

/// S3 takes no shorter part, but for the last one.
const PART_BYTES: usize = 5 * 1_024 * 1_024;
/// How long a request of a client may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long the URL of a client's request is good: clocks may differ.
const URL_LIFETIME: Duration = Duration::from_secs(900);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What is needed to try the store.
pub(super) struct Probe {
    /// The bucket.
    pub(super) store: Arc<S3Store>,
    /// What signs requests of clients.
    pub(super) presigner: Presigner,
    /// How long an upload may take.
    pub(super) upload_lifetime: Duration,
}

impl Probe {
    /// What the store can do, and what it cannot.
    pub(super) async fn findings(&self) -> Vec<Check> {
        let store = self.store.as_ref();
        let bucket = format!("bucket {}", store.bucket());
        if let Err(error) = store.check().await {
            let wrong = format!(
                "{error}; are WAYBILL_S3_ENDPOINT, its keys and the bucket right? `waybill provision` makes the bucket"
            );
            return vec![(bucket, Found::Wrong(wrong))];
        }
        let key = |name: &str| format!("doctor/{}/{name}", Uuid::now_v7().simple());
        let mut findings = vec![(bucket, Found::Good("there".to_owned()))];
        for (what, outcome) in [
            ("objects, whole and in ranges", objects(store, &key("object")).await),
            ("checksums of objects", checksums(store, &key("checksum")).await),
            ("copies", copies(store, &key("copy")).await),
            ("encryption", encryption(store, &key("encrypted")).await),
            ("checksums of parts", checksums_of_parts(store, &key("part")).await),
            ("multipart uploads", multipart(store, &key("parts")).await),
            ("parts in any order", gap(store, &key("gap")).await),
            ("multipart uploads that are given up", aborted(store, &key("aborted")).await),
        ] {
            findings.push((format!("store: {what}"), outcome.map(|()| "as needed".to_owned()).into()));
        }
        for (what, outcome) in [
            ("lists of multipart uploads", listed(store, &key("listed")).await),
            ("versions", versions(store).await),
            ("rules of the lifecycle", self.lifecycle().await),
            ("uploads by clients", self.direct(&key("direct")).await),
        ] {
            findings.push((format!("store: {what}"), outcome.unwrap_or_else(|error| Found::Wrong(error.to_string()))));
        }
        findings
    }

    /// Whether the bucket keeps what Waybill puts there.
    async fn lifecycle(&self) -> Result<Found, CommandError> {
        let rules = match self.store.lifecycle().await {
            Ok(rules) => rules,
            Err(error) => {
                return Ok(Found::Limit(format!("rules that end uploads or delete files cannot be seen: {error}")));
            }
        };
        let is_too_early =
            |rule: &LifecycleRule| rule.aborts_after_days.is_some_and(|days| DAY * days < self.upload_lifetime);
        let is_ours =
            |rule: &LifecycleRule| [names::OBJECTS, names::QUARANTINE].iter().any(|prefix| rule.is_for(prefix));
        if let Some(rule) = rules.iter().find(|rule| is_ours(rule) && is_too_early(rule)) {
            return Ok(Found::Wrong(format!(
                "the rule {:?} ends multipart uploads before WAYBILL_UPLOAD_LIFETIME_S, which is {} s; give it more days",
                rule.id,
                self.upload_lifetime.as_secs()
            )));
        }
        if let Some(rule) = rules.iter().find(|rule| rule.is_for(names::OBJECTS) && rule.deletes) {
            return Ok(Found::Limit(format!(
                "the rule {:?} deletes objects of files that Waybill still shows; have it leave out keys that begin with {}",
                rule.id,
                names::OBJECTS
            )));
        }
        if let Some(rule) = rules.iter().find(|rule| rule.is_for(names::OBJECTS) && rule.archives) {
            let text = "moves objects to an archive, from which files cannot be downloaded";
            return Ok(Found::Limit(format!("the rule {:?} {text}; have it use another class", rule.id)));
        }
        Ok(Found::Good("none ends an upload, or takes a file away".to_owned()))
    }

    /// Whether clients can send parts by themselves, with bytes that are checked.
    async fn direct(&self, key: &str) -> Result<Found, CommandError> {
        if !self.presigner.is_reachable() {
            let text = "off: the store's address is a name that clients do not know; set WAYBILL_S3_PUBLIC_ENDPOINT";
            return Ok(Found::Limit(text.to_owned()));
        }
        let id = self.store.create_multipart(key, Some(Crc::Crc32)).await?;
        aborting(self.store.as_ref(), key, &id, self.send_part(key, &id)).await
    }

    async fn send_part(&self, key: &str, upload_id: &str) -> Result<Found, CommandError> {
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        // The CRC-32 of "hello" is 3610a686.
        let checksum = "NhCmhg==".to_owned();
        let pinned = Pinned { size_bytes: 5, checksum_header: "x-amz-checksum-crc32", checksum };
        let presign = Presign::UploadPart { upload_id, part_number: 1, pinned: Some(pinned) };
        for (body, is_right) in [("other", false), ("hello", true)] {
            let signed = self.presigner.presign(key, &presign, URL_LIFETIME)?;
            let mut request = client.put(signed.url).body(body);
            for (name, value) in signed.headers {
                request = request.header(name, value);
            }
            let status = match request.send().await {
                Ok(answer) => answer.status(),
                // The URL is good for whoever has it.
                Err(error) => {
                    let text = "clients cannot be tried from here: the store's public address does not answer";
                    return Ok(Found::Limit(format!("{text}: {}", error.without_url())));
                }
            };
            match (status.is_success(), is_right) {
                (true, false) => return Err("a part with a wrong CRC-32 is taken from a client".into()),
                (false, true) => return Err(format!("a part is not taken from a client: status {status}").into()),
                _ => {}
            }
        }
        Ok(Found::Good("as needed".to_owned()))
    }
}

/// Does what `probe` does, and then deletes the objects.
async fn deleting<T>(
    store: &dyn ObjectStore,
    keys: &[&str],
    probe: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let found = probe.await;
    let mut deleted = Ok(());
    for key in keys {
        deleted = deleted.and(store.delete(key).await);
    }
    let found = found?;
    deleted?;
    Ok(found)
}

/// Does what `probe` does, and then gives the multipart upload up.
async fn aborting<T>(
    store: &dyn ObjectStore,
    key: &str,
    upload_id: &str,
    probe: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let found = probe.await;
    let aborted = store.abort_multipart(key, upload_id).await;
    let found = found?;
    aborted?;
    Ok(found)
}

async fn objects(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    deleting(store, &[key], async {
        let bytes = Bytes::from_static(b"0123456789");
        store.put(key, bytes.clone(), crc64nvme(&bytes)).await?;
        let found = store.get(key, 3, Some(4)).await?.collect().await?;
        let size = store.size(key).await?;
        must(found == "3456" && size == Some(10), "a range is not what was stored")
    })
    .await?;
    must(store.size(key).await?.is_none(), "a deleted object is still there")
}

async fn checksums(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    deleting(store, &[key], async {
        let sent = store.put(key, Bytes::from_static(b"other bytes"), crc64nvme(b"these bytes")).await;
        must_be_corrupt(sent, "bytes")
    })
    .await
}

async fn copies(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    let (bytes, copy, other) = (Bytes::from_static(b"copied"), format!("{key}-copy"), format!("{key}-other"));
    deleting(store, &[key, &copy, &other], async {
        store.put(key, bytes.clone(), crc64nvme(&bytes)).await?;
        let info = store.info(key).await?.ok_or("an object that was put is not there")?;
        store.copy(key, &copy, &info).await?;
        let copied = store.get(&copy, 0, None).await?.collect().await?;
        must(copied == bytes, "a copy has other bytes")?;
        let another = ObjectInfo { etag: "\"00000000000000000000000000000000\"".to_owned(), ..info };
        drop(store.copy(key, &other, &another).await);
        let ignored = "x-amz-copy-source-if-match is ignored: another object than the one that was meant is copied";
        must(store.info(&other).await?.is_none(), ignored)
    })
    .await
}

async fn encryption(store: &S3Store, key: &str) -> Result<(), CommandError> {
    if !store.encrypts() {
        return Ok(());
    }
    deleting(store, &[key], async {
        let bytes = Bytes::from_static(b"secret");
        store.put(key, bytes.clone(), crc64nvme(&bytes)).await?;
        let method = store.encryption_of(key).await?;
        must(method.is_some(), "the store ignores WAYBILL_S3_ENCRYPTION: objects are not encrypted")
    })
    .await
}

async fn checksums_of_parts(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    let id = store.create_multipart(key, Some(Crc::Crc64Nvme)).await?;
    aborting(store, key, &id, async {
        let sent = store.upload_part(key, &id, 1, Bytes::from_static(b"other bytes"), crc64nvme(b"these bytes")).await;
        must_be_corrupt(sent, "parts")
    })
    .await
}

async fn multipart(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    let id = store.create_multipart(key, Some(Crc::Crc64Nvme)).await?;
    let sizes = [PART_BYTES, 100];
    let completed = aborting(store, key, &id, async {
        let mut parts = Vec::new();
        for (part_number, length) in (1..).zip(sizes) {
            let bytes = Bytes::from(vec![7; length]);
            let crc = crc64nvme(&bytes);
            let etag = store.upload_part(key, &id, part_number, bytes, crc).await?;
            parts.push(CompletedPart { part_number, etag, crc: Some(PartCrc::crc64nvme(crc)) });
        }
        let listed = store.list_parts(key, &id).await?;
        let as_sent = listed.iter().map(|part| (part.part_number, part.size_bytes, part.etag.as_str()));
        let sent = parts.iter().zip(sizes).map(|(part, size)| (part.part_number, size as u64, part.etag.as_str()));
        must(as_sent.eq(sent), "the listed parts are not those that were sent")?;
        Ok(store.complete_multipart(key, &id, &parts).await?)
    });
    deleting(store, &[key], async {
        completed.await?;
        let whole = sizes.iter().sum::<usize>() as u64;
        must(store.size(key).await? == Some(whole), "the object is not made of its parts")
    })
    .await
}

/// Parts come in any order, and those that are there are looked up one by one.
async fn gap(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    let id = store.create_multipart(key, Some(Crc::Crc64Nvme)).await?;
    aborting(store, key, &id, async {
        let bytes = Bytes::from_static(b"third");
        let etag = store.upload_part(key, &id, 3, bytes.clone(), crc64nvme(&bytes)).await?;
        let found = store.part(key, &id, 3).await?;
        must(found.iter().any(|part| part.has_etag(&etag)), "a part that came before the first one is not listed")
    })
    .await
}

/// What a worker left that died is found by the beginning of its key.
async fn listed(store: &dyn ObjectStore, key: &str) -> Result<Found, CommandError> {
    let id = store.create_multipart(key, None).await?;
    let is_listed = async |prefix: &str| -> Result<bool, CommandError> {
        Ok(store.list_multiparts(prefix).await?.contains(&(key.to_owned(), id.clone())))
    };
    aborting(store, key, &id, async {
        Ok(match (is_listed(key).await?, is_listed(&key[..key.len() - 1]).await?) {
            (true, true) => Found::Good("as needed".to_owned()),
            (true, false) => Found::Limit(
                "they are not listed by the beginning of their keys: what a broken copy of a large file leaves stays \
                 until a rule of the lifecycle ends it"
                    .to_owned(),
            ),
            (false, _) => Found::Wrong("an open multipart upload is not listed".to_owned()),
        })
    })
    .await
}

/// If the bucket keeps versions, a deletion is one of all versions.
async fn versions(store: &S3Store) -> Result<Found, CommandError> {
    let found = match store.versioning().await {
        Ok(false) => return Ok(Found::Good("none are kept".to_owned())),
        Ok(true) => store.versions("doctor/none").await.map(drop),
        Err(StoreError::Refused { code, .. }) if code != "AccessDenied" && code != "403" => {
            return Ok(Found::Good(format!("the store has none ({code})")));
        }
        Err(error) => Err(error),
    };
    match found {
        Ok(()) => Ok(Found::Good("kept, and deleted with their file".to_owned())),
        Err(StoreError::Refused { code, .. }) => Ok(Found::Limit(format!(
            "the store does not show them ({code}): if the bucket keeps versions, those of deleted files stay; allow \
                 s3:GetBucketVersioning, s3:ListBucketVersions and s3:DeleteObjectVersion"
        ))),
        Err(error) => Err(error.into()),
    }
}

async fn aborted(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    let id = store.create_multipart(key, Some(Crc::Crc64Nvme)).await?;
    store.abort_multipart(key, &id).await?;
    let listed = store.list_parts(key, &id).await;
    let gone = matches!(listed, Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. }));
    must(gone, "an upload that was given up is still there")?;
    aborting(store, key, &id, async {
        let bytes = Bytes::from_static(b"late");
        let late = store.upload_part(key, &id, 1, bytes.clone(), crc64nvme(&bytes)).await;
        let refused = matches!(late, Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. }));
        must(refused, "parts of an upload that was given up are not refused as NoSuchUpload")
    })
    .await
}

/// Bytes with a wrong checksum must be refused for that alone.
fn must_be_corrupt(sent: Result<String, StoreError>, what: &str) -> Result<(), CommandError> {
    match sent {
        Err(StoreError::Corrupt { .. }) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => {
            Err(format!("{what} with a wrong CRC-64/NVME are taken: the store does not check x-amz-checksum-crc64nvme")
                .into())
        }
    }
}

fn must(holds: bool, otherwise: &str) -> Result<(), CommandError> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
