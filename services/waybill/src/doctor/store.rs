//! Checks the object store: sends the same requests as uploads and compares the results.

use super::check::{Check, Found};
use crate::CommandError;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use waybill_object_store::presign::{Pinned, Presign, Presigner};
use waybill_object_store::s3::{LifecycleRule, S3Store};
use waybill_object_store::{Cold, CompletedPart, Crc, ObjectInfo, ObjectStore, PartCrc, StoreError, crc64nvme};
use waybill_schema::{StorageTier, names};
use waybill_service_kit::new_id;

/// Minimum size of a part in S3, in bytes. Only the last part can be smaller.
const PART_BYTES: usize = 5 * 1_024 * 1_024;
/// Timeout of a request that a client sends to the store.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lifetime of a presigned URL. It is long because the clocks of the hosts can differ.
const URL_LIFETIME: Duration = Duration::from_secs(900);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Clients and settings that the checks of the store need.
pub(super) struct Probe {
    /// Client of the bucket.
    pub(super) store: Arc<S3Store>,
    /// Signer of the requests that clients send to the store.
    pub(super) presigner: Presigner,
    /// Time until an upload expires.
    pub(super) upload_lifetime: Duration,
}

impl Probe {
    /// Runs all checks of the store. The other checks are omitted if the bucket cannot be used.
    pub(super) async fn findings(&self) -> Vec<Check> {
        let store = self.store.as_ref();
        let bucket = format!("bucket {}", store.bucket());
        if let Err(error) = store.check().await {
            let wrong = format!(
                "{error}; check WAYBILL_S3_ENDPOINT, the access keys and the name of the bucket; `waybill provision` \
                 creates the bucket"
            );
            return vec![Check::new(bucket, Found::Wrong(wrong))];
        }
        let key = |name: &str| format!("doctor/{}/{name}", new_id().simple());
        let mut findings = vec![Check::new(bucket, Found::Good("exists".to_owned()))];
        for (what, outcome) in [
            ("objects and ranges of objects", objects(store, &key("object")).await),
            ("checksums of objects", checksums(store, &key("checksum")).await),
            ("copies", copies(store, &key("copy")).await),
            ("encryption", encryption(store, &key("encrypted")).await),
            ("checksums of parts", checksums_of_parts(store, &key("part")).await),
            ("multipart uploads", multipart(store, &key("parts")).await),
            ("parts in any order", gap(store, &key("gap")).await),
            ("aborted multipart uploads", aborted(store, &key("aborted")).await),
        ] {
            findings.push(Check::new(format!("store: {what}"), outcome.map(|()| "works".to_owned())));
        }
        for (what, outcome) in [
            ("lists of multipart uploads", listed(store, &key("listed")).await),
            ("versions", versions(store).await),
            ("lifecycle rules", self.lifecycle().await),
            ("heads of the audit", locks(store).await),
            ("uploads by clients", self.direct(&key("direct")).await),
        ] {
            let found = outcome.unwrap_or_else(|error| Found::Wrong(error.to_string()));
            findings.push(Check::new(format!("store: {what}"), found));
        }
        findings
    }

    /// Checks that no lifecycle rule of the bucket ends running uploads, or deletes or archives objects of files.
    async fn lifecycle(&self) -> Result<Found, CommandError> {
        let rules = match self.store.lifecycle().await {
            Ok(rules) => rules,
            Err(error) => {
                return Ok(Found::Limit(format!(
                    "cannot read the lifecycle rules; a rule could end uploads or delete objects of files: {error}"
                )));
            }
        };
        let is_too_early =
            |rule: &LifecycleRule| rule.aborts_after_days.is_some_and(|days| DAY * days < self.upload_lifetime);
        let is_ours =
            |rule: &LifecycleRule| [names::OBJECTS, names::QUARANTINE].iter().any(|prefix| rule.is_for(prefix));
        if let Some(rule) = rules.iter().find(|rule| is_ours(rule) && is_too_early(rule)) {
            return Ok(Found::Wrong(format!(
                "the rule {:?} ends multipart uploads before WAYBILL_UPLOAD_LIFETIME_S, which is {} s; set a greater \
                 number of days in the rule",
                rule.id,
                self.upload_lifetime.as_secs()
            )));
        }
        if let Some(rule) = rules.iter().find(|rule| rule.is_for(names::OBJECTS) && rule.deletes) {
            return Ok(Found::Limit(format!(
                "the rule {:?} deletes objects of files that Waybill still lists; exclude keys that begin with {} from the rule",
                rule.id,
                names::OBJECTS
            )));
        }
        if let Some(rule) = rules.iter().find(|rule| rule.is_for(names::VARIANTS) && (rule.deletes || rule.archives)) {
            return Ok(Found::Limit(format!(
                "the rule {:?} deletes or archives previews, which are not made again; exclude keys that begin with {} from \
                 the rule",
                rule.id,
                names::VARIANTS
            )));
        }
        if let Some(rule) = rules.iter().find(|rule| rule.is_for(names::AUDIT_HEADS) && (rule.deletes || rule.archives))
        {
            return Ok(Found::Limit(format!(
                "the rule {:?} deletes or archives heads of the audit; exclude keys that begin with {} from the rule",
                rule.id,
                names::AUDIT_HEADS
            )));
        }
        if let Some(rule) = rules.iter().find(|rule| rule.is_for(names::OBJECTS) && rule.archives) {
            let text = "moves objects to an archive; files cannot be downloaded from there";
            return Ok(Found::Limit(format!("the rule {:?} {text}; use another storage class", rule.id)));
        }
        Ok(Found::Good("no rule ends an upload, or deletes or archives a file".to_owned()))
    }

