//! Decides whether an object or a multipart upload is still needed. The key contains the id of the upload, and the
//! events of this upload decide.

use crate::CommandError;
use std::sync::Arc;
use waybill_domain::upload::Phase;
use waybill_object_store::s3::Listed;
use waybill_repository::{ContentAggregate, FileAggregate, LifecycleAggregate, Repository, UploadAggregate};
use waybill_schema::{CompanyId, Sha256Digest, UploadId, names};
use waybill_service_kit::now;

/// Kind of an object that Waybill writes to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Staging,
    Quarantine,
    Preview,
    /// Object of `waybill doctor`.
    Probe,
}

impl Kind {
    /// All kinds.
    pub(super) const ALL: [Self; 5] = [Self::Object, Self::Staging, Self::Quarantine, Self::Preview, Self::Probe];

    /// Returns the prefix of the keys.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Object => names::OBJECTS,
            Self::Staging => names::STAGING,
            Self::Quarantine => names::QUARANTINE,
            Self::Preview => names::VARIANTS,
            Self::Probe => "doctor/",
        }
    }
}

/// Decision about an object or a multipart upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is needed, or could be needed.
    Needed,
    /// Nothing refers to it, and nothing ever will. With the reason.
    Unreferenced(&'static str),
    /// Waybill did not write it.
    Foreign,
}

