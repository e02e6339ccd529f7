//! An exact sum of floats that can be retracted: order and batch boundaries never show in the result.
//!
//! A finite double is an integer multiple of 2⁻¹⁰⁷⁴, so a sum of them is a big integer. It is kept as 32-bit limbs in
//! `i64`s whose upper half collects carries, as the small superaccumulator of R. Neal, "Fast exact summation using
//! small and large superaccumulators", arXiv 1505.05571 — but sparse: only the window of limbs that was touched.
//!
//! ```text
//! value = Σ limbs[i] · 2^(32·(base+i) − 1074)
//! ```
//! NaNs and infinities are counted apart, so they can be retracted too. The result is the exact sum rounded once, to
//! nearest, ties to even; a sum of zeros is `+0.0`.

use crate::Result;
use crate::state::{Cursor, damaged};

/// Limbs that any sum of 2⁶³ doubles of any weight fits in: (2046 + 53 + 64 + 63 bits) / 32, and room for carries.
const LIMBS_MAX: usize = 72;
/// Additions between carry propagations: each adds less than 2³² to a limb, and a limb holds 2⁶³.
const ADDITIONS_MAX: u32 = 1 << 30;
const LIMB: u128 = 0xffff_ffff;

#[derive(Clone, Debug, Default)]
pub(crate) struct ExactSum {
    limbs: Vec<i64>,
    base: u16,
    additions: u32,
    /// Counts of NaN, +∞ and −∞; none for most sums.
    special: Option<Box<[i64; 3]>>,
}

impl ExactSum {
    /// Adds `weight · x`.
    pub fn add(&mut self, x: f64, weight: i64) {
        let bits = x.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as u32;
        if exponent == 0x7ff {
            let kind = if x.is_nan() { 0 } else { 1 + usize::from(x < 0.0) };
            self.special.get_or_insert_default()[kind] += weight;
            return;
        }
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, shift) = if exponent == 0 { (fraction, 0) } else { (fraction | (1 << 52), exponent - 1) };
        if mantissa == 0 {
            return;
        }
        let negative = x.is_sign_negative() != (weight < 0);
        if weight.unsigned_abs() == 1 {
            return self.add_shifted(mantissa, shift, negative);
        }
        let product = u128::from(mantissa) * u128::from(weight.unsigned_abs());
        self.add_shifted(product as u64, shift, negative);
        self.add_shifted((product >> 64) as u64, shift + 64, negative);
    }

    /// The exact sum, rounded once.
    pub fn value(&self) -> f64 {
        if let Some([nan, plus, minus]) = self.special.as_deref() {
            match (*nan != 0, *plus != 0, *minus != 0) {
                (false, false, false) => {}
                (false, true, false) => return f64::INFINITY,
                (false, false, true) => return f64::NEG_INFINITY,
                _ => return f64::NAN,
            }
        }
        let (digits, used, negative) = self.magnitude();
        let value = round(&digits[..used], u32::from(self.base) * 32);
        if negative { -value } else { value }
    }

    /// Adds `m · 2^(shift − 1074)`.
    fn add_shifted(&mut self, m: u64, shift: u32, negative: bool) {
        let at = self.window((shift / 32) as usize);
        let wide = u128::from(m) << (shift % 32);
        for (i, limb) in self.limbs[at..at + 3].iter_mut().enumerate() {
            let part = ((wide >> (32 * i)) & LIMB) as i64;
            *limb += if negative { -part } else { part };
        }
        self.additions += 1;
        if self.additions == ADDITIONS_MAX {
            self.propagate();
        }
    }

    /// Makes limbs `limb .. limb + 3` exist; returns the place of the first.
    fn window(&mut self, limb: usize) -> usize {
        if self.limbs.is_empty() {
            self.base = limb as u16;
        }
        let base = usize::from(self.base);
        if limb < base {
            self.limbs.splice(0..0, std::iter::repeat_n(0, base - limb));
            self.base = limb as u16;
        }
        let at = limb - usize::from(self.base);
        if self.limbs.len() < at + 3 {
            self.limbs.resize(at + 3, 0);
        }
        at
    }

    /// Brings every limb but the last into `[0, 2³²)` and the last into `[−2³¹, 2³¹)`, with no limb to spare: two's
    /// complement in base 2³², which is unique.
    fn propagate(&mut self) {
        self.additions = 0;
        let Some(mut last) = self.limbs.pop() else { return };
        let mut carry = 0;
        for limb in &mut self.limbs {
            let sum = *limb + carry;
            *limb = sum & LIMB as i64;
            carry = sum >> 32;
        }
        last += carry;
        while i64::from(last as i32) != last {
            self.limbs.push(last & LIMB as i64);
            last >>= 32;
        }
        while let Some(previous) = self.limbs.last()
            && i64::from(*previous as i32) >> 32 == last
        {
            last = i64::from(*previous as i32);
            self.limbs.pop();
        }
        if last != 0 || !self.limbs.is_empty() {
            self.limbs.push(last);
        }
    }

    /// Digits of `|sum|`, least significant first, how many of them may be other than 0, and the sign.
    fn magnitude(&self) -> ([u32; LIMBS_MAX], usize, bool) {
        let mut digits = [0; LIMBS_MAX];
        let mut carry: i64 = 0;
        let mut used = 0;
        while used < self.limbs.len() || (carry != 0 && carry != -1) {
            let sum = self.limbs.get(used).copied().unwrap_or(0) + carry;
            digits[used] = sum as u32;
            carry = sum >> 32;
            used += 1;
        }
        if carry == 0 {
            return (digits, used, false);
        }
        let mut borrow = true;
        for digit in &mut digits[..used] {
            let (flipped, overflow) = (!*digit).overflowing_add(u32::from(borrow));
            (*digit, borrow) = (flipped, overflow);
        }
        digits[used] = u32::from(borrow);
        (digits, used + 1, true)
    }

    /// Appends a canonical form: equal sums have equal bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut sum = self.clone();
        sum.propagate();
        let zeros = sum.limbs.iter().take_while(|limb| **limb == 0).count();
        let limbs = &sum.limbs[zeros..];
        out.push(limbs.len() as u8);
        out.push(if limbs.is_empty() { 0 } else { sum.base as u8 + zeros as u8 });
        limbs.iter().for_each(|limb| out.extend_from_slice(&limb.to_le_bytes()));
        let special = sum.special.as_deref().filter(|special| special.iter().any(|count| *count != 0));
        out.push(u8::from(special.is_some()));
        special.into_iter().flatten().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
    }

    pub fn decode(cursor: &mut Cursor<'_>) -> Result<ExactSum> {
        let (len, base) = (usize::from(cursor.u8()?), u16::from(cursor.u8()?));
        if len + usize::from(base) > LIMBS_MAX {
            return Err(damaged("a float sum has too many digits"));
        }
        let limbs = (0..len).map(|_| cursor.i64()).collect::<Result<Vec<i64>>>()?;
        if limbs.iter().any(|limb| limb.unsigned_abs() > u64::from(u32::MAX)) {
            return Err(damaged("a float sum has a digit out of range"));
        }
        let special = match cursor.u8()? {
            0 => None,
            _ => Some(Box::new([cursor.i64()?, cursor.i64()?, cursor.i64()?])),
        };
        Ok(ExactSum { limbs, base, additions: 0, special })
    }
}

