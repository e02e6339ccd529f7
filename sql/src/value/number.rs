//! Numbers as Postgres spells them: integers, shortest floats, and `numeric` in text and in base 10,000.
//!
//! A decimal is an `i128` of units of `10^-scale`, as in Arrow; a value with more digits after the point than the
//! scale is rounded half away from zero, as Postgres does. What does not fit is [`NumberError::OutOfRange`].

use bytes::{BufMut, BytesMut};
use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    Syntax,
    OutOfRange,
}

/// Most decimal digits of a 128-bit decimal.
pub const DECIMAL_DIGITS_MAX: u32 = 38;

/// Writes `value` in decimal.
pub fn put_integer(out: &mut BytesMut, value: i64) {
    if value < 0 {
        out.put_u8(b'-');
    }
    put_unsigned(out, value.unsigned_abs());
}

/// Writes `value` in decimal.
pub fn put_unsigned(out: &mut BytesMut, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.put_slice(&digits[start..]);
}

/// Writes `value` in decimal, at least `width` digits.
pub fn put_padded(out: &mut BytesMut, value: u64, width: usize) {
    let mut bound = 10u64;
    for _ in 1..width {
        if value < bound {
            out.put_u8(b'0');
        }
        bound *= 10;
    }
    // The zeros above were counted from the left: a value of d digits gets width - d of them.
    put_unsigned(out, value);
}

/// Shortest digits that read back as the same double; scientific below 1e-4 and from 1e15 on.
pub fn put_float8(out: &mut BytesMut, value: f64) {
    if !put_special(out, value) {
        let mut text = Ascii::default();
        let _ = write!(text, "{value:e}");
        put_shortest(out, text.as_str(), 15);
    }
}

/// Shortest digits that read back as the same float; scientific below 1e-4 and from 1e6 on.
pub fn put_float4(out: &mut BytesMut, value: f32) {
    if !put_special(out, f64::from(value)) {
        let mut text = Ascii::default();
        let _ = write!(text, "{value:e}");
        put_shortest(out, text.as_str(), 6);
    }
}

fn put_special(out: &mut BytesMut, value: f64) -> bool {
    let name: &[u8] = match value {
        v if v.is_nan() => b"NaN",
        f64::INFINITY => b"Infinity",
        f64::NEG_INFINITY => b"-Infinity",
        _ => return false,
    };
    out.put_slice(name);
    true
}

/// Lays out Rust's `d.ddde±x` as Postgres does; fixed notation for exponents in `[-4, fixed_below)`.
fn put_shortest(out: &mut BytesMut, scientific: &str, fixed_below: i32) {
    let (sign, unsigned) = match scientific.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", scientific),
    };
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (head, tail) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    out.put_slice(sign.as_bytes());
    if exponent < -4 || exponent >= fixed_below {
        out.put_slice(mantissa.as_bytes());
        out.put_u8(b'e');
        out.put_u8(if exponent < 0 { b'-' } else { b'+' });
        put_padded(out, u64::from(exponent.unsigned_abs()), 2);
    } else if exponent < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', exponent.unsigned_abs() as usize - 1);
        out.put_slice(head.as_bytes());
        out.put_slice(tail.as_bytes());
    } else {
        let whole = exponent as usize;
        out.put_slice(head.as_bytes());
        if tail.len() <= whole {
            out.put_slice(tail.as_bytes());
            out.put_bytes(b'0', whole - tail.len());
        } else {
            out.put_slice(&tail.as_bytes()[..whole]);
            out.put_u8(b'.');
            out.put_slice(&tail.as_bytes()[whole..]);
        }
    }
}

/// A small text on the stack.
struct Ascii {
    bytes: [u8; 40],
    length: usize,
}

impl Default for Ascii {
    fn default() -> Ascii {
        Ascii { bytes: [0; 40], length: 0 }
    }
}

impl Ascii {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }
}

impl Write for Ascii {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let slot = self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        slot.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Writes a decimal with all digits of its scale.
pub fn put_decimal(out: &mut BytesMut, value: i128, scale: i8) {
    if value < 0 {
        out.put_u8(b'-');
    }
    let mut digits = [0u8; 40];
    let digits = decimal_digits(value.unsigned_abs(), &mut digits);
    if scale <= 0 {
        out.put_slice(digits);
        if value != 0 {
            out.put_bytes(b'0', usize::from(scale.unsigned_abs()));
        }
        return;
    }
    let scale = scale as usize;
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.put_slice(whole);
        out.put_u8(b'.');
        out.put_slice(fraction);
    } else {
        out.put_slice(b"0.");
        out.put_bytes(b'0', scale - digits.len());
        out.put_slice(digits);
    }
}