    /// Checks that clients can send parts with presigned URLs, and that the store verifies the checksums of these
    /// parts.
    async fn direct(&self, key: &str) -> Result<Found, CommandError> {
        if !self.presigner.is_reachable() {
            let text = "disabled: clients cannot resolve the host name of the store; set WAYBILL_S3_PUBLIC_ENDPOINT";
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
        let presign = Presign::UploadPart { upload_id, part_number: 1, size_bytes: None, pinned: Some(pinned) };
        for (body, is_right) in [("other", false), ("hello", true)] {
            let signed = self.presigner.presign(key, &presign, URL_LIFETIME).await?;
            let mut request = client.put(signed.url).body(body);
            for (name, value) in signed.headers {
                request = request.header(name, value);
            }
            let status = match request.send().await {
                Ok(answer) => answer.status(),
                // The message must not contain the URL: everyone who has it can use it.
                Err(error) => {
                    let text = "not checked: the public endpoint of the store does not answer from this host";
                    return Ok(Found::Limit(format!("{text}: {}", error.without_url())));
                }
            };
            match (status.is_success(), is_right) {
                (true, false) => return Err("the store accepts a part with a wrong CRC-32 from a client".into()),
                (false, true) => {
                    return Err(format!("the store rejects a valid part from a client: status {status}").into());
                }
                _ => {}
            }
        }
        Ok(Found::Good("works".to_owned()))
    }
}

/// Runs `probe`, and then deletes the objects with the keys `keys`.
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

/// Runs `probe`, and then aborts the multipart upload.
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

/// Checks that the bucket for archived files takes an object.
pub(super) async fn cold(cold: &Cold) -> Check {
    let store = cold.store.as_ref();
    let key = format!("doctor/{}/cold", new_id().simple());
    let written = deleting(store, &[&key], async {
        let bytes = Bytes::from_static(b"0123456789");
        store.put(&key, bytes.clone(), crc64nvme(&bytes)).await?;
        must(store.size(&key).await? == Some(10), "a stored object does not exist")
    })
    .await;
    let text = match cold.tier {
        StorageTier::Archive => "takes objects, which must be restored before they can be read",
        StorageTier::Hot | StorageTier::Cold => "takes objects",
    };
    let found = match written {
        Ok(()) => Found::Good(text.to_owned()),
        Err(error) => Found::Wrong(format!("{error}; create the bucket with `waybill provision`")),
    };
    Check::new(format!("bucket {} for archived files", store.bucket()), found)
}

async fn objects(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    deleting(store, &[key], async {
        let bytes = Bytes::from_static(b"0123456789");
        store.put(key, bytes.clone(), crc64nvme(&bytes)).await?;
        let found = store.get(key, 3, Some(4)).await?.collect().await?;
        let size = store.size(key).await?;
        must(found == "3456" && size == Some(10), "a range differs from the stored bytes")
    })
    .await?;
    must(store.size(key).await?.is_none(), "a deleted object still exists")
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
        let info = store.info(key).await?.ok_or("a stored object does not exist")?;
        store.copy(key, &copy, &info).await?;
        let copied = store.get(&copy, 0, None).await?.collect().await?;
        must(copied == bytes, "a copy differs from its source")?;
        let another = ObjectInfo { etag: "\"00000000000000000000000000000000\"".to_owned(), ..info };
        drop(store.copy(key, &other, &another).await);
        let ignored = "the store ignores x-amz-copy-source-if-match and copies a source with a different ETag";
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
        must(as_sent.eq(sent), "the listed parts differ from the sent parts")?;
        Ok(store.complete_multipart(key, &id, &parts).await?)
    });
    deleting(store, &[key], async {
        completed.await?;
        let whole = sizes.iter().sum::<usize>() as u64;
        must(store.size(key).await? == Some(whole), "the size of the object differs from the sum of its parts")
    })
    .await
}

