//! Tells in which part of the log a company has events.
//!
//! A partition's messages are numbered, and those of all companies lie in between. For each company it is kept in which blocks
//! of them it has any, so that an audit reads no more than those.

use uuid::Uuid;

/// How many messages a block has.
const BLOCK: u64 = 256;

/// Returns the block of the message with this sequence, as the tables name it.
pub fn block_of(seq: u64) -> Uuid {
    Uuid::from_u128(u128::from(seq / BLOCK))
}

/// Returns the sequences of the first and of the last message of a block.
pub(crate) fn ends_of(block: Uuid) -> (u64, u64) {
    let number = u64::try_from(block.as_u128()).unwrap_or(u64::MAX / BLOCK);
    let first = number.saturating_mul(BLOCK);
    (first, first.saturating_add(BLOCK - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_in_its_block() {
        for seq in [0, 1, 255, 256, 257, 1 << 40] {
            let (first, last) = ends_of(block_of(seq));
            assert!(first <= seq && seq <= last && last - first == BLOCK - 1, "{seq}");
        }
        assert!(block_of(255) < block_of(256) && block_of(256) < block_of(1 << 40), "they are in the log's order");
    }
}
