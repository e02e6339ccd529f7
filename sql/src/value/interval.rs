//! Intervals as Postgres reads them: `1 day 02:00:00`, `-1 mons +2 days`, `1-2`, `1.5 weeks ago`, `P1DT2H`.
//!
//! A fraction of a month is carried to days of 30 a month, one of a day to the time; one of a year is rounded to months
//! (PostgreSQL's `DecodeInterval`).

use super::datetime::Interval;

/// Millionths in one.
const ONE: i128 = 1_000_000;
const MICROS_PER_DAY: i128 = 86_400 * ONE;

/// What has been read so far.
#[derive(Default)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
}

/// `None` if the text is no interval, or one out of range.
pub(crate) fn parse_interval(text: &str) -> Option<Interval> {
    let text = text.trim();
    let mut sum = Sum::default();
    if let Some(designated) = text.strip_prefix(['P', 'p']) {
        sum.add_designated(designated)?;
    } else {
        sum.add_words(text)?;
    }
    Some(Interval {
        months: i32::try_from(sum.months).ok()?,
        days: i32::try_from(sum.days).ok()?,
        micros: i64::try_from(sum.micros).ok()?,
    })
}

impl Sum {
    fn add_words(&mut self, text: &str) -> Option<()> {
        let text = apart(text.strip_prefix('@').unwrap_or(text));
        let mut words = text.split_ascii_whitespace().peekable();
        words.peek()?;
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case("ago") {
                (self.months, self.days, self.micros) = (-self.months, -self.days, -self.micros);
                return words.next().is_none().then_some(());
            }
            if word.contains(':') {
                self.micros = self.micros.checked_add(time(word)?)?;
                continue;
            }
            let digits = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
            let (number, attached) = word.split_at(digits);
            if let Some(months) = years_and_months(number).filter(|_| attached.is_empty()) {
                self.months = self.months.checked_add(months)?;
                continue;
            }
            let amount = millionths(number)?;
            match attached {
                "" => match words.next_if(|next| next.starts_with(|c: char| c.is_ascii_alphabetic())) {
                    Some(unit) if unit.eq_ignore_ascii_case("ago") => {
                        self.micros = self.micros.checked_add(amount)?;
                        (self.months, self.days, self.micros) = (-self.months, -self.days, -self.micros);
                        return words.next().is_none().then_some(());
                    }
                    Some(unit) => self.add(amount, unit)?,
                    // `1 02:00`: days; a number that is all there is: seconds.
                    None if words.peek().is_some_and(|next| next.contains(':')) => self.add(amount, "day")?,
                    None => self.add(amount, "second")?,
                },
                unit => self.add(amount, unit)?,
            }
        }
        Some(())
    }

    /// What follows `P`.
    fn add_designated(&mut self, text: &str) -> Option<()> {
        let (mut number, mut is_time, mut any) = (String::new(), false, false);
        for character in text.chars() {
            let unit = match (character.to_ascii_uppercase(), is_time) {
                ('0'..='9' | '.' | '-' | '+', _) => {
                    number.push(character);
                    continue;
                }
                ('T', false) if number.is_empty() => {
                    is_time = true;
                    continue;
                }
                ('Y', false) => "year",
                ('M', false) => "month",
                ('W', false) => "week",
                ('D', false) => "day",
                ('H', true) => "hour",
                ('M', true) => "minute",
                ('S', true) => "second",
                _ => return None,
            };
            self.add(millionths(&std::mem::take(&mut number))?, unit)?;
            any = true;
        }
        (any && number.is_empty()).then_some(())
    }

    /// Adds `amount` millionths of a unit.
    fn add(&mut self, amount: i128, unit: &str) -> Option<()> {
        let unit = unit.to_ascii_lowercase();
        match unit.as_str() {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" => {
                self.micros = self.micros.checked_add(rounded(amount, ONE))?;
            }
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" => {
                self.micros = self.micros.checked_add(rounded(amount, 1000))?;
            }
            "s" | "sec" | "secs" | "second" | "seconds" => self.micros = self.micros.checked_add(amount)?,
            "m" | "min" | "mins" | "minute" | "minutes" => self.micros = self.micros.checked_add(amount * 60)?,
            "h" | "hr" | "hrs" | "hour" | "hours" => self.micros = self.micros.checked_add(amount * 3600)?,
            "d" | "day" | "days" => self.add_days(amount)?,
            "w" | "week" | "weeks" => self.add_days(amount * 7)?,
            "mon" | "mons" | "month" | "months" => {
                self.months = self.months.checked_add(amount / ONE)?;
                self.add_days(amount % ONE * 30)?;
            }
            _ => {
                let years = match unit.as_str() {
                    "y" | "yr" | "yrs" | "year" | "years" => 1,
                    "dec" | "decs" | "decade" | "decades" => 10,
                    "c" | "cent" | "century" | "centuries" => 100,
                    "mil" | "mils" | "millennium" | "millennia" => 1000,
                    _ => return None,
                };
                self.months = self.months.checked_add(rounded(amount * 12 * years, ONE))?;
            }
        }
        Some(())
    }

    fn add_days(&mut self, amount: i128) -> Option<()> {
        self.days = self.days.checked_add(amount / ONE)?;
        self.micros = self.micros.checked_add(amount % ONE * (MICROS_PER_DAY / ONE))?;
        Some(())
    }
}

