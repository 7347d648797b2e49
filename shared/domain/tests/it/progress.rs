//! Tests of the progress that users see.

use crate::given::NOW;
use crate::upload_samples::{chunk, started};
use proptest::prelude::*;
use waybill_domain::progress::Tracker;
use waybill_schema::events::UploadEvent;

fn tracked(size: u64, chunks: &[(u64, u64, i64)]) -> Tracker {
    let mut tracker = Tracker::default();
    tracker.evolve(&started(size).into(), NOW);
    for (offset, length, after_ms) in chunks {
        let event: UploadEvent = chunk(*offset, *length).into();
        tracker.evolve(&event, NOW.plus_ms(*after_ms));
    }
    tracker
}

#[test]
fn a_steady_rate_is_shown_as_it_is() {
    // 100 bytes every 100 ms are 1,000 bytes per second.
    let chunks: Vec<(u64, u64, i64)> = (0..20).map(|n| (n * 100, 100, (i64::try_from(n).unwrap() + 1) * 100)).collect();
    let progress = tracked(4_000, &chunks).progress();
    assert_eq!((progress.bytes_uploaded, progress.percentage), (2_000, 50));
    assert!((990..=1_000).contains(&progress.upload_speed_bytes_per_s), "{}", progress.upload_speed_bytes_per_s);
    assert!((2..=3).contains(&progress.estimated_time_remaining_s.unwrap()));
    assert_eq!((progress.current_chunk, progress.total_chunks), (20, 40));
}

#[test]
fn a_chunk_that_comes_twice_counts_once() {
    let progress = tracked(200, &[(0, 100, 10), (0, 100, 20)]).progress();
    assert_eq!((progress.bytes_uploaded, progress.percentage, progress.current_chunk), (100, 50, 1));
}

#[test]
fn an_upload_without_stored_bytes_has_no_estimated_time() {
    let progress = tracked(200, &[]).progress();
    assert_eq!((progress.percentage, progress.estimated_time_remaining_s), (0, None));
}

proptest! {
    #[test]
    fn figures_stay_in_their_bounds(
        size in 1_u64..2_000,
        chunks in proptest::collection::vec((0_u64..20, 1_u64..100, 0_i64..10_000), 0..30),
    ) {
        let chunks: Vec<(u64, u64, i64)> =
            chunks.into_iter().map(|(part, length, at)| (part * 100, length, at)).collect();
        let progress = tracked(size, &chunks).progress();
        prop_assert!(progress.percentage <= 100);
        prop_assert!(progress.bytes_uploaded <= progress.total_bytes);
        prop_assert!(progress.current_chunk <= progress.total_chunks);
    }
}
