//! Positions of the events of a company in the log.
//!
//! The messages of a partition belong to many companies. For each company and each block of 64 messages in which it has
//! events, a row records which messages these are, so that an audit reads only these.

use uuid::Uuid;

/// Number of messages in a block: the number of bits of `events`.
const BLOCK: u64 = 64;

/// Returns the id of the block that contains the message with this sequence.
pub fn block_of(seq: u64) -> Uuid {
    Uuid::from_u128(u128::from(seq / BLOCK))
}

/// Returns the bit that stands for the message with this sequence in its block.
pub fn bit_of(seq: u64) -> i64 {
    1_i64 << (seq % BLOCK)
}

/// Returns the sequences of the messages of a block whose bits are set, in ascending order.
pub(crate) fn seqs_of(block: Uuid, events: i64) -> impl Iterator<Item = u64> {
    let number = u64::try_from(block.as_u128()).unwrap_or(u64::MAX / BLOCK);
    let first = number.saturating_mul(BLOCK);
    (0..BLOCK).filter(move |bit| events & (1_i64 << bit) != 0).map(move |bit| first + bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_found_in_its_block() {
        for seq in [0, 1, 63, 64, 65, 1 << 40] {
            assert_eq!(seqs_of(block_of(seq), bit_of(seq)).collect::<Vec<u64>>(), [seq]);
        }
        assert_eq!(seqs_of(block_of(64), bit_of(64) | bit_of(70) | bit_of(127)).collect::<Vec<u64>>(), [64, 70, 127]);
        assert!(
            block_of(63) < block_of(64) && block_of(64) < block_of(1 << 40),
            "ids of blocks have the order of the log"
        );
    }
}
