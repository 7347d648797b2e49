//! What is remembered between runs: which upload a file went into. Kept in the user's state folder, so that a transfer
//! goes on after Ctrl-C, a lost connection or a reboot.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;
use waybill_schema::Sha256Digest;

/// How long something is remembered that nobody comes back for.
const KEPT_FOR: Duration = Duration::from_secs(30 * 86_400);

/// Which file of which time: what must not change while an upload lasts.
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

/// An upload that was begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// For a person who looks into the folder.
    pub(crate) path: String,
    pub(crate) file: FileFacts,
    /// What the start was sent with: repeated, it means the same upload.
    pub(crate) idempotency_key: Uuid,
    pub(crate) upload_id: Option<String>,
    /// Since when it is there and verified; kept until everything that it was uploaded with is.
    #[serde(default)]
    pub(crate) finished_at: Option<SystemTime>,
}

/// A session that was opened, and not closed yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub(crate) name: String,
    pub(crate) idempotency_key: Uuid,
    pub(crate) session_id: Option<String>,
}

/// One thing that is remembered. Held by one process at a time.
pub(crate) struct Remembered {
    path: PathBuf,
    lock: File,
}

/// One thing that is remembered and that nobody works on any more.
pub(crate) struct Kept(PathBuf);

/// Why nothing can be remembered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Another process is at it.
    #[error("another waybill is at it")]
    Busy,
    /// The folder.
    #[error("the state folder {path}: {error}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
}

/// Where it is kept.
#[derive(Clone)]
pub(crate) struct StateFolder(PathBuf);

impl StateFolder {
    /// The user's: `$XDG_STATE_HOME/waybill` (`~/.local/state/waybill`), elsewhere where such data go.
    pub(crate) fn of_user() -> Self {
        let base = dirs::state_dir().or_else(dirs::data_local_dir).unwrap_or_else(std::env::temp_dir);
        Self(base.join("waybill"))
    }

    /// What is remembered under a name made of `parts`.
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

    /// Forgets what nobody came back for: Waybill has long ended such uploads.
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

    /// Lets go of it: what stays open for every file of a command would be too much for a command of thousands.
    pub(crate) fn release(self) -> Kept {
        Kept(self.path)
    }

    /// What was kept; nothing, where it cannot be read.
    pub(crate) fn load<T: for<'de> Deserialize<'de>>(&self) -> Option<T> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }

    /// Keeps it, whole or not at all, also when the machine goes down.
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

    /// Forgets it.
    pub(crate) fn forget(self) {
        // What stays behind is found to be done the next time.
        drop(fs::remove_file(&self.path));
        drop(fs::remove_file(self.path.with_extension("lock")));
        drop(self.lock);
    }
}

impl Kept {
    /// Forgets it, unless somebody is at it again.
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
        assert!(held.load::<Record>().is_some(), "somebody is at it");
        held.release().forget();
        assert!(state.hold("uploads", ["a"]).unwrap().load::<Record>().is_none());
    }

    #[test]
    fn names_do_not_run_together() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder(folder.path().to_owned());
        state.hold("uploads", ["ab", "c"]).unwrap().keep(&record()).unwrap();
        assert!(state.hold("uploads", ["a", "bc"]).unwrap().load::<Record>().is_none());
    }

    #[test]
    fn two_do_not_hold_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder(folder.path().to_owned());
        let _held = state.hold("uploads", ["a"]).unwrap();
        assert!(matches!(state.hold("uploads", ["a"]), Err(StateError::Busy)));
    }
}
