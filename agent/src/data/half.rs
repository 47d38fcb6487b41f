//! IEEE 754 binary16.

/// Rounds to the nearest, ties to even; what is too large becomes infinite.
pub(super) fn from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = value.abs();
    if value.is_nan() {
        return sign | 0x7e00;
    }
    // 65520 lies half-way between the largest half and the next power of two.
    if magnitude >= 65520.0 {
        return sign | 0x7c00;
    }
    if magnitude < 2f32.powi(-14) {
        // Subnormal: a multiple of 2^-24, and 1024 of them are the smallest normal number.
        return sign | (magnitude * 2f32.powi(24)).round_ties_even() as u16;
    }
    let exponent = ((bits >> 23) & 0xff) - 112;
    let fraction = bits & 0x7f_ffff;
    let kept = (exponent << 10) | (fraction >> 13);
    let rest = fraction & 0x1fff;
    let up = rest > 0x1000 || (rest == 0x1000 && kept & 1 == 1);
    // A carry out of the fraction moves into the exponent, as it should.
    sign | (kept + u32::from(up)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_even() {
        for (value, bits) in [
            (0.0, 0x0000),
            (-0.0, 0x8000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65504.0, 0x7bff),
            (65519.0, 0x7bff),
            (65520.0, 0x7c00),
            (5.960_464_5e-8, 0x0001),
            (0.333_333_34, 0x3555),
            (1.0 + 1.0 / 2048.0, 0x3c00),
            (1.0 + 3.0 / 2048.0, 0x3c02),
            (2047.0 / 2048.0 + 1.0, 0x4000),
        ] {
            assert_eq!(from_f32(value), bits, "{value}");
        }
    }
}
