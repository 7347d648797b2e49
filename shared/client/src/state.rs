//! State between runs: which upload belongs to which local file. It is stored in the state folder of the user, so that
//! a transfer can continue after Ctrl-C, a lost connection or a reboot.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;
use waybill_schema::Sha256Digest;

/// Lifetime of a record that no command uses.
const KEPT_FOR: Duration = Duration::from_secs(30 * 86_400);

/// Size and modification time of a local file. They must not change during an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileFacts {
    pub(crate) size_bytes: u64,
    modified_ns: u128,
}

impl FileFacts {
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self { size_bytes: metadata.len(), modified_ns: modified.map_or(0, |time| time.as_nanos()) }
    }
}

/// Saved state of an upload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Path of the local file, for users who read the record.
    pub(crate) path: String,
    pub(crate) file: FileFacts,
    /// Idempotency key of the request that starts the upload. If the request is repeated with it, Waybill returns the
    /// same upload.
    pub(crate) idempotency_key: Uuid,
    pub(crate) upload_id: Option<String>,
    /// Time at which the file was uploaded and verified. The record is kept until all files of the command are
    /// verified.
    #[serde(default)]
    pub(crate) finished_at: Option<SystemTime>,
}

/// Saved state of a session that is not closed yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub(crate) name: String,
    pub(crate) idempotency_key: Uuid,
    pub(crate) session_id: Option<String>,
}

/// Locked record. One process at a time can lock it.
pub(crate) struct Remembered {
    path: PathBuf,
    lock: File,
}

/// Stored record that this process has unlocked.
pub(crate) struct Kept(PathBuf);

/// Reason why a record cannot be locked, read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Another process has locked the record.
    #[error("another waybill is working on it")]
    Busy,
    /// A file or folder cannot be read or written.
    #[error("cannot use the state folder {path}: {error}")]
    Io {
        /// Path of the file or folder.
        path: String,
        /// Cause.
        error: io::Error,
    },
}

/// Folder of the records.
#[derive(Clone)]
pub(crate) struct StateFolder(PathBuf);

impl StateFolder {
    /// Returns the state folder of the user: `$XDG_STATE_HOME/waybill` (by default `~/.local/state/waybill`) on Linux,
    /// or the usual folder for such data on other systems.
    pub(crate) fn of_user() -> Self {
        let base = dirs::state_dir().or_else(dirs::data_local_dir).unwrap_or_else(std::env::temp_dir);
        Self(base.join("waybill"))
    }

    /// Locks the record whose name is a digest of `parts`.
    pub(crate) fn hold(
        &self,
        kind: &str,
        parts: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Remembered, StateError> {
        let mut sha256 = Sha256::new();
        for part in parts {
            sha256.update((part.as_ref().len() as u64).to_be_bytes());
            sha256.update(part);
        }
        let digest: [u8; 32] = sha256.finalize().into();
        let folder = self.0.join(kind);
        let io = |error| StateError::Io { path: folder.display().to_string(), error };
        fs::create_dir_all(&folder).map_err(io)?;
        Remembered::at(folder.join(format!("{}.json", Sha256Digest(digest)))).map_err(|error| match error {
            TryLockError::WouldBlock => StateError::Busy,
            TryLockError::Error(error) => io(error),
        })
    }

    /// Deletes records that no command has used for a long time. Waybill has ended such uploads.
    pub(crate) fn prune(&self, kind: &str) {
        let entries = fs::read_dir(self.0.join(kind)).into_iter().flatten().filter_map(Result::ok);
        let is_old = |path: &PathBuf| {
            let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
            modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > KEPT_FOR))
        };
        let records = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
        records.filter(is_old).for_each(|path| Kept(path).forget());
    }
}

impl Remembered {
    fn at(path: PathBuf) -> Result<Self, TryLockError> {
        let lock = File::create(path.with_extension("lock")).map_err(TryLockError::Error)?;
        lock.try_lock()?;
        Ok(Self { path, lock })
    }

    /// Unlocks the record. A command with thousands of files would otherwise keep too many files open.
    pub(crate) fn release(self) -> Kept {
        Kept(self.path)
    }

    /// Reads the record; `None` if it does not exist or cannot be read.
    pub(crate) fn load<T: for<'de> Deserialize<'de>>(&self) -> Option<T> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }

    /// Writes the record atomically and durably: after a crash of the machine, it has either the old or the new value.
    pub(crate) fn keep<T: Serialize>(&self, value: &T) -> Result<(), StateError> {
        let fresh = self.path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&fresh)?;
            file.write_all(&serde_json::to_vec_pretty(value)?)?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)?;
            self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        write().map_err(|error| StateError::Io { path: display(&self.path), error })
    }

    /// Deletes the record.
    pub(crate) fn forget(self) {
        // Errors are ignored: if the record stays, the next command finds that the upload is complete.
        drop(fs::remove_file(&self.path));
        drop(fs::remove_file(self.path.with_extension("lock")));
        drop(self.lock);
    }
}

impl Kept {
    /// Deletes the record, unless a process has locked it again.
    pub(crate) fn forget(self) {
        if let Ok(held) = Remembered::at(self.0) {
            held.forget();
        }
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let file = FileFacts { size_bytes: 5, modified_ns: 7 };
        Record {
            path: "a".to_owned(),
            file,
            idempotency_key: Uuid::nil(),
            upload_id: Some("u".to_owned()),
            finished_at: None,
        }
    }

    #[test]
    fn what_is_kept_is_found_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder(folder.path().to_owned());
        let held = state.hold("uploads", ["a", "b"]).unwrap();
        assert!(held.load::<Record>().is_none());
        held.keep(&record()).unwrap();
        drop(held);
        let held = state.hold("uploads", ["a", "b"]).unwrap();
        assert_eq!(held.load::<Record>().unwrap().upload_id.as_deref(), Some("u"));
        held.forget();
        assert!(state.hold("uploads", ["a", "b"]).unwrap().load::<Record>().is_none());
    }

    #[test]
    fn what_is_released_can_be_held_and_is_not_forgotten_then() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder(folder.path().to_owned());
        let held = state.hold("uploads", ["a"]).unwrap();
        held.keep(&record()).unwrap();
        let kept = held.release();
        let held = state.hold("uploads", ["a"]).unwrap();
        kept.forget();
        assert!(held.load::<Record>().is_some(), "a locked record was deleted");
        held.release().forget();
        assert!(state.hold("uploads", ["a"]).unwrap().load::<Record>().is_none());
    }

    #[test]
    fn names_that_concatenate_to_the_same_text_have_separate_records() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder(folder.path().to_owned());
        state.hold("uploads", ["ab", "c"]).unwrap().keep(&record()).unwrap();
        assert!(state.hold("uploads", ["a", "bc"]).unwrap().load::<Record>().is_none());
    }

    #[test]
    fn a_locked_record_cannot_be_locked_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder(folder.path().to_owned());
        let _held = state.hold("uploads", ["a"]).unwrap();
        assert!(matches!(state.hold("uploads", ["a"]), Err(StateError::Busy)));
    }
}
