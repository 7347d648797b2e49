//! Tests of limits on sizes and of the part grid.

use proptest::prelude::*;
use waybill_domain::grid::PartGrid;
use waybill_domain::limits::{Limits, MAX_PARTS, PART_SIZE_BYTES, part_size_for};
use waybill_schema::ByteRange;

#[test]
fn ten_gib_are_accepted_and_not_a_byte_more() {
    let limits = Limits::default();
    assert!(limits.check_file(10 << 30).is_ok());
    assert!(limits.check_file((10 << 30) + 1).is_err());
}

#[test]
fn parts_grow_where_ten_thousand_would_not_do() {
    assert_eq!(part_size_for(0), PART_SIZE_BYTES);
    assert_eq!(part_size_for(PART_SIZE_BYTES * MAX_PARTS), PART_SIZE_BYTES);
    assert_eq!(part_size_for(PART_SIZE_BYTES * MAX_PARTS + 1), 2 * PART_SIZE_BYTES);
}

proptest! {
    #[test]
    fn the_grid_covers_the_file_once(size_bytes in 0_u64..5_000, part_size_bytes in 1_u64..700) {
        let grid = PartGrid { size_bytes, part_size_bytes };
        let mut next = 0;
        for n in 1..=grid.total_parts() {
            let part = grid.part(n);
            prop_assert_eq!(part.from, next);
            prop_assert!(!part.is_empty());
            prop_assert_eq!(grid.whole_part(part), Some(n));
            prop_assert_eq!(grid.part_at(part.from), n);
            prop_assert_eq!(grid.part_at(part.to - 1), n);
            next = part.to;
        }
        prop_assert_eq!(next, size_bytes);
        prop_assert!(grid.part(grid.total_parts() + 1).is_empty());
        if size_bytes > 0 {
            prop_assert_eq!(grid.parts_touched(&[ByteRange { from: 0, to: size_bytes }]), grid.total_parts());
        }
    }
}