/// `Σ digits[i] · 2^(32·i + shift − 1074)`, rounded to the nearest double, ties to even.
fn round(digits: &[u32], shift: u32) -> f64 {
    let Some(top) = digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
    let length = 32 * top as u32 + (32 - digits[top].leading_zeros()) + shift;
    if length <= 53 {
        return f64::from_bits(bits_at(digits, 0) << shift);
    }
    let dropped = length - 53;
    let (kept, rest) = match dropped.checked_sub(shift) {
        None => (bits_at(digits, 0) << (shift - dropped), 0),
        Some(from) => (bits_at(digits, from), from),
    };
    let mut mantissa = kept & ((1 << 53) - 1);
    let bit = |at: u32| (digits[(at / 32) as usize] >> (at % 32)) & 1 == 1;
    if rest > 0 && bit(rest - 1) {
        let sticky = digits[..((rest - 1) / 32) as usize].iter().any(|digit| *digit != 0)
            || (digits[((rest - 1) / 32) as usize] & ((1 << ((rest - 1) % 32)) - 1)) != 0;
        mantissa += u64::from(sticky || mantissa & 1 == 1);
    }
    // A mantissa that rounded up to 2^53 carries into the exponent, which is just what the format wants.
    let bits = (u64::from(dropped) << 52) + mantissa;
    if bits >= f64::INFINITY.to_bits() { f64::INFINITY } else { f64::from_bits(bits) }
}

