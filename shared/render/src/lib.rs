//! Makes previews of untrusted pictures and documents, and removes their metadata, in a process that can do nothing else.
//!
//! `waybill render` is that process. Before it reads the first byte, it gives up every right that it does not need
//! ([`sandbox`]). Then it reads the whole file from its standard input, makes the previews ([`make`]) or finds the metadata
//! ([`strip`]), and writes the answer to its standard output. The caller limits the time, and ends the process if it takes longer.

mod answer;
pub mod limits;
mod location;
mod pdf;
mod picture;
mod program;
pub mod sandbox;

pub use answer::{Answer, Format, Picture, Rendered};
pub use location::strip;

use crate::sandbox::Strictness;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use waybill_domain::preview::SOURCE_MAX_BYTES;
use waybill_schema::PreviewFailure;

/// Exit code of a process that cannot give up its rights and must not run with them. The reason is on its standard error.
pub const NO_SANDBOX: u8 = 70;

/// Makes the previews of a file. Its kind follows from its first bytes.
///
/// # Errors
/// The reason why there are no previews.
pub fn make(bytes: Vec<u8>) -> Answer {
    if bytes.len() as u64 > SOURCE_MAX_BYTES {
        return Err(PreviewFailure::TooLarge);
    }
    match picture::format_of(&bytes) {
        Some(format) => picture::make(&bytes, format),
        None if pdf::is_pdf(&bytes) => pdf::make(bytes),
        None => Err(PreviewFailure::Unsupported),
    }
}

/// Runs `waybill render --program`: replaces this process with a restricted `program`, whose only argument is the path of a
/// file with the bytes of the standard input. The program writes a picture to its standard output.
pub fn run_program(program: &Path, strictness: Strictness) -> ExitCode {
    let Err(error) = program::replace_with(program, strictness);
    eprintln!("{error}");
    ExitCode::from(NO_SANDBOX)
}

/// Result of `waybill render`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An [`Answer`].
    Previews,
    /// [`waybill_schema::Stripped`], with the option `--location`.
    Location,
}

/// Runs `waybill render`: reads a file from the standard input and writes the answer, in postcard, to the standard output.
pub fn main(wanted: Wanted, strictness: Strictness) -> ExitCode {
    if let Err(error) = sandbox::enter(strictness) {
        eprintln!("{error}");
        return ExitCode::from(NO_SANDBOX);
    }
    let mut bytes = Vec::new();
    if std::io::stdin().lock().take(SOURCE_MAX_BYTES + 1).read_to_end(&mut bytes).is_err() {
        return ExitCode::FAILURE;
    }
    let answer = match wanted {
        Wanted::Previews => postcard::to_stdvec(&make(bytes)),
        Wanted::Location => postcard::to_stdvec(&strip(&bytes)),
    };
    let Ok(answer) = answer else { return ExitCode::FAILURE };
    match std::io::stdout().lock().write_all(&answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
