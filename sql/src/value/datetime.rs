//! Dates, times and intervals as Postgres spells them under `DateStyle ISO`, `IntervalStyle postgres`.
//!
//! Inside, as in Arrow: dates are days and timestamps microseconds since 1970-01-01 (proleptic Gregorian calendar);
//! on the wire Postgres counts from 2000-01-01. A timestamp with time zone is an instant; it is shown at the session's
//! offset from UTC. The largest and least timestamp are `infinity` and `-infinity`, as in Postgres.

use super::number::{put_integer, put_padded};
use bytes::{BufMut, BytesMut};

/// Days from 1970-01-01 to 2000-01-01.
pub const EPOCH_DAYS: i32 = 10_957;
const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Microseconds from 1970-01-01 to 2000-01-01.
pub const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * MICROS_PER_DAY;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateTimeError {
    Syntax,
    OutOfRange,
}

/// A span of months, days and microseconds, which do not convert into each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

/// Year, month and day of a day number (Howard Hinnant, "chrono-compatible low-level date algorithms").
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_index + 2) / 5 + 1) as u32;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Day number of a date.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_index = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * month_index + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Writes `2013-01-01`; years before 1 AD end in ` BC`.
pub fn put_date(out: &mut BytesMut, days: i32) {
    match days {
        i32::MAX => out.put_slice(b"infinity"),
        i32::MIN => out.put_slice(b"-infinity"),
        _ => {
            let before_christ = put_calendar(out, i64::from(days));
            if before_christ {
                out.put_slice(b" BC");
            }
        }
    }
}

fn put_calendar(out: &mut BytesMut, days: i64) -> bool {
    let (year, month, day) = civil_from_days(days);
    let before_christ = year <= 0;
    put_padded(out, if before_christ { (1 - year) as u64 } else { year as u64 }, 4);
    out.put_u8(b'-');
    put_padded(out, u64::from(month), 2);
    out.put_u8(b'-');
    put_padded(out, u64::from(day), 2);
    before_christ
}

/// Writes `10:00:00` or `10:00:00.25`.
pub fn put_time(out: &mut BytesMut, micros: i64) {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    put_padded(out, (seconds / 3600).unsigned_abs(), 2);
    out.put_u8(b':');
    put_padded(out, (seconds / 60 % 60).unsigned_abs(), 2);
    out.put_u8(b':');
    put_padded(out, (seconds % 60).unsigned_abs(), 2);
    put_fraction(out, micros.rem_euclid(MICROS_PER_SECOND) as u64);
}

fn put_fraction(out: &mut BytesMut, micros: u64) {
    if micros == 0 {
        return;
    }
    let (mut value, mut width) = (micros, 6);
    while value % 10 == 0 {
        value /= 10;
        width -= 1;
    }
    out.put_u8(b'.');
    put_padded(out, value, width);
}

/// Writes a timestamp; with `offset_seconds` (of the session's time zone) as an instant.
pub fn put_timestamp(out: &mut BytesMut, micros: i64, offset_seconds: Option<i32>) {
    match micros {
        i64::MAX => return out.put_slice(b"infinity"),
        i64::MIN => return out.put_slice(b"-infinity"),
        _ => {}
    }
    let local = micros.saturating_add(i64::from(offset_seconds.unwrap_or(0)) * MICROS_PER_SECOND);
    let before_christ = put_calendar(out, local.div_euclid(MICROS_PER_DAY));
    out.put_u8(b' ');
    put_time(out, local.rem_euclid(MICROS_PER_DAY));
    if let Some(offset) = offset_seconds {
        put_offset(out, offset);
    }
    if before_christ {
        out.put_slice(b" BC");
    }
}

fn put_offset(out: &mut BytesMut, seconds: i32) {
    out.put_u8(if seconds < 0 { b'-' } else { b'+' });
    let seconds = u64::from(seconds.unsigned_abs());
    put_padded(out, seconds / 3600, 2);
    if seconds % 3600 != 0 {
        out.put_u8(b':');
        put_padded(out, seconds / 60 % 60, 2);
    }
    if seconds % 60 != 0 {
        out.put_u8(b':');
        put_padded(out, seconds % 60, 2);
    }
}

/// Writes `1 year 2 mons 3 days 04:05:06.7`.
pub fn put_interval(out: &mut BytesMut, interval: Interval) {
    let mut writer = IntervalWriter { out, empty: true, before: false };
    writer.part(interval.months / 12, "year");
    writer.part(interval.months % 12, "mon");
    writer.part(interval.days, "day");
    writer.time(interval.micros);
}

