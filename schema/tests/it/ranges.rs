//! Tests of sets of bytes.

use waybill_schema::{ByteRange, RangeSet};

fn range(from: u64, to: u64) -> ByteRange {
    ByteRange { from, to }
}

#[test]
fn runs_that_touch_or_overlap_become_one() {
    let mut set = RangeSet::default();
    for (from, to) in [(10, 20), (30, 40), (20, 25), (5, 10), (24, 31), (0, 0)] {
        set.insert(range(from, to));
    }
    assert_eq!(set.runs(), [range(5, 40)]);
    assert_eq!(set.total(), 35);
    assert_eq!(set.prefix(), 0);
    set.insert(range(0, 5));
    assert_eq!(set.prefix(), 40);
}

#[test]
fn gaps_are_what_is_missing() {
    let mut set = RangeSet::default();
    set.insert(range(10, 20));
    set.insert(range(30, 40));
    assert_eq!(set.gaps(range(0, 50)), [range(0, 10), range(20, 30), range(40, 50)]);
    assert_eq!(set.gaps(range(12, 18)), []);
    assert_eq!(set.gaps(range(15, 35)), [range(20, 30)]);
    assert!(set.contains(range(31, 40)));
    assert!(!set.contains(range(31, 41)));
}
