//! Tests of the object stores. One compliance suite runs against S3 and against the store in memory, so that both have
//! the behaviour that Waybill relies on.

#![expect(clippy::unwrap_used, reason = "a panic shows where a test failed")]

mod compliance;
mod cors;
mod encryption;
mod faults;
mod locking;
mod lost_connections;
mod versions;

use waybill_object_store::memory::MemoryStore;
use waybill_test_kit::TestBucket;

/// Creates the tests of the suite for each store.
macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            $(
                #[tokio::test]
                async fn $name() {
                    super::compliance::$name(&super::MemoryStore::new()).await;
                }
            )*
        }

        mod on_s3 {
            $(
                #[tokio::test]
                async fn $name() {
                    super::compliance::$name(&super::TestBucket::create().await.store()).await;
                }
            )*
        }
    };
}

suite!(
    an_object_comes_back_as_it_was_put,
    ranges_are_exact,
    what_is_not_there_is_not_found,
    bytes_that_changed_on_the_way_are_refused,
    parts_become_one_object_in_their_order,
    an_object_shows_what_parts_it_is_made_of,
    completing_twice_finds_no_upload,
    an_aborted_upload_takes_no_parts,
    a_prefix_lists_its_keys_alone,
    deleting_twice_is_harmless,
    several_are_deleted_at_once_and_no_others,
    a_copy_is_an_object_of_its_own,
    open_multipart_uploads_and_single_parts_are_found,
    multipart_uploads_are_listed_by_a_prefix,
);
