//! Lays out a zip archive in advance, and produces any byte range of it.
//!
//! The archive stores its files without compression, and the size and the CRC-32 of each file are known before the first byte is
//! sent. So the length of the archive is known as well ([`Layout::size_bytes`]), and a range of it needs no byte that comes before
//! that range ([`Layout::segments`]). The crate reads no file: it says which bytes of which file belong where.
//!
//! The format is that of APPNOTE 6.3. There are no data descriptors. Zip64 records are present only if a number does not fit
//! without them.
//!
//! ```
//! use waybill_zip_layout::{Entry, Layout, Segment};
//!
//! let entry = Entry { name: "photo.jpg".to_owned(), size_bytes: 1_000, crc32: 0x1234_5678, modified_s: 1_700_000_000 };
//! let layout = Layout::new(vec![entry])?;
//! let file_bytes: u64 = layout
//!     .segments(0, layout.size_bytes())
//!     .map(|segment| match segment {
//!         Segment::Bytes(_) => 0,
//!         Segment::File { from, to, .. } => to - from,
//!     })
//!     .sum();
//! assert_eq!(file_bytes, 1_000);
//! # Ok::<(), waybill_zip_layout::LayoutError>(())
//! ```

mod dos_time;
mod entry;
mod layout;
mod names;
mod records;
mod segments;

pub use entry::Entry;
pub use layout::{Layout, LayoutError};
pub use names::safe_names;
pub use segments::{Segment, Segments};