/// Postgres' `EncodeInterval`: a positive part after a negative one carries a plus sign.
struct IntervalWriter<'a> {
    out: &'a mut BytesMut,
    empty: bool,
    before: bool,
}

impl IntervalWriter<'_> {
    fn part(&mut self, value: i32, unit: &str) {
        if value == 0 {
            return;
        }
        if !self.empty {
            self.out.put_u8(b' ');
        }
        if self.before && value > 0 {
            self.out.put_u8(b'+');
        }
        put_integer(self.out, i64::from(value));
        self.out.put_u8(b' ');
        self.out.put_slice(unit.as_bytes());
        if value != 1 {
            self.out.put_u8(b's');
        }
        self.before = value < 0;
        self.empty = false;
    }

    fn time(&mut self, micros: i64) {
        if micros == 0 && !self.empty {
            return;
        }
        if !self.empty {
            self.out.put_u8(b' ');
        }
        if micros < 0 {
            self.out.put_u8(b'-');
        } else if self.before {
            self.out.put_u8(b'+');
        }
        let micros = micros.unsigned_abs();
        let seconds = micros / MICROS_PER_SECOND as u64;
        put_padded(self.out, seconds / 3600, 2);
        self.out.put_u8(b':');
        put_padded(self.out, seconds / 60 % 60, 2);
        self.out.put_u8(b':');
        put_padded(self.out, seconds % 60, 2);
        put_fraction(self.out, micros % MICROS_PER_SECOND as u64);
    }
}

/// Offset from UTC of a zone name such as `UTC`, `GMT`, `+02:00`, `-7`; `None` for names that need a database.
pub fn zone_offset_seconds(name: &str) -> Option<i32> {
    match name.trim() {
        "" => None,
        z if ["utc", "gmt", "z", "zulu", "etc/utc", "uct", "universal"].contains(&z.to_ascii_lowercase().as_str()) => {
            Some(0)
        }
        z => {
            let mut reader = Reader { text: z.as_bytes() };
            let offset = reader.offset()?;
            reader.text.is_empty().then_some(offset)
        }
    }
}

/// Reads a date: `2013-01-01`, optionally followed by a time that is dropped.
pub fn parse_date(text: &[u8]) -> Result<i32, DateTimeError> {
    match text.trim_ascii() {
        b"infinity" => return Ok(i32::MAX),
        b"-infinity" => return Ok(i32::MIN),
        b"epoch" => return Ok(0),
        _ => {}
    }
    let (micros, _) = parse_parts(text)?;
    i32::try_from(micros.div_euclid(MICROS_PER_DAY)).map_err(|_| DateTimeError::OutOfRange)
}

/// Reads a timestamp; an offset in the text is ignored.
pub fn parse_timestamp(text: &[u8]) -> Result<i64, DateTimeError> {
    parse_special(text).map_or_else(|| Ok(parse_parts(text)?.0), Ok)
}

/// Reads an instant; without an offset in the text, `zone_seconds` is the offset.
pub fn parse_instant(text: &[u8], zone_seconds: i32) -> Result<i64, DateTimeError> {
    if let Some(special) = parse_special(text) {
        return Ok(special);
    }
    let (local, offset) = parse_parts(text)?;
    let offset = i64::from(offset.unwrap_or(zone_seconds)) * MICROS_PER_SECOND;
    local.checked_sub(offset).ok_or(DateTimeError::OutOfRange)
}

/// Reads a time of day, in microseconds; `24:00:00` is allowed.
pub fn parse_time(text: &[u8]) -> Result<i64, DateTimeError> {
    let mut reader = Reader { text: text.trim_ascii() };
    let micros = reader.time().ok_or(DateTimeError::Syntax)??;
    if reader.text.is_empty() { Ok(micros) } else { Err(DateTimeError::Syntax) }
}

fn parse_special(text: &[u8]) -> Option<i64> {
    match text.trim_ascii() {
        b"infinity" => Some(i64::MAX),
        b"-infinity" => Some(i64::MIN),
        b"epoch" => Some(0),
        _ => None,
    }
}

