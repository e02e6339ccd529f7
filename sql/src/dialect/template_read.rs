//! `to_date(text, template)` and `to_timestamp(text, template)`.
//!
//! A number takes at most its pattern's digits; a separator of the template matches any one separator of the text, and
//! spaces before a field are skipped, as in Postgres.

use super::template::{DAYS, Field, MONTHS, Piece};
use crate::error::{Error, Result};
use crate::value::datetime::{MICROS_PER_DAY, days_from_civil, days_in_month};

/// What has been read so far.
struct Parts {
    year: i64,
    month: u32,
    day: u32,
    day_of_year: Option<i64>,
    hour: i64,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
}

/// Microseconds since 1970-01-01.
///
/// # Errors
/// 22007 when the text does not follow the template, 22008 when a field is out of range, 0A000 for patterns that
/// cannot be read.
pub(super) fn read(text: &str, pieces: &[Piece]) -> Result<i64> {
    let mut parts = Parts {
        year: 1,
        month: 1,
        day: 1,
        day_of_year: None,
        hour: 0,
        afternoon: None,
        minute: 0,
        second: 0,
        micros: 0,
    };
    let mut rest = text.trim_start();
    for piece in pieces {
        match piece {
            Piece::Text(separators) => rest = skip(rest, separators),
            Piece::Field { field, .. } => {
                rest = read_field(&mut parts, *field, rest.trim_start()).map_err(|e| e.or_value(text))?;
            }
        }
    }
    parts
        .micros_since_epoch()
        .ok_or_else(|| Error::new("22008", format!("date/time field value out of range: \"{text}\"")))
}

/// What is wrong with one field.
enum Fault {
    Value,
    Pattern(Field),
}

impl Fault {
    fn or_value(self, text: &str) -> Error {
        match self {
            Fault::Value => Error::new("22007", format!("the template does not fit the value: \"{text}\"")),
            Fault::Pattern(field) => Error::unsupported(
                format!("the template pattern {field:?} cannot be read"),
                "Use YYYY, MM, Mon, DD, DDD, HH24, HH12, MI, SS, MS, US and AM.",
            ),
        }
    }
}

fn skip<'a>(mut rest: &'a str, separators: &str) -> &'a str {
    for expected in separators.chars() {
        match rest.chars().next() {
            Some(found) if found == expected || !(found.is_alphanumeric() || expected.is_alphanumeric()) => {
                rest = &rest[found.len_utf8()..];
            }
            _ => {}
        }
    }
    rest
}

fn read_field<'a>(parts: &mut Parts, field: Field, rest: &'a str) -> Result<&'a str, Fault> {
    let name = |names: &[&str], short: bool| -> Option<(usize, &'a str)> {
        names.iter().enumerate().find_map(|(index, name)| {
            let name = if short { &name[..3] } else { name };
            let head = rest.get(..name.len())?;
            head.eq_ignore_ascii_case(name).then(|| (index, &rest[name.len()..]))
        })
    };
    let (value, after) = match field {
        Field::MonthName(_) | Field::MonthShort(_) => {
            let (index, after) = name(&MONTHS, matches!(field, Field::MonthShort(_))).ok_or(Fault::Value)?;
            parts.month = index as u32 + 1;
            return Ok(after);
        }
        Field::DayName(_) | Field::DayShort(_) => {
            return name(&DAYS, matches!(field, Field::DayShort(_))).map(|found| found.1).ok_or(Fault::Value);
        }
        Field::Meridiem { .. } => {
            let (afternoon, after) = meridiem(rest).ok_or(Fault::Value)?;
            parts.afternoon = Some(afternoon);
            return Ok(after);
        }
        _ => number(rest, digits(field).ok_or(Fault::Pattern(field))?).ok_or(Fault::Value)?,
    };
    parts.set(field, value, rest.len() - after.len());
    Ok(after)
}

/// `AM`, `p.m.`: whether it is the afternoon, and what follows.
fn meridiem(rest: &str) -> Option<(bool, &str)> {
    fn letter(rest: &str, letter: char) -> Option<&str> {
        let after = rest.strip_prefix(|found: char| found.eq_ignore_ascii_case(&letter))?;
        Some(after.strip_prefix('.').unwrap_or(after))
    }
    let half = |letter_of_half| letter(letter(rest, letter_of_half)?, 'M');
    half('A').map(|after| (false, after)).or_else(|| half('P').map(|after| (true, after)))
}