/// State of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing<'a> {
    Running,
    Ended(&'static str),
    File(Sha256Digest, &'a str),
}

/// Reads events and decides about objects and multipart uploads.
pub(super) struct Judge {
    repository: Arc<Repository>,
    /// Upload of the previous call and its phase. Consecutive objects often belong to the same upload.
    last: Option<(CompanyId, UploadId, Phase)>,
}

/// Maximum time in seconds between the first byte of a compressed object and the event that refers to it.
const REPLACED_WITHIN_S: i64 = 24 * 3_600;

impl Judge {
    pub(super) fn new(repository: Arc<Repository>) -> Self {
        Self { repository, last: None }
    }

    /// Decides about an object or a multipart upload. It must be so old that no request uses it any more.
    ///
    /// # Errors
    /// If the log does not answer or an event cannot be read.
    pub(super) async fn verdict(&mut self, kind: Kind, it: &Listed) -> Result<Verdict, CommandError> {
        if kind == Kind::Probe {
            return Ok(Verdict::Unreferenced("a run of `waybill doctor` was interrupted"));
        }
        let Some((company, upload)) = names::owner(kind.prefix(), &it.key) else { return Ok(Verdict::Foreign) };
        if kind == Kind::Preview {
            return self.of_preview(FileAggregate { company, file: upload }, &it.key).await;
        }
        let phase = self.phase(company, upload).await?;
        Ok(match self.standing(company, upload, &phase).await? {
            Standing::Running => Verdict::Needed,
            Standing::Ended(why) => Verdict::Unreferenced(why),
            // The event that refers to it may be about to come.
            Standing::File(..)
                if (names::is_compressed(&it.key) || names::is_cold(&it.key))
                    && it.since + REPLACED_WITHIN_S > now().0 / 1_000 =>
            {
                Verdict::Needed
            }
            Standing::File(sha256, key) if kind == Kind::Object && it.upload_id.is_none() => {
                self.of_file(FileAggregate { company, file: upload }, sha256, key, &it.key).await?
            }
            Standing::File(..) => Verdict::Unreferenced("its file is complete"),
        })
    }

    /// Returns the key at which the object of a file must exist; `None` if the file needs no object any more.
    ///
    /// # Errors
    /// The same as of [`Judge::verdict`].
    pub(super) async fn key_of(&mut self, company: CompanyId, file: UploadId) -> Result<Option<String>, CommandError> {
        let Phase::Verified { sha256, storage_key } = self.phase(company, file).await? else { return Ok(None) };
        if self.repository.load(&FileAggregate { company, file }).await?.state.purged {
            return Ok(None);
        }
        Ok(Some(self.repository.key_of_file(&ContentAggregate { company, sha256 }, file, &storage_key).await?))
    }

    /// Returns the keys at which objects must exist that have the bytes of an upload: its own one, and the one that other files
    /// with the same bytes share.
    ///
    /// # Errors
    /// The same as of [`Judge::verdict`].
    pub(super) async fn keys_of(&mut self, company: CompanyId, upload: UploadId) -> Result<Vec<String>, CommandError> {
        let Phase::Verified { sha256, .. } = self.phase(company, upload).await? else { return Ok(Vec::new()) };
        let shared = self.repository.load(&ContentAggregate { company, sha256 }).await?.state.object;
        let own = self.key_of(company, upload).await?;
        Ok(own.into_iter().chain(shared.map(|object| object.storage_key)).collect())
    }

    async fn phase(&mut self, company: CompanyId, upload: UploadId) -> Result<Phase, CommandError> {
        if let Some((_, _, phase)) = self.last.as_ref().filter(|last| (last.0, last.1) == (company, upload)) {
            return Ok(phase.clone());
        }
        let aggregate = LifecycleAggregate(UploadAggregate { company, upload });
        let phase = self.repository.load(&aggregate).await?.state.phase;
        self.last = Some((company, upload, phase.clone()));
        Ok(phase)
    }

    async fn standing<'p>(
        &self,
        company: CompanyId,
        upload: UploadId,
        phase: &'p Phase,
    ) -> Result<Standing<'p>, CommandError> {
        Ok(match phase {
            Phase::Active | Phase::Verifying => Standing::Running,
            Phase::Rejected { .. } => Standing::Ended("its upload was rejected"),
            Phase::Cancelled => Standing::Ended("its upload was cancelled"),
            Phase::Expired => Standing::Ended("its upload has expired"),
            Phase::Verified { sha256, storage_key } => Standing::File(*sha256, storage_key),
            Phase::Absent if self.repository.quota(company).await?.reserved.contains_key(&upload) => Standing::Running,
            Phase::Absent => Standing::Ended("its upload has no events"),
            Phase::Concatenated { into } => {
                let aggregate = LifecycleAggregate(UploadAggregate { company, upload: *into });
                if self.repository.load(&aggregate).await?.state.has_ended() {
                    Standing::Ended("it is part of another upload")
                } else {
                    Standing::Running
                }
            }
        })
    }

    /// Decides about a preview.
    async fn of_preview(&self, file: FileAggregate, key: &str) -> Result<Verdict, CommandError> {
        let state = self.repository.load(&file).await?.state;
        Ok(match state.previews.keys(file.company, file.file).iter().any(|needed| needed == key) {
            true if state.purged => Verdict::Unreferenced("its file was purged"),
            true => Verdict::Needed,
            false => Verdict::Unreferenced("its file has other previews, or none"),
        })
    }

    /// Decides about an object whose key contains the id of a verified file.
    async fn of_file(
        &self,
        file: FileAggregate,
        sha256: Sha256Digest,
        of_file: &str,
        key: &str,
    ) -> Result<Verdict, CommandError> {
        let content = self.repository.load(&ContentAggregate { company: file.company, sha256 }).await?.state;
        // Other files with the same bytes may need the object even if its own file is deleted.
        if content.object.as_ref().is_some_and(|object| object.storage_key == key) {
            return Ok(Verdict::Needed);
        }
        if key != of_file {
            return Ok(Verdict::Unreferenced("its file has another object"));
        }
        if content.references.contains(&file.file) {
            return Ok(Verdict::Unreferenced("its file shares the object of another one"));
        }
        if self.repository.load(&file).await?.state.purged {
            return Ok(Verdict::Unreferenced("its file was purged"));
        }
        Ok(Verdict::Needed)
    }
}

#[cfg(test)]
mod tests {
    use waybill_schema::names::owner;

    #[test]
    fn an_upload_is_known_by_the_key_of_its_object() {
        let (company, upload) = ("019acb6e-0000-7000-8000-000000000001", "019acb6e-0000-7000-8000-000000000002");
        let found = owner("o/", &format!("o/{company}/{upload}-empty"));
        assert_eq!(found, Some((company.parse().unwrap(), upload.parse().unwrap())));
        assert_eq!(owner("s/", &format!("s/{company}/{upload}/0-1")), found);
        for name in ["", "-", "/", "a", "-a/b", "-a,b", "-..", "-?"] {
            assert_eq!(owner("o/", &format!("o/{company}/{upload}{name}")), None, "{name}");
        }
        assert_eq!(owner("o/", &format!("o/{company}/empty")), None);
    }
}