/// Microseconds since the epoch on the text's own clock, and its offset from UTC in seconds.
fn parse_parts(text: &[u8]) -> Result<(i64, Option<i32>), DateTimeError> {
    use DateTimeError::{OutOfRange, Syntax};
    let mut reader = Reader { text: text.trim_ascii() };
    let (mut year, year_digits) = reader.digits(6).ok_or(Syntax)?;
    if year_digits < 4 {
        return Err(Syntax);
    }
    reader.expect(b'-').ok_or(Syntax)?;
    let month = reader.digits(2).ok_or(Syntax)?.0 as u32;
    reader.expect(b'-').ok_or(Syntax)?;
    let day = reader.digits(2).ok_or(Syntax)?.0 as u32;
    let mut micros = 0;
    let mut offset = None;
    if reader.expect(b'T').is_some() || reader.time_follows() {
        micros = reader.time().ok_or(Syntax)??;
        offset = reader.offset();
    }
    if reader.text.trim_ascii().eq_ignore_ascii_case(b"BC") {
        year = 1 - year;
        reader.text = b"";
    }
    if !reader.text.is_empty() {
        return Err(Syntax);
    }
    if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return Err(OutOfRange);
    }
    let days = days_from_civil(year, month, day);
    let total = days.checked_mul(MICROS_PER_DAY).and_then(|start| start.checked_add(micros)).ok_or(OutOfRange)?;
    Ok((total, offset))
}

/// Days of a month; 0 AD is 1 BC.
pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A cursor over ASCII text; a verb that does not find what it wants returns `None`.
struct Reader<'a> {
    text: &'a [u8],
}