fn decimal_digits(mut value: u128, buffer: &mut [u8; 40]) -> &[u8] {
    let mut start = buffer.len();
    while value > u128::from(u64::MAX) {
        start -= 1;
        buffer[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    let mut value = value as u64;
    loop {
        start -= 1;
        buffer[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &buffer[start..];
        }
    }
}

const NUMERIC_POSITIVE: u16 = 0x0000;
const NUMERIC_NEGATIVE: u16 = 0x4000;
const NUMERIC_NAN: u16 = 0xC000;

/// Writes Postgres' binary numeric: digit count, weight, sign, display scale, digits in base 10,000.
pub fn put_numeric_binary(out: &mut BytesMut, value: i128, scale: i8) {
    let display_scale = scale.max(0) as usize;
    let mut buffer = [0u8; 40];
    let digits = decimal_digits(value.unsigned_abs(), &mut buffer);
    // Decimal digits before the point, with zeros appended for a negative scale.
    let trailing = if scale < 0 { usize::from(scale.unsigned_abs()) } else { 0 };
    let whole = (digits.len() + trailing) as isize - display_scale as isize;
    let lead = whole.rem_euclid(4);
    let mut weight = (whole + (4 - lead) % 4) / 4 - 1;
    let mut groups: [u16; 72] = [0; 72];
    let mut count = 0;
    let mut filled = ((4 - lead) % 4) as usize;
    for digit in digits.iter().copied().chain(std::iter::repeat_n(b'0', trailing)) {
        groups[count] = groups[count] * 10 + u16::from(digit - b'0');
        filled += 1;
        if filled == 4 {
            (count, filled) = (count + 1, 0);
        }
    }
    if filled > 0 {
        groups[count] *= 10u16.pow(4 - filled as u32);
        count += 1;
    }
    let mut groups = &groups[..count];
    while let [0, rest @ ..] = groups {
        groups = rest;
        weight -= 1;
    }
    while let [rest @ .., 0] = groups {
        groups = rest;
    }
    out.put_u16(groups.len() as u16);
    out.put_i16(if groups.is_empty() { 0 } else { weight as i16 });
    out.put_u16(if value < 0 { NUMERIC_NEGATIVE } else { NUMERIC_POSITIVE });
    out.put_u16(display_scale as u16);
    for group in groups {
        out.put_u16(*group);
    }
}

/// Reads a decimal of `scale` from text such as `-12.345` or `1.2e3`.
pub fn parse_decimal(text: &[u8], precision: u8, scale: i8) -> Result<i128, NumberError> {
    let text = text.trim_ascii();
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut decimal = DecimalReader::new(precision, scale);
    let (mut after_point, mut digits, mut position) = (false, 0usize, 0usize);
    let mut point_at = None;
    while let Some(&byte) = rest.get(position) {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' if !after_point => {
                after_point = true;
                point_at = Some(digits);
            }
            b'e' | b'E' if digits > 0 => break,
            _ => return Err(NumberError::Syntax),
        }
        position += 1;
    }
    if digits == 0 {
        return Err(NumberError::Syntax);
    }
    let exponent = parse_exponent(&rest[position..])?;
    let whole = point_at.unwrap_or(digits) as i64 + exponent;
    for byte in rest[..position].iter().filter(|b| **b != b'.') {
        decimal.push(byte - b'0', whole)?;
    }
    decimal.finish(negative, whole)
}

fn parse_exponent(text: &[u8]) -> Result<i64, NumberError> {
    let [b'e' | b'E', digits @ ..] = text else { return Ok(0) };
    let text = std::str::from_utf8(digits).map_err(|_| NumberError::Syntax)?;
    let exponent: i64 = text.parse().map_err(|_| NumberError::Syntax)?;
    if exponent.abs() > 10_000 { Err(NumberError::OutOfRange) } else { Ok(exponent) }
}

/// Collects digits up to the scale and rounds on the first one after it.
struct DecimalReader {
    value: i128,
    kept: i64,
    round_up: bool,
    bound: i128,
    scale: i64,
}

impl DecimalReader {
    fn new(precision: u8, scale: i8) -> DecimalReader {
        let digits = u32::from(precision).min(DECIMAL_DIGITS_MAX);
        DecimalReader { value: 0, kept: 0, round_up: false, bound: 10i128.pow(digits), scale: i64::from(scale) }
    }

