//! `age(end, start)`: the difference in years, months and days, as PostgreSQL's `timestamp_age` counts it.
//!
//! Fields are subtracted one by one; one that is short borrows from the next: a month lends the days of the earlier
//! moment's month.

use crate::value::datetime::{MICROS_PER_DAY, civil_from_days, days_in_month};
use arrow::datatypes::IntervalMonthDayNano;

/// `end - start`, both in microseconds since 1970-01-01.
pub(super) fn age(end: i64, start: i64) -> IntervalMonthDayNano {
    if end < start {
        let forward = age(start, end);
        return IntervalMonthDayNano::new(-forward.months, -forward.days, -forward.nanoseconds);
    }
    let (end_day, start_day) = (end.div_euclid(MICROS_PER_DAY), start.div_euclid(MICROS_PER_DAY));
    let (year, month, day) = civil_from_days(end_day);
    let (from_year, from_month, from_day) = civil_from_days(start_day);
    let mut micros = end.rem_euclid(MICROS_PER_DAY) - start.rem_euclid(MICROS_PER_DAY);
    let mut days = i64::from(day) - i64::from(from_day);
    let mut months = (year - from_year) * 12 + i64::from(month) - i64::from(from_month);
    if micros < 0 {
        micros += MICROS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        days += i64::from(days_in_month(from_year, from_month));
        months -= 1;
    }
    // An i64 of microseconds spans 7 million months: both fit.
    IntervalMonthDayNano::new(months as i32, days as i32, micros * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::datetime::days_from_civil;

    #[test]
    fn months_are_borrowed_from() {
        let at = |year, month, day| days_from_civil(year, month, day) * MICROS_PER_DAY;
        assert_eq!(age(at(2013, 1, 6), at(2012, 12, 1)), IntervalMonthDayNano::new(1, 5, 0));
        assert_eq!(age(at(2013, 3, 1), at(2013, 1, 31)), IntervalMonthDayNano::new(1, 1, 0));
        assert_eq!(age(at(2012, 12, 1), at(2013, 1, 6)), IntervalMonthDayNano::new(-1, -5, 0));
        assert_eq!(
            age(at(2013, 1, 2), at(2013, 1, 1) + 1),
            IntervalMonthDayNano::new(0, 0, (MICROS_PER_DAY - 1) * 1000)
        );
    }
}