impl Reader<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        let [first, rest @ ..] = self.text else { return None };
        if *first != byte {
            return None;
        }
        self.text = rest;
        Some(())
    }

    /// A number of 1 to `digits_max` digits, and how many there were.
    fn digits(&mut self, digits_max: usize) -> Option<(i64, usize)> {
        let mut value = 0i64;
        let mut count = 0;
        while let [digit @ b'0'..=b'9', rest @ ..] = self.text {
            if count == digits_max {
                return None;
            }
            value = value * 10 + i64::from(digit - b'0');
            count += 1;
            self.text = rest;
        }
        (count > 0).then_some((value, count))
    }

    /// Skips blanks and tells whether a digit comes next.
    fn time_follows(&mut self) -> bool {
        let trimmed = self.text.trim_ascii_start();
        if trimmed.len() < self.text.len() && trimmed.first().is_some_and(u8::is_ascii_digit) {
            self.text = trimmed;
            return true;
        }
        false
    }

    /// `HH:MM[:SS[.ffffff]]`; the fraction is rounded to microseconds.
    fn time(&mut self) -> Option<Result<i64, DateTimeError>> {
        let hours = self.digits(2)?.0;
        self.expect(b':')?;
        let minutes = self.digits(2)?.0;
        let mut seconds = 0;
        let mut micros = 0;
        if self.expect(b':').is_some() {
            seconds = self.digits(2)?.0;
            if self.expect(b'.').is_some() {
                micros = self.fraction();
            }
        }
        let total = (hours * 3600 + minutes * 60 + seconds) * MICROS_PER_SECOND + micros;
        if hours > 24 || minutes > 59 || seconds > 60 || total > MICROS_PER_DAY {
            return Some(Err(DateTimeError::OutOfRange));
        }
        Some(Ok(total))
    }

    fn fraction(&mut self) -> i64 {
        let (mut value, mut unit, mut round) = (0, 100_000, None);
        while let [digit @ b'0'..=b'9', rest @ ..] = self.text {
            let digit = i64::from(digit - b'0');
            if unit > 0 {
                value += digit * unit;
                unit /= 10;
            } else if round.is_none() {
                round = Some(digit >= 5);
            }
            self.text = rest;
        }
        value + i64::from(round == Some(true))
    }

    /// `Z`, `UTC`, `+HH`, `+HHMM`, `+HH:MM[:SS]`, in seconds east of UTC.
    fn offset(&mut self) -> Option<i32> {
        let text = self.text.trim_ascii_start();
        for name in [&b"utc"[..], b"gmt", b"z"] {
            if text.len() >= name.len() && text[..name.len()].eq_ignore_ascii_case(name) {
                self.text = &text[name.len()..];
                return Some(0);
            }
        }
        let mut reader = Reader { text };
        let sign = match reader.text.first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        reader.text = &reader.text[1..];
        let (mut hours, digits) = reader.digits(4)?;
        let (mut minutes, mut seconds) = (0, 0);
        if digits > 2 {
            (hours, minutes) = (hours / 100, hours % 100);
        } else if reader.expect(b':').is_some() {
            minutes = reader.digits(2)?.0;
            if reader.expect(b':').is_some() {
                seconds = reader.digits(2)?.0;
            }
        }
        if hours > 15 || minutes > 59 || seconds > 59 {
            return None;
        }
        self.text = reader.text;
        Some(sign * (hours * 3600 + minutes * 60 + seconds) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap_or_default()
    }

    #[test]
    fn calendar_round_trips() {
        for days in (-800_000..3_000_000).step_by(37) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(days_from_civil(2000, 1, 1), i64::from(EPOCH_DAYS));
    }

    /// Golden texts from PostgreSQL 15.
    #[test]
    fn timestamps_read_as_in_postgres() {
        for (input, zone, expected) in [
            ("2013-01-01 10:00:00", None, "2013-01-01 10:00:00"),
            ("2013-01-01T10:00:00.250000", None, "2013-01-01 10:00:00.25"),
            ("2013-01-01 10:00", Some(0), "2013-01-01 10:00:00+00"),
            ("2013-01-01 10:00:00+02", Some(0), "2013-01-01 08:00:00+00"),
            ("2013-01-01 10:00:00 -0730", Some(0), "2013-01-01 17:30:00+00"),
            ("2013-01-01 10:00:00Z", Some(19_800), "2013-01-01 15:30:00+05:30"),
            ("2013-01-01", Some(-3600), "2013-01-01 00:00:00-01"),
            ("0044-03-15 12:00:00 BC", None, "0044-03-15 12:00:00 BC"),
            ("12013-01-01 10:00:00", None, "12013-01-01 10:00:00"),
            ("1969-12-31 23:59:59.999999", None, "1969-12-31 23:59:59.999999"),
            ("2013-01-01 10:00:00.1234567", None, "2013-01-01 10:00:00.123457"),
            ("2013-01-01 24:00:00", None, "2013-01-02 00:00:00"),
            ("infinity", None, "infinity"),
        ] {
            let micros = match zone {
                Some(zone) => parse_instant(input.as_bytes(), zone),
                None => parse_timestamp(input.as_bytes()),
            };
            assert_eq!(micros.map(|m| text(|out| put_timestamp(out, m, zone))).as_deref(), Ok(expected), "{input}");
        }
    }

    #[test]
    fn refuses_what_is_no_date() {
        for bad in ["", "2013", "2013-1", "x", "13-01-01", "2013-01-01x", "2013-01-01 10", "2013-01-01 10:00:00 +99"] {
            assert_eq!(parse_timestamp(bad.as_bytes()), Err(DateTimeError::Syntax), "{bad}");
        }
        for bad in ["2013-13-01", "2013-02-29", "2013-00-01", "2013-01-01 25:00:00", "2013-01-01 10:61:00"] {
            assert_eq!(parse_timestamp(bad.as_bytes()), Err(DateTimeError::OutOfRange), "{bad}");
        }
        assert_eq!(parse_timestamp(b"999999-01-01"), Err(DateTimeError::OutOfRange));
        assert_eq!(parse_date(b"2012-02-29"), Ok(15_399));
        assert_eq!(parse_time(b"10:00:00.5"), Ok(36_000_500_000));
    }

    /// Golden texts from PostgreSQL 15's `interval_out`.
    #[test]
    fn intervals_read_as_in_postgres() {
        for (months, days, micros, expected) in [
            (0, 0, 0, "00:00:00"),
            (14, 3, 14_706_700_000, "1 year 2 mons 3 days 04:05:06.7"),
            (0, 1, 0, "1 day"),
            (-1, 2, 0, "-1 mons +2 days"),
            (0, -1, 7_384_000_000, "-1 days +02:03:04"),
            (0, 0, -1, "-00:00:00.000001"),
            (-13, 0, 0, "-1 years -1 mons"),
            (0, 0, 360_000_000_000, "100:00:00"),
        ] {
            assert_eq!(text(|out| put_interval(out, Interval { months, days, micros })), expected);
        }
    }

    #[test]
    fn zones() {
        assert_eq!(zone_offset_seconds("UTC"), Some(0));
        assert_eq!(zone_offset_seconds("+05:30"), Some(19_800));
        assert_eq!(zone_offset_seconds("Europe/Berlin"), None);
    }

    #[test]
    fn random_text_never_panics() {
        let mut seed = 3u64;
        for length in (0..30).cycle().take(60_000) {
            let mut bytes = Vec::new();
            for _ in 0..length {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                bytes.push(b"0123456789-:. +TZBC"[(seed >> 40) as usize % 19]);
            }
            let _ = (parse_timestamp(&bytes), parse_date(&bytes), parse_time(&bytes), parse_instant(&bytes, 0));
        }
        for extreme in [i64::MIN + 1, i64::MAX - 1] {
            text(|out| put_timestamp(out, extreme, Some(3600)));
            text(|out| put_interval(out, Interval { months: i32::MIN, days: i32::MIN, micros: extreme }));
        }
    }
}
