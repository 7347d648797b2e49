//! Limits of a process that makes previews.

use std::time::Duration;

/// Maximum number of pixels of a picture. They are counted before anything is decoded.
pub const PIXELS_MAX: u64 = 50_000_000;

/// Maximum address space in bytes. It includes the program itself.
pub const MEMORY_MAX_BYTES: u64 = 512 << 20;

/// Maximum address space in bytes of a program of the operator.
pub const PROGRAM_MEMORY_MAX_BYTES: u64 = 2 << 30;

/// Memory that a decoder of pictures may allocate. It leaves room for the file, the program and the resized picture.
pub const DECODER_MAX_BYTES: u64 = 400 << 20;

/// Maximum CPU time.
pub const CPU_TIME_MAX: Duration = Duration::from_secs(10);

/// Time after the last byte of the file after which the caller ends the process. It is much longer than the CPU time, because
/// the process has the lowest priority.
pub const TIME_MAX: Duration = Duration::from_secs(60);

/// Maximum size in bytes of a preview. A PNG picture of transparent noise is nearly as large.
pub const PICTURE_MAX_BYTES: usize = 5 << 20;

/// Maximum size in bytes of the answer.
pub const ANSWER_MAX_BYTES: u64 = 8 << 20;