    /// Takes the next digit of a number with `whole` digits before its point.
    fn push(&mut self, digit: u8, whole: i64) -> Result<(), NumberError> {
        let wanted = whole + self.scale;
        if self.kept < wanted {
            self.append(digit)?;
        } else if self.kept == wanted {
            self.round_up = digit >= 5;
        }
        self.kept += 1;
        Ok(())
    }

    fn append(&mut self, digit: u8) -> Result<(), NumberError> {
        let next = self.value.checked_mul(10).and_then(|value| value.checked_add(i128::from(digit)));
        self.value = next.filter(|value| *value < self.bound).ok_or(NumberError::OutOfRange)?;
        Ok(())
    }

    fn finish(mut self, negative: bool, whole: i64) -> Result<i128, NumberError> {
        for _ in self.kept..(whole + self.scale) {
            if self.value == 0 {
                break;
            }
            self.append(0)?;
        }
        if self.round_up {
            self.value += 1;
            if self.value >= self.bound {
                return Err(NumberError::OutOfRange);
            }
        }
        Ok(if negative { -self.value } else { self.value })
    }
}

/// Reads Postgres' binary numeric as a decimal of `scale`.
pub fn parse_numeric_binary(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, NumberError> {
    let mut words = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let mut next = || words.next().ok_or(NumberError::Syntax);
    let (count, weight, sign, _display_scale) = (next()?, next()? as i16, next()?, next()?);
    if bytes.len() != 8 + 2 * usize::from(count) {
        return Err(NumberError::Syntax);
    }
    match sign {
        NUMERIC_POSITIVE | NUMERIC_NEGATIVE => {}
        NUMERIC_NAN | 0xD000 | 0xF000 => return Err(NumberError::OutOfRange),
        _ => return Err(NumberError::Syntax),
    }
    let mut decimal = DecimalReader::new(precision, scale);
    let whole = (i64::from(weight) + 1) * 4;
    for _ in 0..count {
        let group = next()?;
        if group > 9999 {
            return Err(NumberError::Syntax);
        }
        for divisor in [1000, 100, 10, 1] {
            decimal.push((group / divisor % 10) as u8, whole)?;
        }
    }
    decimal.finish(sign == NUMERIC_NEGATIVE, whole)
}

/// The text of a binary numeric, for targets that are not decimals.
pub fn numeric_binary_text(bytes: &[u8]) -> Result<String, NumberError> {
    if bytes.get(4..6) == Some(&NUMERIC_NAN.to_be_bytes()) {
        return Ok("NaN".into());
    }
    let display_scale = bytes.get(6..8).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]));
    let scale = display_scale.min(30) as i8;
    let value = parse_numeric_binary(bytes, DECIMAL_DIGITS_MAX as u8, scale)?;
    let mut out = BytesMut::new();
    put_decimal(&mut out, value, scale);
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Reads an integer; surrounding blanks are allowed.
pub fn parse_integer(text: &[u8]) -> Result<i64, NumberError> {
    let text = text.trim_ascii();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return Err(NumberError::Syntax);
    }
    let mut value = 0i64;
    let mut overflow = false;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(NumberError::Syntax);
        }
        // Collected below zero, so that the least value fits.
        match value.checked_mul(10).and_then(|v| v.checked_sub(i64::from(digit))) {
            Some(next) => value = next,
            None => overflow = true,
        }
    }
    if overflow {
        return Err(NumberError::OutOfRange);
    }
    if negative { Ok(value) } else { value.checked_neg().ok_or(NumberError::OutOfRange) }
}