fn rounded(value: i128, unit: i128) -> i128 {
    (value + unit / 2 * value.signum()) / unit
}

fn signed(text: &str) -> (i128, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// `1h30m` as `1h 30m`.
fn apart(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 8);
    let mut after_letter = false;
    for character in text.chars() {
        if after_letter && !character.is_ascii_alphabetic() {
            words.push(' ');
        }
        words.push(character);
        after_letter = character.is_ascii_alphabetic();
    }
    words
}

/// A decimal number in millionths; further digits are rounded.
fn millionths(text: &str) -> Option<i128> {
    let (sign, text) = signed(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !is_number(whole) || !is_number(fraction) || whole.len() > 18 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(7).collect();
    Some(sign * (whole * ONE + rounded(digits.parse().ok()?, 10)))
}

/// `1-2`: a year and two months.
fn years_and_months(text: &str) -> Option<i128> {
    let (sign, text) = signed(text);
    let (years, months) = text.split_once('-')?;
    let number = |digits: &str| digits.parse::<u32>().ok().map(i128::from);
    let months = number(months).filter(|months| *months < 12)?;
    Some(sign * (number(years)? * 12 + months))
}

/// `[-]hh:mm[:ss[.ffffff]]` in microseconds; there may be more than 24 hours.
fn time(text: &str) -> Option<i128> {
    let (sign, text) = signed(text);
    let mut parts = text.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    if parts.next().is_some() {
        return None;
    }
    let number = |digits: &str| digits.parse::<u32>().ok().map(i128::from);
    let (hours, minutes) = (number(hours)?, number(minutes).filter(|minutes| *minutes < 60)?);
    let seconds = millionths(seconds).filter(|micros| (0..=60 * ONE).contains(micros))?;
    Some(sign * ((hours * 60 + minutes) * 60 * ONE + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PostgreSQL 15 reads them.
    #[test]
    fn intervals_are_read() {
        let second = 1_000_000;
        for (text, months, days, micros) in [
            ("1 day 02:00:00", 0, 1, 7200 * second),
            ("02:34:56", 0, 0, 9296 * second),
            ("1:30", 0, 0, 5400 * second),
            ("100:00", 0, 0, 360_000 * second),
            ("1-2", 14, 0, 0),
            ("PT1H", 0, 0, 3600 * second),
            ("P1Y2M3DT4H5M6.5S", 14, 3, 14_706 * second + 500_000),
            ("3 days ago", 0, -3, 0),
            ("-1 day +2 hours", 0, -1, 7200 * second),
            ("-1 mons +2 days", -1, 2, 0),
            ("1 year 2 mons 3 days 04:05:06.7", 14, 3, 14_706 * second + 700_000),
            ("-00:00:00.000001", 0, 0, -1),
            ("1 2:03", 0, 1, 7380 * second),
            ("1.5 days", 0, 1, 43_200 * second),
            ("1.5 months", 1, 15, 0),
            ("1.5 years", 18, 0, 0),
            ("2weeks", 0, 14, 0),
            ("1h30m", 0, 0, 5400 * second),
            ("@ 1 minute", 0, 0, 60 * second),
            ("5", 0, 0, 5 * second),
            ("1500 ms", 0, 0, 1_500_000),
            ("1 century", 1200, 0, 0),
        ] {
            assert_eq!(parse_interval(text), Some(Interval { months, days, micros }), "{text}");
        }
        for text in
            ["", "day", "1 dayz", "1-13", "1:99", "P", "PT", "P1H", "1..2 days", "99999999999 days", "ago 1 day"]
        {
            assert_eq!(parse_interval(text), None, "{text}");
        }
    }
}
