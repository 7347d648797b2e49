//! Snapshots are the bytes of a state. A snapshot of an earlier build must not be read as a state of another shape.

use serde::Serialize;
use waybill_domain::Aggregate;
use waybill_domain::directory::DirectoryAggregate;
use waybill_repository::{
    ContentAggregate, FileAggregate, QuotaAggregate, ShareAggregate, TokenAggregate, UploadAggregate,
};

/// Returns the version of an aggregate's snapshots, and the number of bytes of its empty state. Each field has at least
/// one byte, so that a field more or less changes the number.
fn shape<A: Aggregate>() -> (Option<u16>, usize)
where
    A::State: Serialize,
{
    (A::SNAPSHOT_VERSION, postcard::to_allocvec(&A::State::default()).unwrap().len())
}

#[test]
fn another_shape_of_a_state_has_another_version() {
    let shapes = [
        ("content", shape::<ContentAggregate>(), (Some(2), 6)),
        ("directory", shape::<DirectoryAggregate>(), (Some(5), 30)),
        ("file", shape::<FileAggregate>(), (Some(7), 17)),
        ("quota", shape::<QuotaAggregate>(), (Some(7), 11)),
        ("association", shape::<ShareAggregate>(), (Some(2), 4)),
        ("token", shape::<TokenAggregate>(), (Some(2), 7)),
        ("upload", shape::<UploadAggregate>(), (Some(3), 19)),
    ];
    for (name, found, known) in shapes {
        assert_eq!(
            found, known,
            "the state of {name} has another shape: raise its SNAPSHOT_VERSION, and correct this line"
        );
    }
}
