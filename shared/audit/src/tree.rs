//! Merkle trees with the hashes of RFC 9162, section 2.1. The events of a company are the leaves of one tree, in the
//! order of the log.
//!
//! A tree grows without its earlier leaves: [`Frontier`] keeps one hash for each complete subtree, which are at most 64.

use sha2::{Digest, Sha256};
use waybill_schema::Sha256Digest;

/// Returns the hash of a leaf: `SHA-256(0x00 ‖ bytes)`.
pub fn leaf_hash(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest(Sha256::new().chain_update([0]).chain_update(bytes).finalize().into())
}

/// Returns the hash of a node: `SHA-256(0x01 ‖ left ‖ right)`.
fn node_hash(left: &Sha256Digest, right: &Sha256Digest) -> Sha256Digest {
    Sha256Digest(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The complete subtrees of a tree, from which it can grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees, the largest first: one for each bit of `size` that is set.
    peaks: Vec<Sha256Digest>,
}

impl Frontier {
    /// Returns the frontier of a tree with `size` leaves and these roots of its complete subtrees, the largest first.
    /// Returns `None` if their number does not fit the size.
    pub fn from_peaks(size: u64, peaks: Vec<Sha256Digest>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the roots of the complete subtrees, the largest first.
    pub fn peaks(&self) -> &[Sha256Digest] {
        &self.peaks
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Sha256Digest) {
        let mut node = leaf;
        // The new leaf completes one subtree for each of the smallest subtrees without a gap in their sizes.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// Returns the root of the tree. The root of the empty tree is the hash of nothing.
    pub fn root(&self) -> Sha256Digest {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            Some(smallest) => peaks.fold(*smallest, |right, left| node_hash(left, &right)),
            None => Sha256Digest(Sha256::digest([]).into()),
        }
    }
}

/// Returns the root of the tree with these leaves.
pub fn root(leaves: &[Sha256Digest]) -> Sha256Digest {
    let mut tree = Frontier::default();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree.root()
}

/// Returns the proof that the leaf with this index, counted from 0, is in the tree with these leaves: the hashes that
/// lead from the leaf to the root (RFC 9162, section 2.1.3.1). Returns `None` if there is no such leaf.
pub fn inclusion_path(leaves: &[Sha256Digest], index: usize) -> Option<Vec<Sha256Digest>> {
    leaves.get(index)?;
    let (mut path, mut leaves, mut index) = (Vec::new(), leaves, index);
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        if index < left.len() {
            path.push(root(right));
            leaves = left;
        } else {
            path.push(root(left));
            index -= left.len();
            leaves = right;
        }
    }
    path.reverse();
    Some(path)
}

/// Leaf whose place in a tree is to be proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Hash of the leaf.
    pub hash: Sha256Digest,
    /// Index of the leaf, counted from 0.
    pub index: u64,
}

/// Returns the root to which a proof leads in a tree of `size` leaves (RFC 9162, section 2.1.3.2). The leaf is in the
/// tree if the tree has this root. Returns `None` if the proof has another length than proofs of this leaf.
pub fn root_of_path(leaf: Leaf, size: u64, path: &[Sha256Digest]) -> Option<Sha256Digest> {
    let (mut node, mut last) = (leaf.index, size.checked_sub(1).filter(|last| leaf.index <= *last)?);
    let mut hash = leaf.hash;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // Levels at which the node has no sibling on the right add no hash.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<Sha256Digest> {
        (0..count).map(|number| leaf_hash(&[number])).collect()
    }

    /// Computes the root as RFC 9162 defines it.
    fn defined(leaves: &[Sha256Digest]) -> Sha256Digest {
        match leaves {
            [] => Sha256Digest(Sha256::digest([]).into()),
            [leaf] => *leaf,
            _ => {
                let half = (1..).map(|height| 1 << height).take_while(|half| *half < leaves.len()).last().unwrap_or(1);
                node_hash(&defined(&leaves[..half]), &defined(&leaves[half..]))
            }
        }
    }

    /// Inputs and roots that the implementations of Certificate Transparency test.
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let inputs: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Frontier::default();
        for (size, expected) in roots.iter().enumerate() {
            assert_eq!(tree.root().to_string(), *expected, "{size} leaves");
            if let Some(input) = inputs.get(size) {
                tree.push(leaf_hash(input));
            }
        }
    }

    #[test]
    fn a_tree_grows_from_its_saved_frontier_to_the_root_of_all_its_leaves() {
        for size in 0..=70 {
            let all = leaves(size);
            let mut tree = Frontier::default();
            for leaf in &all {
                tree = Frontier::from_peaks(tree.size(), tree.peaks().to_vec()).unwrap();
                tree.push(*leaf);
            }
            assert_eq!(tree.size(), u64::from(size));
            assert_eq!(tree.root(), defined(&all), "{size} leaves");
        }
        assert_eq!(Frontier::from_peaks(3, leaves(1)), None);
    }

    #[test]
    fn every_leaf_is_proved_and_nothing_else() {
        for size in 0..=70 {
            let all = leaves(size);
            let root = defined(&all);
            for index in 0..all.len() {
                let path = inclusion_path(&all, index).unwrap();
                let (hash, of) = (all[index], u64::from(size));
                let proved = |hash, index, size, path: &[Sha256Digest]| {
                    root_of_path(Leaf { hash, index }, size, path) == Some(root)
                };
                let at = index as u64;
                assert!(proved(hash, at, of, &path), "leaf {index} of {size}");
                assert!(!proved(leaf_hash(b"another"), at, of, &path));
                assert!(!proved(hash, at + 1, of, &path) && !proved(hash, at, at, &path));
                for wrong in 0..path.len() {
                    let mut changed = path.clone();
                    changed[wrong].0[0] ^= 1;
                    assert!(!proved(hash, at, of, &changed));
                }
                let longer = [path.as_slice(), &[root]].concat();
                assert!(!proved(hash, at, of, &longer));
                assert!(path.split_last().is_none_or(|(_, shorter)| !proved(hash, at, of, shorter)));
            }
            assert_eq!(inclusion_path(&all, all.len()), None);
        }
    }
}
