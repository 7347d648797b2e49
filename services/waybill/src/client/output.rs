//! What commands print: results on standard output, for people or as one JSON object a line; progress and complaints on
//! standard error.

use clap::Args;
use indicatif::{
    HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle, WeakProgressBar,
};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a command prints.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct OutputArgs {
    /// One JSON object a line on standard output, for scripts
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// No progress bars
    #[arg(long, short, help_heading = "Output")]
    pub(crate) quiet: bool,
}

/// Prints, without disturbing the bars.
#[derive(Clone)]
pub(crate) struct Output {
    args: OutputArgs,
    bars: MultiProgress,
    drawn: Arc<Mutex<Vec<WeakProgressBar>>>,
}

impl Output {
    pub(crate) fn new(args: OutputArgs) -> Self {
        let shown = !args.quiet && !args.json && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() };
        Self { args, bars: MultiProgress::with_draw_target(target), drawn: Arc::default() }
    }

    /// Whether it is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.args.json
    }

    /// Whether bars are seen.
    pub(crate) fn has_bars(&self) -> bool {
        !self.bars.is_hidden()
    }

    /// One result: a line for people, or an object for programs.
    pub(crate) fn result(&self, text: impl FnOnce() -> String, object: impl FnOnce() -> Value) {
        let line = if self.args.json { object().to_string() } else { text() };
        if self.bars.suspend(|| writeln!(std::io::stdout().lock(), "{line}")).is_err() {
            // Nobody reads any more: as a pipe that breaks ends other programs (SIGPIPE).
            std::process::exit(141);
        }
    }

    /// What only programs want to know.
    pub(crate) fn event(&self, object: impl FnOnce() -> Value) {
        if self.args.json {
            self.result(String::new, object);
        }
    }

    /// Something that a person should know, and that is no result.
    pub(crate) fn note(&self, text: &str) {
        if !self.args.quiet {
            self.complain(text);
        }
    }

    /// Something that went wrong.
    pub(crate) fn complain(&self, text: &str) {
        self.bars.suspend(|| drop(writeln!(std::io::stderr().lock(), "{text}")));
    }

    /// The bar of one file.
    pub(crate) fn file_bar(&self, name: &str, size_bytes: u64) -> ProgressBar {
        let bar = ProgressBar::new(size_bytes).with_style(style(
            "{prefix:28!} {bar:24.cyan/dim} {percent:>3}% {bytes:>10}/{total_bytes:<10} {binary_bytes_per_sec:>12} {msg}",
        ));
        let bar = bar.with_prefix(shortened(name, 28)).with_finish(ProgressFinish::AndClear);
        self.remember(self.bars.insert(0, bar))
    }

    /// The bar of all files together, at the bottom.
    pub(crate) fn total_bar(&self, files: usize, size_bytes: u64) -> ProgressBar {
        let template = "{prefix:28!} {bar:24.green/dim} {percent:>3}% {bytes:>10}/{total_bytes:<10} {binary_bytes_per_sec:>12} {eta_precise} left";
        let bar = ProgressBar::new(size_bytes).with_style(style(template)).with_prefix(format!("all {files} files"));
        let bar = bar.with_finish(ProgressFinish::AndClear);
        self.remember(self.bars.add(bar))
    }

    /// Takes all bars away; none is drawn after that.
    pub(crate) fn clear(&self) {
        drop(self.bars.clear());
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
    }

    /// Takes all bars away after Ctrl-C. The terminal has shown that as "^C" behind the last bar, which is as wide as the
    /// terminal: all of it is a line lower than the bars know.
    pub(crate) fn clear_after_ctrl_c(&self) {
        let is_shown = self.has_bars() && echoes_control_characters();
        let has_bar = self.drawn.lock().unwrap_or_else(PoisonError::into_inner).iter().any(is_drawn);
        self.clear();
        if is_shown {
            drop(write!(std::io::stderr().lock(), "{}", if has_bar { UP_AND_ERASE } else { "\n" }));
        }
    }

    /// Remembers a bar for as long as it is drawn.
    fn remember(&self, bar: ProgressBar) -> ProgressBar {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.retain(is_drawn);
        drawn.push(bar.downgrade());
        bar.tick();
        bar
    }
}

fn is_drawn(bar: &WeakProgressBar) -> bool {
    bar.upgrade().is_some_and(|bar| !bar.is_finished())
}

/// Moves the cursor a line up, and erases that line (ECMA-48: CUU, EL).
const UP_AND_ERASE: &str = "\x1b[A\x1b[2K";

fn echoes_control_characters() -> bool {
    tcgetattr(std::io::stderr())
        .is_ok_and(|terminal| terminal.local_modes.contains(LocalModes::ECHO | LocalModes::ECHOCTL))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

/// Begins the estimate of the speed at the bar's position: the bytes before it were not sent now.
pub(crate) fn estimate_from_here(bar: &ProgressBar) {
    // The estimate takes the bytes in, and forgets when they came.
    bar.tick();
    bar.reset_eta();
}

/// A name in `width` columns at most; of a long one the beginning and the end, where names differ.
pub(crate) fn shortened(name: &str, width: usize) -> String {
    let name = printable(name);
    let count = name.chars().count();
    if count <= width {
        return name;
    }
    let (head, tail) = ((width - 1) / 2, width - 1 - (width - 1) / 2);
    name.chars().take(head).chain(['…']).chain(name.chars().skip(count - tail)).collect()
}

/// A name that does nothing to a terminal.
pub(crate) fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// `1.00 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    HumanBytes(count).to_string()
}

/// `13.2 s`, `4 min 10 s`.
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shortened("holiday.mp4", 28), "holiday.mp4");
        let short = shortened("a very long name of a film that nobody reads.mp4", 20);
        assert_eq!((short.chars().count(), short.as_str()), (20, "a very lo… reads.mp4"));
        assert_eq!(shortened("a\u{1b}[31mb", 28), "a\u{FFFD}[31mb");
    }

    #[test]
    fn durations_are_for_people() {
        let text = |s| duration(Duration::from_secs_f64(s));
        assert_eq!(
            [text(0.04), text(59.9), text(250.0), text(7_300.0)],
            ["0.0 s", "59.9 s", "4 min 10 s", "2 h 1 min"]
        );
    }
}