/// 64 bits from bit `from` up.
fn bits_at(digits: &[u32], from: u32) -> u64 {
    let at = (from / 32) as usize;
    let digit = |i: usize| u128::from(digits.get(at + i).copied().unwrap_or(0)) << (32 * i);
    ((digit(0) | digit(1) | digit(2)) >> (from % 32)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift64*: a fixed, seeded sequence.
    fn next(state: &mut u64) -> u64 {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn sum(values: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        values.iter().for_each(|x| sum.add(*x, 1));
        sum.value()
    }

    #[test]
    fn known_sums() {
        assert_eq!(sum(&[]).to_bits(), 0);
        assert_eq!(sum(&[-0.0]).to_bits(), 0);
        assert_eq!(sum(&[1e300, 1.0, -1e300]), 1.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]), f64::MAX);
        assert_eq!(sum(&[-f64::MAX, -f64::MAX]), f64::NEG_INFINITY);
        assert_eq!(sum(&[5e-324, 5e-324]), 1e-323);
        assert_eq!(sum(&[f64::MIN_POSITIVE, -5e-324]), f64::MIN_POSITIVE - 5e-324);
        assert_eq!(sum(&[1.0, f64::EPSILON / 2.0]), 1.0, "a tie goes to even");
        assert_eq!(sum(&[1.0, f64::EPSILON / 2.0, 5e-324]), 1.0 + f64::EPSILON, "just over a tie goes up");
        assert_eq!(sum(&[1.0 + f64::EPSILON, f64::EPSILON / 2.0]), 1.0 + 2.0 * f64::EPSILON);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }

    #[test]
    fn one_value_is_itself() {
        let mut state = 42;
        for _ in 0..200_000 {
            let x = f64::from_bits(next(&mut state));
            if x.is_finite() && x != 0.0 {
                assert_eq!(sum(&[x]).to_bits(), x.to_bits(), "{x:e}");
            }
        }
    }

    #[test]
    fn two_values_sum_as_hardware_adds_them() {
        let mut state = 7;
        for _ in 0..200_000 {
            let a = f64::from_bits(next(&mut state));
            let near = next(&mut state) % 120;
            let b = f64::from_bits((a.to_bits() ^ next(&mut state) & !(0x7ff << 52)).wrapping_sub(near << 52));
            if a.is_finite() && b.is_finite() && a + b != 0.0 {
                assert_eq!(sum(&[a, b]).to_bits(), (a + b).to_bits(), "{a:e} + {b:e}");
            }
        }
    }

    /// Scaled integers: values k · 2⁻³⁰ with |k| < 2⁶⁰ sum exactly in i128, whose conversion to f64 rounds once.
    #[test]
    fn many_values_equal_integer_arithmetic_in_any_order_with_weights() {
        for seed in 1..=50u64 {
            let mut state = seed;
            let mut forward = ExactSum::default();
            let mut exact: i128 = 0;
            let mut added = vec![];
            for _ in 0..1000 {
                let k = (next(&mut state) as i64) >> (4 + next(&mut state) % 55);
                let k = (k as f64) as i64;
                let weight = [1, 1, -1, 3, -1_000_003][(next(&mut state) % 5) as usize];
                added.push((k as f64 / (1u64 << 30) as f64, weight));
                exact += i128::from(k) * i128::from(weight);
            }
            added.iter().for_each(|(x, w)| forward.add(*x, *w));
            let expected = exact as f64 / (1u64 << 30) as f64;
            assert_eq!(forward.value().to_bits(), expected.to_bits(), "seed {seed}");
            let mut backward = ExactSum::default();
            added.iter().rev().for_each(|(x, w)| backward.add(*x, *w));
            let bytes = |sum: &ExactSum| {
                let mut out = vec![];
                sum.encode(&mut out);
                out
            };
            assert_eq!(bytes(&forward), bytes(&backward), "seed {seed}");
            let encoded = bytes(&forward);
            let mut again = ExactSum::decode(&mut Cursor(&encoded)).unwrap();
            assert_eq!(again.value().to_bits(), expected.to_bits(), "seed {seed}");
            added.iter().for_each(|(x, w)| again.add(*x, -w));
            assert_eq!(again.value().to_bits(), 0, "seed {seed}");
            assert_eq!(bytes(&again), bytes(&ExactSum::default()).to_vec(), "seed {seed}");
        }
    }

    #[test]
    fn specials_retract() {
        let mut sum = ExactSum::default();
        sum.add(2.5, 1);
        sum.add(f64::NAN, 2);
        assert!(sum.value().is_nan());
        sum.add(f64::NAN, -2);
        sum.add(f64::NEG_INFINITY, 1);
        assert_eq!(sum.value(), f64::NEG_INFINITY);
        sum.add(f64::NEG_INFINITY, -1);
        assert_eq!(sum.value(), 2.5);
    }

    #[test]
    fn carries_survive_propagation() {
        let mut sum = ExactSum::default();
        for i in 0..10_000 {
            sum.add(f64::from(u32::MAX) * 1e3, -1);
            if i % 100 == 0 {
                sum.propagate();
            }
        }
        assert_eq!(sum.value(), -f64::from(u32::MAX) * 1e7);
    }
}
