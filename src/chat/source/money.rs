//! Decimal numbers as money, without going through a float's rounding. Pure.

/// Millionths: "4.99" is 4,990,000. None: no such number, negative, or too large.
pub(in crate::chat) fn decimal_micros(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return None;
    }
    let part: String = part.chars().chain("000000".chars()).take(6).collect();
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(part.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        for (text, expected) in [
            ("30", Some(30_000_000)),
            ("0.1", Some(100_000)),
            ("29.9900009", Some(29_990_000)),
            ("5.", Some(5_000_000)),
            ("", None),
            (".5", None),
            ("-1", None),
            ("+1", None),
            ("1e30", None),
            ("1.+5", None),
            ("18446744073709551615", None),
        ] {
            assert_eq!(decimal_micros(text), expected, "{text}");
        }
    }
}
