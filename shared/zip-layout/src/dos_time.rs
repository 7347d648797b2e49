//! Dates and times in the form of MS-DOS, which each header of a zip archive contains (APPNOTE 4.4.6).

/// 1980-01-01 00:00:00 UTC, the first time that can be written.
const FIRST_S: i64 = 315_532_800;
/// 2107-12-31 23:59:59 UTC, the last time that can be written.
const LAST_S: i64 = 4_354_819_199;

const DAY_S: i64 = 86_400;

/// A date and a time, to 2 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DosTime {
    pub(crate) date: u16,
    pub(crate) time: u16,
}

impl DosTime {
    /// Converts seconds since 1970, UTC. A time outside of 1980 to 2107 becomes the nearest time inside.
    pub(crate) fn from_unix(seconds: i64) -> Self {
        let seconds = seconds.clamp(FIRST_S, LAST_S);
        let second = seconds % DAY_S;
        Self {
            date: bits(date_of(seconds / DAY_S)),
            time: bits(((second / 3_600) << 11) | ((second / 60 % 60) << 5) | (second % 60 / 2)),
        }
    }
}

/// Finds the date that is `days` days after 1970-01-01, by years that begin on the first of March.
fn date_of(days: i64) -> i64 {
    // 0000-03-01 is 719,468 days before 1970-01-01. 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = if months_since_march < 10 { months_since_march + 3 } else { months_since_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    ((year - 1980) << 9) | (month << 5) | day
}

/// Narrows a date or time, which always fits since [`DosTime::from_unix`] limits the year.
fn bits(value: i64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