/// Checks that parts can arrive in any order, and that the store lists a single part.
async fn gap(store: &dyn ObjectStore, key: &str) -> Result<(), CommandError> {
    let id = store.create_multipart(key, Some(Crc::Crc64Nvme)).await?;
    aborting(store, key, &id, async {
        let bytes = Bytes::from_static(b"third");
        let etag = store.upload_part(key, &id, 3, bytes.clone(), crc64nvme(&bytes)).await?;
        let found = store.part(key, &id, 3).await?;
        must(found.iter().any(|part| part.has_etag(&etag)), "the store does not list a part that arrived before part 1")
    })
    .await
}

/// Checks that the store lists open multipart uploads by a prefix of their keys. Workers find the multipart uploads of
/// a dead worker in this way.
async fn listed(store: &dyn ObjectStore, key: &str) -> Result<Found, CommandError> {
    let id = store.create_multipart(key, None).await?;
    let is_listed = async |prefix: &str| -> Result<bool, CommandError> {
        Ok(store.list_multiparts(prefix).await?.contains(&(key.to_owned(), id.clone())))
    };
    aborting(store, key, &id, async {
        Ok(match (is_listed(key).await?, is_listed(&key[..key.len() - 1]).await?) {
            (true, true) => Found::Good("works".to_owned()),
            (true, false) => Found::Limit(
                "the store does not list multipart uploads by a prefix of their keys: the multipart upload of an \
                 interrupted copy of a large file stays until a lifecycle rule ends it"
                    .to_owned(),
            ),
            (false, _) => Found::Wrong("the store does not list an open multipart upload".to_owned()),
        })
    })
    .await
}

/// Tells whether somebody who can write to the bucket can remove heads of the audit.
async fn locks(store: &S3Store) -> Result<Found, CommandError> {
    Ok(if store.locks().await? {
        Found::Good("the bucket has Object Lock".to_owned())
    } else {
        let text = "the bucket has no Object Lock: somebody with access to NATS and the bucket can rewrite the audit unnoticed, \
                    unless auditors keep exports elsewhere";
        Found::Limit(text.to_owned())
    })
}

/// Checks that Waybill can list and delete all versions of an object if the bucket keeps versions.
async fn versions(store: &S3Store) -> Result<Found, CommandError> {
    let found = match store.versioning().await {
        Ok(false) => return Ok(Found::Good("the bucket keeps no versions".to_owned())),
        Ok(true) => store.versions("doctor/none").await.map(drop),
        Err(StoreError::Refused { code, .. }) if code != "AccessDenied" && code != "403" => {
            return Ok(Found::Good(format!("the store does not support versions ({code})")));
        }
        Err(error) => Err(error),
    };
    match found {
        Ok(()) => Ok(Found::Good("the bucket keeps versions; Waybill deletes them together with the file".to_owned())),
        Err(StoreError::Refused { code, .. }) => Ok(Found::Limit(format!(
            "the store does not list versions ({code}): if the bucket keeps versions, those of deleted files stay; allow \
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
    must(gone, "an aborted multipart upload still exists")?;
    aborting(store, key, &id, async {
        let bytes = Bytes::from_static(b"late");
        let late = store.upload_part(key, &id, 1, bytes.clone(), crc64nvme(&bytes)).await;
        let refused = matches!(late, Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. }));
        must(refused, "the store does not reject parts of an aborted multipart upload with NoSuchUpload")
    })
    .await
}

/// Returns an error unless the store rejected the bytes because of their wrong checksum.
fn must_be_corrupt(sent: Result<String, StoreError>, what: &str) -> Result<(), CommandError> {
    match sent {
        Err(StoreError::Corrupt { .. }) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => {
            let text = "with a wrong CRC-64/NVME: it does not verify x-amz-checksum-crc64nvme";
            Err(format!("the store accepts {what} {text}").into())
        }
    }
}

fn must(holds: bool, otherwise: &str) -> Result<(), CommandError> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
