//! Checks from the metadata of an object that it consists of the expected parts.

use crate::ObjectInfo;
use crc_fast::CrcAlgorithm;
use md5::{Digest, Md5};

/// A part that the store has acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct KnownPart<'a> {
    /// The `ETag` that the store returned.
    pub etag: &'a str,
    /// CRC-64/NVME of the part.
    pub crc64nvme: u64,
    /// Size in bytes.
    pub size_bytes: u64,
}

impl ObjectInfo {
    /// Returns `true` if the metadata proves that the object consists of exactly these parts: either by the CRC of the
    /// whole object, or by an `ETag` that is the MD5 of the MD5s of the parts. If the store provides neither, or
    /// encrypts objects (then an `ETag` is not an MD5), the result is `false` and the object must be read.
    pub fn shows(&self, parts: &[KnownPart<'_>]) -> bool {
        if parts.iter().map(|part| part.size_bytes).sum::<u64>() != self.size_bytes {
            return false;
        }
        let by_crc = self.crc64nvme.is_some() && self.crc64nvme == crc_of(parts);
        by_crc || etag_of(parts).is_some_and(|etag| etag == self.etag.trim_matches('"').to_ascii_lowercase())
    }
}

fn crc_of(parts: &[KnownPart<'_>]) -> Option<u64> {
    let combine = |before, part: &KnownPart<'_>| {
        crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, before, part.crc64nvme, part.size_bytes)
    };
    let (first, rest) = parts.split_first()?;
    Some(rest.iter().fold(first.crc64nvme, combine))
}

/// Returns the `ETag` of an object of these parts, if the `ETag`s of the parts are MD5s.
fn etag_of(parts: &[KnownPart<'_>]) -> Option<String> {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(hex(part.etag.trim_matches('"'))?);
    }
    let digits: String = md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{digits}-{}", parts.len()))
}

fn hex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crc64nvme;

    const ETAGS: [&str; 2] = ["\"5d41402abc4b2a76b9719d911017c592\"", "7D793037A0760186574B0282F2F435E7"];

    fn parts() -> [KnownPart<'static>; 2] {
        let part = |etag, bytes: &[u8]| KnownPart { etag, crc64nvme: crc64nvme(bytes), size_bytes: bytes.len() as u64 };
        [part(ETAGS[0], b"hello"), part(ETAGS[1], b"world")]
    }

    fn info(etag: &str, crc64nvme: Option<u64>) -> ObjectInfo {
        ObjectInfo { size_bytes: 10, etag: etag.to_owned(), crc64nvme }
    }

    #[test]
    fn an_object_of_other_parts_is_not_taken() {
        // S3 computes this as md5(md5("hello") + md5("world")).
        let whole = "065947336a2f2a95ba8899f3675c3be6-2";
        assert!(info(whole, None).shows(&parts()));
        assert!(info(&format!("\"{}\"", whole.to_uppercase()), None).shows(&parts()));
        assert!(!info("00000000000000000000000000000000-2", None).shows(&parts()));
        assert!(!info("", None).shows(&parts()));
        let [first, second] = parts();
        assert!(!info(whole, None).shows(&[second, first]), "the parts are in the wrong order");
        assert!(!ObjectInfo { size_bytes: 9, ..info(whole, None) }.shows(&parts()));
    }

    #[test]
    fn a_checksum_of_all_bytes_is_enough() {
        assert!(info("no MD5", Some(crc64nvme(b"helloworld"))).shows(&parts()));
        assert!(!info("no MD5", Some(crc64nvme(b"hellowurld"))).shows(&parts()));
        assert!(!info("no MD5", None).shows(&[]), "an object without parts is never proven");
    }
}
