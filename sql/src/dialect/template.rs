//! The template patterns of `to_char`, `to_date` and `to_timestamp` (PostgreSQL's manual, table 9.29).
//!
//! A template is split into pieces once per batch. `FM` before a pattern drops its padding; text between double quotes
//! and everything that is no pattern stands for itself. A pattern Postgres has and this file does not is refused.

use crate::error::{Error, Result};
use crate::value::datetime::{MICROS_PER_DAY, civil_from_days, days_from_civil};
use std::fmt::Write;

const MICROS_PER_SECOND: i64 = 1_000_000;
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// A name in full is padded to the longest one.
const NAME_WIDTH: usize = 9;

/// What a pattern stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Year with this many digits.
    Year(usize),
    IsoYear,
    Century,
    Quarter,
    Month,
    MonthName(Case),
    MonthShort(Case),
    IsoWeek,
    Week,
    WeekOfMonth,
    DayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    DayName(Case),
    DayShort(Case),
    Hour24,
    Hour12,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    SecondOfDay,
    /// `AM`, or `A.M.` with dots.
    Meridiem {
        upper: bool,
        dots: bool,
    },
    JulianDay,
    /// `UTC`, in upper or lower case.
    Zone {
        upper: bool,
    },
    Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Title,
    Lower,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Field { field: Field, padded: bool, ordinal: Option<bool> },
}

/// Longest first: the first that matches is taken.
const PATTERNS: [(&str, Field); 53] = [
    ("MONTH", Field::MonthName(Case::Upper)),
    ("Month", Field::MonthName(Case::Title)),
    ("month", Field::MonthName(Case::Lower)),
    ("SSSSS", Field::SecondOfDay),
    ("YYYY", Field::Year(4)),
    ("IYYY", Field::IsoYear),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("SSSS", Field::SecondOfDay),
    ("A.M.", Field::Meridiem { upper: true, dots: true }),
    ("P.M.", Field::Meridiem { upper: true, dots: true }),
    ("a.m.", Field::Meridiem { upper: false, dots: true }),
    ("p.m.", Field::Meridiem { upper: false, dots: true }),
    ("yyyy", Field::Year(4)),
    ("hh24", Field::Hour24),
    ("hh12", Field::Hour12),
    ("YYY", Field::Year(3)),
    ("MON", Field::MonthShort(Case::Upper)),
    ("Mon", Field::MonthShort(Case::Title)),
    ("mon", Field::MonthShort(Case::Lower)),
    ("DAY", Field::DayName(Case::Upper)),
    ("Day", Field::DayName(Case::Title)),
    ("day", Field::DayName(Case::Lower)),
    ("DDD", Field::DayOfYear),
    ("FF3", Field::Millisecond),
    ("FF6", Field::Microsecond),
    ("YY", Field::Year(2)),
    ("yy", Field::Year(2)),
    ("MM", Field::Month),
    ("mm", Field::Month),
    ("DD", Field::Day),
    ("dd", Field::Day),
    ("DY", Field::DayShort(Case::Upper)),
    ("Dy", Field::DayShort(Case::Title)),
    ("dy", Field::DayShort(Case::Lower)),
    ("HH", Field::Hour12),
    ("hh", Field::Hour12),
    ("MI", Field::Minute),
    ("mi", Field::Minute),
    ("SS", Field::Second),
    ("ss", Field::Second),
    ("MS", Field::Millisecond),
    ("US", Field::Microsecond),
    ("AM", Field::Meridiem { upper: true, dots: false }),
    ("PM", Field::Meridiem { upper: true, dots: false }),
    ("am", Field::Meridiem { upper: false, dots: false }),
    ("pm", Field::Meridiem { upper: false, dots: false }),
    ("IW", Field::IsoWeek),
    ("WW", Field::Week),
    ("ID", Field::IsoDayOfWeek),
    ("TZ", Field::Zone { upper: true }),
    ("tz", Field::Zone { upper: false }),
    ("OF", Field::Offset),
];
const LETTERS: [(&str, Field); 7] = [
    ("CC", Field::Century),
    ("Y", Field::Year(1)),
    ("Q", Field::Quarter),
    ("W", Field::WeekOfMonth),
    ("D", Field::DayOfWeek),
    ("J", Field::JulianDay),
    ("I", Field::IsoYear),
];
/// Postgres has them, this file does not.
const REFUSED: [&str; 9] = ["Y,YYY", "IYY", "IDDD", "RM", "rm", "TM", "BC", "AD", "SP"];