/// Reads a float as Postgres does: decimal notation, `NaN`, `Infinity`, `inf`. There is one NaN, without a sign.
pub fn parse_float(text: &[u8]) -> Result<f64, NumberError> {
    let text = std::str::from_utf8(text).map_err(|_| NumberError::Syntax)?.trim();
    let value: f64 = text.parse().map_err(|_| NumberError::Syntax)?;
    if value.is_infinite() && !text.to_ascii_lowercase().contains("inf") {
        return Err(NumberError::OutOfRange);
    }
    Ok(if value.is_nan() { f64::NAN } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap_or_default()
    }

    fn binary(value: i128, scale: i8) -> String {
        let mut out = BytesMut::new();
        put_numeric_binary(&mut out, value, scale);
        out.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Golden values from PostgreSQL 15's `float8out` and `float4out`.
    #[test]
    fn floats_read_as_in_postgres() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00001234, "1.234e-05"),
            (-1.5e300, "-1.5e+300"),
            (1234.5678, "1234.5678"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(|out| put_float8(out, value)), expected);
        }
        for (value, expected) in [(1e5f32, "100000"), (1e6, "1e+06"), (0.1, "0.1"), (16777216.0, "1.6777216e+07")] {
            assert_eq!(text(|out| put_float4(out, value)), expected);
        }
    }

    #[test]
    fn decimals_read_as_in_postgres() {
        for (value, scale, expected) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-5, 2, "-0.05"),
            (123456, 2, "1234.56"),
            (7, -3, "7000"),
            (i128::from(u64::MAX) * 1000, 3, "18446744073709551615.000"),
        ] {
            assert_eq!(text(|out| put_decimal(out, value, scale)), expected);
        }
    }

    /// Golden bytes from PostgreSQL 15's `numeric_send`.
    #[test]
    fn numeric_binary_matches_postgres() {
        for (value, scale, expected) in [
            (0, 0, "0000000000000000"),
            (0, 2, "0000000000000002"),
            (1, 0, "00010000000000000001"),
            (123456, 2, "000200000000000204d215e0"),
            (-10000, 0, "00010001400000000001"),
            (1, 4, "0001ffff000000040001"),
            (5, 2, "0001ffff0000000201f4"),
            (12345678, 0, "000200010000000004d2162e"),
        ] {
            assert_eq!(binary(value, scale), expected, "{value} scale {scale}");
        }
    }

    #[test]
    fn numeric_binary_round_trips() {
        let mut seed = 42u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let scale = (seed >> 60) as i8;
            let value = i128::from(seed as i64 >> (seed >> 58)) * i128::from((seed >> 40) as u32 % 1000 + 1);
            let mut out = BytesMut::new();
            put_numeric_binary(&mut out, value, scale);
            assert_eq!(parse_numeric_binary(&out, 38, scale), Ok(value), "{value} scale {scale}");
            let text = text(|out| put_decimal(out, value, scale));
            assert_eq!(parse_decimal(text.as_bytes(), 38, scale), Ok(value), "{text}");
            assert_eq!(numeric_binary_text(&out), Ok(text));
        }
    }

    #[test]
    fn decimals_round_half_away_from_zero() {
        assert_eq!(parse_decimal(b"1.005", 12, 2), Ok(101));
        assert_eq!(parse_decimal(b"-1.005", 12, 2), Ok(-101));
        assert_eq!(parse_decimal(b"1.0049", 12, 2), Ok(100));
        assert_eq!(parse_decimal(b" 12e3 ", 12, 2), Ok(1_200_000));
        assert_eq!(parse_decimal(b"12e-3", 12, 2), Ok(1));
        assert_eq!(parse_decimal(b".5", 12, 0), Ok(1));
        assert_eq!(parse_decimal(b"5.", 12, 0), Ok(5));
        assert_eq!(parse_decimal(b"0.001", 12, 0), Ok(0));
        assert_eq!(parse_decimal(b"9999999999.995", 12, 2), Err(NumberError::OutOfRange));
        assert_eq!(parse_decimal(b"1e40", 38, 0), Err(NumberError::OutOfRange));
        for bad in [&b""[..], b"-", b".", b"1.2.3", b"1e", b"abc", b"1 2", b"e5"] {
            assert_eq!(parse_decimal(bad, 12, 2), Err(NumberError::Syntax), "{bad:?}");
        }
    }

    #[test]
    fn integers_know_their_bounds() {
        assert_eq!(parse_integer(b" -9223372036854775808 "), Ok(i64::MIN));
        assert_eq!(parse_integer(b"9223372036854775808"), Err(NumberError::OutOfRange));
        assert_eq!(parse_integer(b"+7"), Ok(7));
        assert_eq!(parse_integer(b"1.5"), Err(NumberError::Syntax));
        assert_eq!(text(|out| put_integer(out, i64::MIN)), "-9223372036854775808");
        assert_eq!(text(|out| put_padded(out, 7, 6)), "000007");
        assert_eq!(text(|out| put_padded(out, 1234567, 6)), "1234567");
        assert_eq!(text(|out| put_padded(out, 10, 2)), "10");
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut seed = 7u64;
        for length in (0..24).cycle().take(20_000) {
            let mut bytes = Vec::new();
            for _ in 0..length {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                bytes.push(if length % 2 == 0 {
                    (seed >> 56) as u8
                } else {
                    b"0123456789.eE+-"[(seed >> 40) as usize % 15]
                });
            }
            let _ = parse_numeric_binary(&bytes, 38, 6);
            let _ = numeric_binary_text(&bytes);
            let _ = parse_decimal(&bytes, 20, 3);
            let _ = (parse_integer(&bytes), parse_float(&bytes));
        }
    }
}
