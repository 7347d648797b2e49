//! The set of the stored bytes of an upload, compared with an array of flags. Clients resume at its prefix, so a wrong
//! prefix loses or repeats bytes.
//!
//! Each two bytes of the input are a range to insert and to query.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waybill_schema::{ByteRange, RangeSet};

/// Number of positions. Positions from the middle on are at the end of `u64`, so that sums can overflow.
const POSITIONS: usize = 256;
/// Maximum number of insertions. More do not reach more states, and make the fuzzer slower.
const INSERTS_MAX: usize = 32;

fuzz_target!(|input: &[u8]| {
    let mut set = RangeSet::default();
    let mut stored = [false; POSITIONS];
    for pair in input.chunks_exact(2).take(INSERTS_MAX) {
        let (from, to) = (usize::from(pair[0]), usize::from(pair[1]));
        let range = ByteRange { from: position(from), to: position(to) };
        check_queries(&set, &stored, from, to);
        let prefix = set.prefix();
        set.insert(range);
        if from < to {
            stored[from..to].fill(true);
        }
        assert!(set.prefix() >= prefix, "the offset has decreased");
        assert!(set.contains(range));
        check_queries(&set, &stored, 0, POSITIONS - 1);
    }
});

fn check_queries(set: &RangeSet, stored: &[bool; POSITIONS], from: usize, to: usize) {
    let all = ranges(stored, 0, POSITIONS - 1, true);
    assert_eq!(set.runs(), all);
    assert_eq!(set.total(), all.iter().map(|range| range.len()).sum::<u64>());
    assert_eq!(set.end(), all.last().map_or(0, |range| range.to));
    assert_eq!(set.prefix(), all.first().filter(|range| range.from == 0).map_or(0, |range| range.to));
    let within = ByteRange { from: position(from), to: position(to) };
    let gaps = ranges(stored, from, to, false);
    assert_eq!(set.gaps(within), gaps);
    assert_eq!(set.contains(within), gaps.is_empty());
    assert_eq!(set.within(within).runs(), ranges(stored, from, to, true));
}

/// Returns the byte at a position.
fn position(index: usize) -> u64 {
    match index as u64 {
        low if index < POSITIONS / 2 => low,
        high => u64::MAX - (POSITIONS as u64 - 1 - high),
    }
}

/// Returns the ranges between two positions in which all flags are `value`.
fn ranges(stored: &[bool; POSITIONS], from: usize, to: usize, value: bool) -> Vec<ByteRange> {
    let mut ranges: Vec<ByteRange> = Vec::new();
    for index in (from..to).filter(|index| stored[*index] == value) {
        let (from, to) = (position(index), position(index + 1));
        match ranges.last_mut().filter(|last| last.to == from) {
            Some(last) => last.to = to,
            None => ranges.push(ByteRange { from, to }),
        }
    }
    ranges
}
