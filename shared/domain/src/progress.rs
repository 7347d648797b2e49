//! The progress of an upload for users. All figures are integers and depend only on events and their times, so that a
//! rebuild on another machine gives the same figures.

use crate::grid::PartGrid;
use crate::upload::{Phase, State};
use waybill_schema::{RangeSet, Timestamp};

/// Time in milliseconds over which the speed is averaged.
const SPEED_WINDOW_MS: u64 = 5_000;

/// Speed of an upload: a running average that depends only on its previous value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speed {
    /// Bytes per second.
    pub bytes_per_s: u64,
}

impl Speed {
    /// Returns the speed after `bytes` more bytes were stored, `elapsed_ms` after the previous event and
    /// `since_start_ms` after the start. It is a first-order low-pass filter: at a steady rate it returns this rate
    /// from the first event on.
    pub fn after(self, bytes: u64, elapsed_ms: u64, since_start_ms: u64) -> Self {
        let window_ms = SPEED_WINDOW_MS.min(since_start_ms.saturating_sub(elapsed_ms));
        let span_ms = window_ms.saturating_add(elapsed_ms).max(1);
        let carried = u128::from(self.bytes_per_s) * u128::from(window_ms);
        let bytes_per_s = (carried + u128::from(bytes) * 1_000) / u128::from(span_ms);
        Self { bytes_per_s: u64::try_from(bytes_per_s).unwrap_or(u64::MAX) }
    }
}

/// Progress of an upload for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Number of stored bytes.
    pub bytes_uploaded: u64,
    /// Size of the file in bytes.
    pub total_bytes: u64,
    /// Percentage from 0 to 100, rounded down.
    pub percentage: u8,
    /// Speed in bytes per second.
    pub upload_speed_bytes_per_s: u64,
    /// Estimated seconds until the last byte at this speed, rounded up. `None` if the speed is 0 or the length is
    /// unknown.
    pub estimated_time_remaining_s: Option<u64>,
    /// Number of chunks that contain stored bytes.
    pub current_chunk: u32,
    /// Number of chunks of the file.
    pub total_chunks: u32,
}

/// Upload with its speed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracker {
    /// The upload.
    pub upload: State,
    /// The speed.
    pub speed: Speed,
    /// Time at which the last byte was stored.
    pub last_stored_at: Timestamp,
}

impl Tracker {
    /// Applies one event of the upload, recorded at `time`.
    pub fn evolve(&mut self, event: &waybill_schema::events::UploadEvent, time: Timestamp) {
        let before = self.upload.stored.total();
        crate::upload::evolve(&mut self.upload, event, time);
        let stored = self.upload.stored.total().saturating_sub(before);
        if stored == 0 {
            return;
        }
        let started_at = self.upload.started_at;
        let elapsed_ms = time.ms_since(self.last_stored_at.max(started_at));
        self.speed = self.speed.after(stored, elapsed_ms, time.ms_since(started_at));
        self.last_stored_at = time.max(self.last_stored_at);
    }

    /// Returns the progress.
    pub fn progress(&self) -> Progress {
        let verified = matches!(self.upload.phase, Phase::Verified { .. });
        let grid = self.upload.grid();
        if self.upload.length_deferred {
            // The stored bytes count as the whole file, because its length is unknown. There is no estimate of the
            // rest.
            let grid = PartGrid { size_bytes: self.upload.stored.end(), ..grid };
            let progress = Progress::of(grid, &self.upload.stored, self.speed, verified);
            return Progress { percentage: 0, estimated_time_remaining_s: None, ..progress };
        }
        Progress::of(grid, &self.upload.stored, self.speed, verified)
    }
}

impl Progress {
    /// Returns the progress of a file with this grid and these stored bytes.
    pub fn of(grid: PartGrid, stored: &RangeSet, speed: Speed, verified: bool) -> Self {
        let bytes_uploaded = stored.total();
        let total_bytes = grid.size_bytes;
        let percentage = match u128::from(total_bytes) {
            0 => u128::from(verified) * 100,
            total => u128::from(bytes_uploaded) * 100 / total,
        };
        let remaining = total_bytes.saturating_sub(bytes_uploaded);
        let estimate = if remaining == 0 {
            Some(0)
        } else {
            remaining.checked_div(speed.bytes_per_s).map(|s| s.saturating_add(1))
        };
        Self {
            bytes_uploaded,
            total_bytes,
            percentage: u8::try_from(percentage.min(100)).unwrap_or(100),
            upload_speed_bytes_per_s: speed.bytes_per_s,
            estimated_time_remaining_s: estimate,
            current_chunk: grid.parts_touched(stored.runs()),
            total_chunks: grid.total_parts(),
        }
    }
}
