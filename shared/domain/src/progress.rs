//! The progress of an upload as people watch it. Everything is a function of events and their times, in whole numbers,
//! so that a rebuild on another machine gives the same figures.

use crate::grid::PartGrid;
use crate::upload::{Phase, State};
use waybill_schema::{RangeSet, Timestamp};

/// Over which time the speed is averaged.
const SPEED_WINDOW_MS: u64 = 5_000;

/// Speed of an upload, as a running average that needs nothing but its last value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speed {
    /// Bytes per second.
    pub bytes_per_s: u64,
}

impl Speed {
    /// The speed after `bytes` more were stored, `elapsed_ms` after the event before and `since_start_ms` after the
    /// start. A first-order low-pass: with a steady rate it gives that rate, from the first event on.
    pub fn after(self, bytes: u64, elapsed_ms: u64, since_start_ms: u64) -> Self {
        let window_ms = SPEED_WINDOW_MS.min(since_start_ms.saturating_sub(elapsed_ms));
        let span_ms = window_ms.saturating_add(elapsed_ms).max(1);
        let carried = u128::from(self.bytes_per_s) * u128::from(window_ms);
        let bytes_per_s = (carried + u128::from(bytes) * 1_000) / u128::from(span_ms);
        Self { bytes_per_s: u64::try_from(bytes_per_s).unwrap_or(u64::MAX) }
    }
}

/// What is shown of a running upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes stored.
    pub bytes_uploaded: u64,
    /// Bytes of the file.
    pub total_bytes: u64,
    /// 0 to 100, rounded down.
    pub percentage: u8,
    /// Bytes per second.
    pub upload_speed_bytes_per_s: u64,
    /// Seconds until the last byte at this speed, rounded up; `None` where the speed is 0.
    pub estimated_time_remaining_s: Option<u64>,
    /// How many chunks hold bytes.
    pub current_chunk: u32,
    /// How many chunks the file has.
    pub total_chunks: u32,
}

/// A running upload with its speed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracker {
    /// The upload.
    pub upload: State,
    /// Its speed.
    pub speed: Speed,
    /// When its last byte was stored.
    pub last_stored_at: Timestamp,
}

impl Tracker {
    /// Folds one event of the upload, recorded at `time`.
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

    /// What is shown.
    pub fn progress(&self) -> Progress {
        let verified = matches!(self.upload.phase, Phase::Verified { .. });
        let grid = self.upload.grid();
        if self.upload.length_deferred {
            // What is stored counts as the file, and nobody knows how much is left of it.
            let grid = PartGrid { size_bytes: self.upload.stored.end(), ..grid };
            let progress = Progress::of(grid, &self.upload.stored, self.speed, verified);
            return Progress { percentage: 0, estimated_time_remaining_s: None, ..progress };
        }
        Progress::of(grid, &self.upload.stored, self.speed, verified)
    }
}

impl Progress {
    /// What is shown of a file of this grid, with these bytes stored.
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