/// Splits a template.
///
/// # Errors
/// 0A000 naming a pattern that is not supported.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut padded = true;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            padded = false;
            rest = after;
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            push_text(&mut pieces, text);
            rest = after;
        } else if let Some((field, after)) = pattern(rest)? {
            let (ordinal, after) = match (after.strip_prefix("TH"), after.strip_prefix("th")) {
                (Some(after), _) => (Some(true), after),
                (_, Some(after)) => (Some(false), after),
                _ => (None, after),
            };
            pieces.push(Piece::Field { field, padded, ordinal });
            padded = true;
            rest = after;
        } else {
            let after = &rest[first.len_utf8()..];
            push_text(&mut pieces, &rest[..first.len_utf8()]);
            rest = after;
        }
    }
    Ok(pieces)
}

fn pattern(rest: &str) -> Result<Option<(Field, &str)>> {
    let known = PATTERNS.iter().chain(&LETTERS).find(|(text, _)| rest.starts_with(text));
    let refused = REFUSED.iter().find(|pattern| rest.starts_with(**pattern));
    if let Some(refused) = refused.filter(|refused| known.is_none_or(|(text, _)| text.len() < refused.len())) {
        return Err(Error::unsupported(
            format!("the template pattern {refused} is not supported"),
            "Put text between double quotes, or use other patterns.",
        ));
    }
    Ok(known.map(|(text, field)| (*field, &rest[text.len()..])))
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(last)) => last.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// A moment taken apart.
struct Moment {
    days: i64,
    year: i64,
    month: u32,
    day: u32,
    second_of_day: i64,
    micros: i64,
}

impl Moment {
    fn of(micros: i64) -> Moment {
        let days = micros.div_euclid(MICROS_PER_DAY);
        let of_day = micros.rem_euclid(MICROS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        Moment { days, year, month, day, second_of_day: of_day / MICROS_PER_SECOND, micros: of_day % MICROS_PER_SECOND }
    }

    /// 0 = Sunday.
    fn day_of_week(&self) -> i64 {
        (self.days + 4).rem_euclid(7)
    }

    fn day_of_year(&self) -> i64 {
        self.days - days_from_civil(self.year, 1, 1) + 1
    }

    /// ISO 8601: the week belongs to the year of its Thursday.
    fn iso_week(&self) -> (i64, i64) {
        let thursday = self.days - (self.day_of_week() + 6) % 7 + 3;
        let year = civil_from_days(thursday).0;
        (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
    }

    fn hour(&self) -> i64 {
        self.second_of_day / 3600
    }
}

/// `to_char(timestamp, template)`; `micros` since 1970-01-01.
pub(super) fn write(out: &mut String, pieces: &[Piece], micros: i64) {
    let moment = Moment::of(micros);
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Field { field, padded, ordinal } => {
                let start = out.len();
                write_field(out, *field, *padded, &moment);
                if let Some(upper) = ordinal {
                    let suffix = ordinal_suffix(&out[start..]);
                    out.push_str(&if *upper { suffix.to_uppercase() } else { suffix.to_owned() });
                }
            }
        }
    }
}

