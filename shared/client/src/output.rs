//! Output of commands. Results go to standard output, as text or as one JSON object per line. Progress and errors go to
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

/// Output options of a command.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct OutputArgs {
    /// Output as one JSON object per line on standard output, for scripts
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// No progress bars
    #[arg(long, short, help_heading = "Output")]
    pub(crate) quiet: bool,
}

/// Prints text and JSON without damaging the progress bars.
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

    /// Returns `true` if the output is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.args.json
    }

    /// Returns `true` if progress bars are visible.
    pub(crate) fn has_bars(&self) -> bool {
        !self.bars.is_hidden()
    }

    /// Prints a result: `text` as a line, or `object` if the output is JSON.
    pub(crate) fn result(&self, text: impl FnOnce() -> String, object: impl FnOnce() -> Value) {
        let line = if self.args.json { object().to_string() } else { text() };
        if self.bars.suspend(|| writeln!(std::io::stdout().lock(), "{line}")).is_err() {
            // The reader of the pipe has closed it. Other programs end with SIGPIPE then (128 + 13).
            std::process::exit(141);
        }
    }

    /// Prints an event if the output is JSON.
    pub(crate) fn event(&self, object: impl FnOnce() -> Value) {
        if self.args.json {
            self.result(String::new, object);
        }
    }

    /// Prints a note for users to standard error, unless `--quiet` is set.
    pub(crate) fn note(&self, text: &str) {
        if !self.args.quiet {
            self.complain(text);
        }
    }

    /// Prints an error to standard error.
    pub(crate) fn complain(&self, text: &str) {
        self.bars.suspend(|| drop(writeln!(std::io::stderr().lock(), "{text}")));
    }

    /// Adds the progress bar of a file.
    pub(crate) fn file_bar(&self, name: &str, size_bytes: u64) -> ProgressBar {
        let bar = ProgressBar::new(size_bytes).with_style(style(
            "{prefix:28!} {bar:24.cyan/dim} {percent:>3}% {bytes:>10}/{total_bytes:<10} {binary_bytes_per_sec:>12} {msg}",
        ));
        let bar = bar.with_prefix(shortened(name, 28)).with_finish(ProgressFinish::AndClear);
        self.remember(self.bars.insert(0, bar))
    }

    /// Adds the progress bar of all files together, at the bottom.
    pub(crate) fn total_bar(&self, files: usize, size_bytes: u64) -> ProgressBar {
        let template = "{prefix:28!} {bar:24.green/dim} {percent:>3}% {bytes:>10}/{total_bytes:<10} {binary_bytes_per_sec:>12} {eta_precise} left";
        let bar = ProgressBar::new(size_bytes).with_style(style(template)).with_prefix(format!("all {files} files"));
        let bar = bar.with_finish(ProgressFinish::AndClear);
        self.remember(self.bars.add(bar))
    }

    /// Removes all progress bars. No bar is drawn after that.
    pub(crate) fn clear(&self) {
        drop(self.bars.clear());
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
    }

    /// Removes all progress bars after Ctrl-C. The terminal has printed "^C" after the last bar, which is as wide as
    /// the terminal. Therefore the bars and the cursor are one line lower than the library assumes.
    pub(crate) fn clear_after_ctrl_c(&self) {
        let is_shown = self.has_bars() && echoes_control_characters();
        let has_bar = self.drawn.lock().unwrap_or_else(PoisonError::into_inner).iter().any(is_drawn);
        self.clear();
        if is_shown {
            drop(write!(std::io::stderr().lock(), "{}", if has_bar { UP_AND_ERASE } else { "\n" }));
        }
    }

    /// Remembers a progress bar as long as it is drawn.
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

/// Moves the cursor up by one line and erases that line (ECMA-48: CUU, EL).
const UP_AND_ERASE: &str = "\x1b[A\x1b[2K";

fn echoes_control_characters() -> bool {
    tcgetattr(std::io::stderr())
        .is_ok_and(|terminal| terminal.local_modes.contains(LocalModes::ECHO | LocalModes::ECHOCTL))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

/// Restarts the estimate of the speed at the current position of the bar. An earlier run has sent the bytes before it.
pub(crate) fn estimate_from_here(bar: &ProgressBar) {
    // `tick` adds the bytes to the estimate, and `reset_eta` then forgets them.
    bar.tick();
    bar.reset_eta();
}

/// Returns a name with at most `width` characters. A long name loses its middle, because names usually differ at the
/// ends.
pub(crate) fn shortened(name: &str, width: usize) -> String {
    let name = printable(name);
    let count = name.chars().count();
    if count <= width {
        return name;
    }
    let (head, tail) = ((width - 1) / 2, width - 1 - (width - 1) / 2);
    name.chars().take(head).chain(['…']).chain(name.chars().skip(count - tail)).collect()
}

/// Returns a name without control characters, which could change the state of the terminal.
pub(crate) fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// Formats a size, for example `1.00 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    HumanBytes(count).to_string()
}

/// Formats a duration, for example `13.2 s` or `4 min 10 s`.
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
    fn durations_are_shown_in_hours_minutes_and_seconds() {
        let text = |s| duration(Duration::from_secs_f64(s));
        assert_eq!(
            [text(0.04), text(59.9), text(250.0), text(7_300.0)],
            ["0.0 s", "59.9 s", "4 min 10 s", "2 h 1 min"]
        );
    }
}
