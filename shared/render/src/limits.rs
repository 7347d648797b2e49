//! Limits of a process that makes previews.

use std::time::Duration;

/// Maximum number of pixels of a picture. They are counted before anything is decoded.
pub const PIXELS_MAX: u64 = 50_000_000;

/// Maximum address space in bytes. It includes the program itself.
pub const MEMORY_MAX_BYTES: u64 = 512 << 20;

/// Memory that a decoder of pictures may allocate. It leaves room for the file, the program and the resized picture.
pub const DECODER_MAX_BYTES: u64 = 400 << 20;

/// Maximum CPU time.
pub const CPU_TIME_MAX: Duration = Duration::from_secs(10);

/// Time after the last byte of the file after which the caller ends the process.
pub const TIME_MAX: Duration = Duration::from_secs(15);

/// Maximum size in bytes of the answer. PNG pictures with noise can be this large.
pub const ANSWER_MAX_BYTES: u64 = 16 << 20;
