//! Message blocks of a stream: the files in which nats-server stores messages. Tests edit them as somebody does who has
//! the disk of the server, so that the server accepts the result.

use highway::{HighwayHash, HighwayHasher, Key};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Length of the fields before the subject: length, sequence, time and length of the subject.
const HEAD: usize = 22;
const CHECKSUM: usize = 8;
/// Bit in the length of a message that has headers.
const HAS_HEADERS: u32 = 1 << 31;

/// A message in a block.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The message without its checksum.
    bytes: Vec<u8>,
}

impl Record {
    fn length(bytes: &[u8]) -> (usize, bool) {
        let length = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        ((length & !HAS_HEADERS) as usize, length & HAS_HEADERS != 0)
    }

    fn checksum(&self, key: &Key) -> [u8; CHECKSUM] {
        let subject_end = HEAD + usize::from(u16::from_le_bytes(self.bytes[20..22].try_into().unwrap()));
        // The checksum does not include the length of the headers.
        let rest = if Self::length(&self.bytes).1 { subject_end + 4 } else { subject_end };
        let mut hasher = HighwayHasher::new(*key);
        hasher.append(&self.bytes[4..20]);
        hasher.append(&self.bytes[HEAD..subject_end]);
        hasher.append(&self.bytes[rest..]);
        hasher.finalize64().to_le_bytes()
    }

    /// Replaces the first occurrence of a text by another of the same length.
    pub(crate) fn replace(&mut self, text: &str, by: &str) {
        assert_eq!(text.len(), by.len());
        let at = self.bytes.windows(text.len()).position(|window| window == text.as_bytes());
        let at = at.unwrap_or_else(|| panic!("a message has no text {text}"));
        self.bytes[at..at + by.len()].copy_from_slice(by.as_bytes());
    }

    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let value = text.split(&format!("{name}: ")).nth(1).and_then(|rest| rest.split("\r\n").next());
        value.unwrap_or_else(|| panic!("a message has no header {name}")).to_owned()
    }

    /// Gives the message the sequence and the time of another one.
    pub(crate) fn at_the_place_of(mut self, other: &Self) -> Self {
        self.bytes[4..20].copy_from_slice(&other.bytes[4..20]);
        self
    }
}

/// The only block of a stream.
pub(crate) struct Block {
    path: PathBuf,
    key: Key,
    /// The messages in their order.
    pub(crate) records: Vec<Record>,
}

impl Block {
    /// Reads the block of the stream `name` from the data of a stopped nats-server.
    pub(crate) fn read(data: &Path, name: &str) -> Self {
        let folder = find(data, name).unwrap_or_else(|| panic!("no folder {name}")).join("msgs");
        let path = folder.join("1.blk");
        let bytes = std::fs::read(&path).unwrap();
        let digest = Sha256::digest(format!("{name}-1"));
        let word = |at: usize| u64::from_le_bytes(digest[at * 8..at * 8 + 8].try_into().unwrap());
        let key = Key([word(0), word(1), word(2), word(3)]);
        let (mut records, mut rest) = (Vec::new(), bytes.as_slice());
        while !rest.is_empty() {
            let (record, after) = rest.split_at(Record::length(rest).0);
            let (bytes, checksum) = record.split_at(record.len() - CHECKSUM);
            let record = Record { bytes: bytes.to_vec() };
            assert_eq!(
                record.checksum(&key),
                checksum,
                "the format of blocks differs from the one that the test knows"
            );
            records.push(record);
            rest = after;
        }
        Self { path, key, records }
    }

    /// Writes the block, with valid checksums. The index of the stream is removed, so that the server reads the block.
    pub(crate) fn write(&self) {
        let bytes: Vec<u8> =
            self.records.iter().flat_map(|record| [&record.bytes[..], &record.checksum(&self.key)].concat()).collect();
        std::fs::write(&self.path, bytes).unwrap();
        // The server writes the index only now and then.
        drop(std::fs::remove_file(self.path.with_file_name("index.db")));
    }
}

/// Finds a folder by its name.
fn find(within: &Path, name: &str) -> Option<PathBuf> {
    let folders = std::fs::read_dir(within).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    folders.into_iter().find_map(|path| if path.ends_with(name) { Some(path) } else { find(&path, name) })
}