fn write_field(out: &mut String, field: Field, padded: bool, at: &Moment) {
    let mut number = |value: i64, width: usize| {
        let width = if padded { width } else { 0 };
        let _ = write!(out, "{value:0width$}");
    };
    // Years are counted from 1 AD and 1 BC; there is no year 0.
    let year = if at.year <= 0 { 1 - at.year } else { at.year };
    match field {
        Field::Year(4) => number(year, 4),
        Field::Year(digits) => number(year % 10i64.pow(digits as u32), digits),
        Field::IsoYear => number(at.iso_week().0, 4),
        Field::Century => number((year + 99) / 100, 2),
        Field::Quarter => number((i64::from(at.month) + 2) / 3, 1),
        Field::Month => number(i64::from(at.month), 2),
        Field::IsoWeek => number(at.iso_week().1, 2),
        Field::Week => number((at.day_of_year() - 1) / 7 + 1, 2),
        Field::WeekOfMonth => number((i64::from(at.day) - 1) / 7 + 1, 1),
        Field::DayOfYear => number(at.day_of_year(), 3),
        Field::Day => number(i64::from(at.day), 2),
        Field::DayOfWeek => number(at.day_of_week() + 1, 1),
        Field::IsoDayOfWeek => number((at.day_of_week() + 6) % 7 + 1, 1),
        Field::Hour24 => number(at.hour(), 2),
        Field::Hour12 => number((at.hour() + 11) % 12 + 1, 2),
        Field::Minute => number(at.second_of_day / 60 % 60, 2),
        Field::Second => number(at.second_of_day % 60, 2),
        Field::Millisecond => number(at.micros / 1000, 3),
        Field::Microsecond => number(at.micros, 6),
        Field::SecondOfDay => number(at.second_of_day, 1),
        // Julian day 2440588 is 1970-01-01.
        Field::JulianDay => number(at.days + 2_440_588, 1),
        _ => write_name(out, field, padded, at),
    }
}

fn write_name(out: &mut String, field: Field, padded: bool, at: &Moment) {
    let month = MONTHS[(at.month.max(1) as usize - 1) % 12];
    let day = DAYS[at.day_of_week() as usize % 7];
    let mut name = |name: &str, case: Case, width: usize| {
        let name = match case {
            Case::Upper => name.to_uppercase(),
            Case::Title => name.to_owned(),
            Case::Lower => name.to_lowercase(),
        };
        let width = if padded { width } else { 0 };
        let _ = write!(out, "{name:width$}");
    };
    match field {
        Field::MonthName(case) => name(month, case, NAME_WIDTH),
        Field::MonthShort(case) => name(&month[..3], case, 0),
        Field::DayName(case) => name(day, case, NAME_WIDTH),
        Field::DayShort(case) => name(&day[..3], case, 0),
        Field::Meridiem { upper, dots } => {
            let text = match (at.hour() < 12, dots) {
                (true, false) => "AM",
                (false, false) => "PM",
                (true, true) => "A.M.",
                (false, true) => "P.M.",
            };
            name(text, if upper { Case::Upper } else { Case::Lower }, 0);
        }
        Field::Zone { upper } => name("UTC", if upper { Case::Upper } else { Case::Lower }, 0),
        Field::Offset => name("+00", Case::Title, 0),
        _ => {}
    }
}

fn ordinal_suffix(number: &str) -> &'static str {
    let digits: Vec<u8> = number.bytes().filter(u8::is_ascii_digit).collect();
    match digits.as_slice() {
        [.., b'1', _] => "th",
        [.., b'1'] => "st",
        [.., b'2'] => "nd",
        [.., b'3'] => "rd",
        _ => "th",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(template: &str) -> String {
        let mut out = String::new();
        // 2013-01-06 15:03:04.5, a Sunday.
        write(&mut out, &pieces(template).unwrap(), 1_357_484_584_500_000);
        out
    }

    #[test]
    fn templates_are_filled() {
        assert_eq!(written("YYYY-MM-DD HH24:MI:SS.MS"), "2013-01-06 15:03:04.500");
        assert_eq!(written("FMMonth FMDDth, YYYY"), "January 6th, 2013");
        assert_eq!(written("Day|Dy|D|ID|IW|IYYY"), "Sunday   |Sun|1|7|01|2013");
        assert_eq!(written("HH12 AM \"HH\" US Q DDD J"), "03 PM HH 500000 1 006 2456299");
        assert_eq!(pieces("RM").unwrap_err().sqlstate, "0A000");
    }
}
