//! Units of the calendar by their names in Postgres, and what a moment shows of them.

use crate::error::{Error, Result};
use crate::value::datetime::{MICROS_PER_DAY, civil_from_days, days_from_civil};

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
/// `Julian day = days since 1970-01-01 + this`.
pub(super) const JULIAN_EPOCH: i64 = 2_440_588;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    Julian,
    Epoch,
    Zone,
}

impl Unit {
    /// The unit called `name`; `of` is the type it is wanted of, for the message.
    ///
    /// # Errors
    /// 22023 for a name that is none.
    pub(super) fn named(name: &str, of: &str) -> Result<Unit> {
        use Unit as U;
        Ok(match name.to_lowercase().as_str() {
            "microsecond" | "microseconds" | "us" | "usec" | "usecs" => U::Microsecond,
            "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => U::Millisecond,
            "second" | "seconds" | "s" | "sec" | "secs" => U::Second,
            "minute" | "minutes" | "m" | "min" | "mins" => U::Minute,
            "hour" | "hours" | "h" | "hr" | "hrs" => U::Hour,
            "day" | "days" | "d" => U::Day,
            "week" | "weeks" | "w" => U::Week,
            "month" | "months" | "mon" | "mons" => U::Month,
            "quarter" | "qtr" => U::Quarter,
            "year" | "years" | "y" | "yr" | "yrs" => U::Year,
            "decade" | "decades" | "dec" | "decs" => U::Decade,
            "century" | "centuries" | "c" | "cent" => U::Century,
            "millennium" | "millennia" | "mil" | "mils" => U::Millennium,
            "dow" => U::DayOfWeek,
            "isodow" => U::IsoDayOfWeek,
            "doy" => U::DayOfYear,
            "isoyear" => U::IsoYear,
            "julian" | "jd" | "j" => U::Julian,
            "epoch" => U::Epoch,
            "timezone" | "timezone_hour" | "timezone_minute" => U::Zone,
            _ => return Err(Error::new("22023", format!("unit \"{name}\" not recognized for type {of}"))),
        })
    }
}

/// A day of the proleptic Gregorian calendar; year 0 is 1 BC.
pub(super) struct Day {
    pub(super) year: i64,
    pub(super) month: u32,
    pub(super) day: u32,
    days: i64,
}

impl Day {
    /// `days` since 1970-01-01.
    pub(super) fn new(days: i64) -> Day {
        let (year, month, day) = civil_from_days(days);
        Day { year, month, day, days }
    }

    /// Days since Monday.
    pub(super) fn after_monday(&self) -> i64 {
        (self.days + 3).rem_euclid(7)
    }

    pub(super) fn of_year(&self) -> i64 {
        self.days - days_from_civil(self.year, 1, 1) + 1
    }

    /// Year and week as ISO 8601 counts them: those of the week's Thursday.
    pub(super) fn iso_week(&self) -> (i64, i64) {
        let thursday = Day::new(self.days - self.after_monday() + 3);
        (thursday.year, (thursday.of_year() - 1) / 7 + 1)
    }

    /// The first day of the unit this day lies in. `None` for units that are no span of days.
    pub(super) fn start(&self, unit: Unit) -> Option<i64> {
        let first = |year: i64, month: u32| days_from_civil(year, month, 1);
        Some(match unit {
            Unit::Day => self.days,
            Unit::Week => self.days - self.after_monday(),
            Unit::Month => first(self.year, self.month),
            Unit::Quarter => first(self.year, (self.month - 1) / 3 * 3 + 1),
            Unit::Year => first(self.year, 1),
            Unit::Decade => first(self.year.div_euclid(10) * 10, 1),
            Unit::Century => first((self.year - 1).div_euclid(100) * 100 + 1, 1),
            Unit::Millennium => first((self.year - 1).div_euclid(1000) * 1000 + 1, 1),
            _ => return None,
        })
    }
}

/// Length of a unit that is always as long, in microseconds.
pub(super) fn fixed_length(unit: Unit) -> Option<i64> {
    Some(match unit {
        Unit::Microsecond => 1,
        Unit::Millisecond => 1000,
        Unit::Second => MICROS_PER_SECOND,
        Unit::Minute => 60 * MICROS_PER_SECOND,
        Unit::Hour => 3600 * MICROS_PER_SECOND,
        Unit::Day => MICROS_PER_DAY,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Years, weeks and days from PostgreSQL 15.
    #[test]
    fn weeks_and_centuries() {
        let day = |y, m, d| Day::new(days_from_civil(y, m, d));
        assert_eq!(day(2013, 1, 6).iso_week(), (2013, 1));
        assert_eq!(day(2012, 12, 31).iso_week(), (2013, 1));
        assert_eq!(day(2010, 1, 3).iso_week(), (2009, 53));
        assert_eq!(day(2013, 1, 6).after_monday(), 6);
        assert_eq!(day(2000, 7, 4).start(Unit::Century), Some(days_from_civil(1901, 1, 1)));
        assert_eq!(day(0, 7, 4).start(Unit::Century), Some(days_from_civil(-99, 1, 1)));
        assert_eq!(day(-1, 7, 4).start(Unit::Decade), Some(days_from_civil(-10, 1, 1)));
    }
}