/// Digits a field may take.
fn digits(field: Field) -> Option<usize> {
    Some(match field {
        Field::Year(4) => 4,
        Field::Year(digits) => digits,
        Field::DayOfYear | Field::Millisecond => 3,
        Field::Microsecond => 6,
        Field::Month | Field::Day | Field::Hour24 | Field::Hour12 | Field::Minute | Field::Second => 2,
        _ => return None,
    })
}

fn number(rest: &str, digits_max: usize) -> Option<(i64, &str)> {
    let digits = rest.bytes().take(digits_max).take_while(u8::is_ascii_digit).count();
    Some((rest[..digits].parse().ok()?, &rest[digits..]))
}

impl Parts {
    /// `digits`: how many the text had; `.5` of a second is 500 ms.
    fn set(&mut self, field: Field, value: i64, digits: usize) {
        let fraction = |width: u32| value * 10i64.pow(width.saturating_sub(digits as u32));
        match field {
            // Two digits are the year nearest to 2020, as Postgres reads them.
            Field::Year(2) => self.year = if value < 70 { 2000 + value } else { 1900 + value },
            Field::Year(_) => self.year = value,
            Field::Month => self.month = value as u32,
            Field::Day => self.day = value as u32,
            Field::DayOfYear => self.day_of_year = Some(value),
            Field::Hour12 => {
                self.hour = value;
                self.afternoon = self.afternoon.or(Some(false));
            }
            Field::Hour24 => self.hour = value,
            Field::Minute => self.minute = value,
            Field::Second => self.second = value,
            Field::Millisecond => self.micros = fraction(3) * 1000,
            Field::Microsecond => self.micros = fraction(6),
            _ => {}
        }
    }

    fn micros_since_epoch(&self) -> Option<i64> {
        let hour = match self.afternoon {
            Some(afternoon) if (1..=12).contains(&self.hour) => self.hour % 12 + if afternoon { 12 } else { 0 },
            Some(_) => return None,
            None => self.hour,
        };
        let month_fits =
            (1..=12).contains(&self.month) && (1..=days_in_month(self.year, self.month)).contains(&self.day);
        if !month_fits || hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let days = match self.day_of_year {
            Some(day @ 1..=366) => days_from_civil(self.year, 1, 1) + day - 1,
            Some(_) => return None,
            None => days_from_civil(self.year, self.month, self.day),
        };
        let seconds = hour * 3600 + self.minute * 60 + self.second;
        days.checked_mul(MICROS_PER_DAY)?.checked_add(seconds * 1_000_000 + self.micros)
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::pieces;
    use super::*;

    fn micros(text: &str, template: &str) -> Result<i64> {
        read(text, &pieces(template).unwrap())
    }

    #[test]
    fn texts_are_read() {
        assert_eq!(micros("05 Dec 2000", "DD Mon YYYY").unwrap(), days_from_civil(2000, 12, 5) * MICROS_PER_DAY);
        assert_eq!(micros("20130106", "YYYYMMDD").unwrap(), days_from_civil(2013, 1, 6) * MICROS_PER_DAY);
        let noon = micros("1970-01-01 12:30 PM", "YYYY-MM-DD HH12:MI AM").unwrap();
        assert_eq!(noon, (12 * 3600 + 30 * 60) * 1_000_000);
        assert_eq!(micros("2013-13-01", "YYYY-MM-DD").unwrap_err().sqlstate, "22008");
        assert_eq!(
            micros("11 A.Mé", "HH12 A.M.").unwrap(),
            days_from_civil(1, 1, 1) * MICROS_PER_DAY + 11 * 3_600_000_000
        );
        for text in ["", "A.Mé", "é", "ééé", ".A", "P", "p.m", "Jän", "J", "9999999999", "\u{0}"] {
            for template in ["A.M.", "PM", "Mon", "Month", "Dy", "YYYY", "DDD", "MS", "DD Mon YYYY HH12:MI AM"] {
                let _ = micros(text, template);
            }
        }
        assert_eq!(micros("x", "YYYY").unwrap_err().sqlstate, "22007");
    }
}
