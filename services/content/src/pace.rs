//! Lets uploads go first on a machine that the role shares with other roles.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;

/// Time over which the use of the processors is measured, and age from which a measurement is of no use.
const MEASURED: Duration = Duration::from_millis(100);
const OLD: Duration = Duration::from_secs(1);
/// Longest time between two files, so that a machine that is always busy does the work in the end.
const AT_MOST: Duration = Duration::from_secs(5);

/// Processor time since the start of the machine, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    /// With normal priority.
    busy: u64,
    all: u64,
}

/// The last measurement.
struct Measured {
    at: Instant,
    ticks: Ticks,
    /// Share of the processors in percent that was used with normal priority before it.
    busy_percent: u64,
}

/// Decides when work begins for which nobody waits. Such work has a low priority, but still delays others: it fills caches, and the
/// store, NATS and PostgreSQL do their part of it with normal priority.
pub(crate) struct Pace {
    /// `None` if the work never waits.
    max_busy_percent: Option<u64>,
    measured: Mutex<Option<Measured>>,
    /// Held while somebody waits, with the time at which the previous work began.
    previous: tokio::sync::Mutex<Option<Instant>>,
}

impl Pace {
    /// Returns a pace with which work waits while more than this share of the processors is used with normal priority.
    pub(crate) fn new(max_busy_percent: u32) -> Self {
        let max_busy_percent = (max_busy_percent < 100).then_some(max_busy_percent.into());
        Self { max_busy_percent, measured: Mutex::new(None), previous: tokio::sync::Mutex::new(None) }
    }

    /// Returns a pace with which work never waits.
    pub(crate) fn off() -> Self {
        Self::new(100)
    }

    /// Waits until the next work may begin: while the machine is busy, but not longer than [`AT_MOST`] after the previous work.
    pub(crate) async fn turn(&self) {
        let Some(max_busy_percent) = self.max_busy_percent else { return };
        let mut previous = self.previous.lock().await;
        let is_late = || previous.is_some_and(|previous: Instant| previous.elapsed() >= AT_MOST);
        while !is_late() && self.busy_percent().await > max_busy_percent {
            tokio::time::sleep(MEASURED).await;
        }
        *previous = Some(Instant::now());
    }

    /// Returns the share of the processors in percent that was used with normal priority recently; 0 if that is unknown.
    async fn busy_percent(&self) -> u64 {
        if let Some(percent) = self.measure() {
            return percent;
        }
        tokio::time::sleep(MEASURED).await;
        self.measure().unwrap_or(0)
    }

    /// Returns `None` if there is no recent measurement to compare with.
    fn measure(&self) -> Option<u64> {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = measured.as_ref().filter(|known| known.at.elapsed() < MEASURED) {
            return Some(known.busy_percent);
        }
        let (at, ticks) = (Instant::now(), ticks(&std::fs::read_to_string("/proc/stat").ok()?)?);
        let before = measured.as_ref().filter(|before| before.at.elapsed() < OLD);
        let percent = before.map(|before| percent_between(before.ticks, ticks));
        *measured = Some(Measured { at, ticks, busy_percent: percent.unwrap_or(0) });
        percent
    }
}

fn percent_between(before: Ticks, after: Ticks) -> u64 {
    let all = after.all.saturating_sub(before.all).max(1);
    after.busy.saturating_sub(before.busy) * 100 / all
}

/// Reads the first line of `/proc/stat` (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal. The times of guests are
/// part of the first two.
fn ticks(stat: &str) -> Option<Ticks> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line.split_ascii_whitespace().map_while(|time| time.parse().ok()).take(8).collect();
    let all: u64 = times.iter().sum();
    let (nice, idle, io) = (times.get(1)?, times.get(3)?, times.get(4)?);
    Some(Ticks { busy: all.saturating_sub(nice + idle + io), all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_priority_and_idle_time_is_not_busy() {
        let before = ticks("cpu  100 50 10 800 20 5 5 10 0 0\ncpu0 1 2 3").unwrap();
        assert_eq!(before, Ticks { busy: 130, all: 1_000 });
        let after = ticks("cpu  130 100 20 880 30 5 5 30 0 0\n").unwrap();
        assert_eq!(percent_between(before, after), 30);
        assert_eq!(percent_between(after, after), 0);
        for text in ["", "cpu", "cpu 1 2", "intr 5"] {
            assert_eq!(ticks(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_machine_only_delays_the_work() {
        let pace = Pace::new(0);
        let began = Instant::now();
        for _ in 0..4 {
            // As if the machine were busy all the time.
            *pace.measured.lock().unwrap() =
                Some(Measured { at: Instant::now() + OLD, ticks: Ticks { busy: 0, all: 0 }, busy_percent: 90 });
            pace.turn().await;
        }
        assert!(began.elapsed() < AT_MOST * 4 + OLD, "{:?}", began.elapsed());
        let off = Pace::off();
        off.turn().await;
        assert!(off.measured.lock().unwrap().is_none());
    }
}
