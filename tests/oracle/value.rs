//! Values in the very text that PostgreSQL prints for them (UTC, ISO), so that what was sent can be
//! compared with what is read.

use fastrand::Rng;

/// What a small column may hold.
#[derive(Clone, Debug)]
pub enum Small {
    /// One of these.
    OneOf(&'static [&'static str]),
    /// NULL, or one of these.
    Nullable(&'static [&'static str]),
    /// A jsonb object.
    Json,
    /// A moment of no consequence.
    Moment,
}

/// Numerics that are equal to `=` and not to a user are among them.
pub const NUMERICS: Small =
    Small::Nullable(&["1.0", "1.00", "0", "-0.10", "NaN", "12345678901234567890.123456789"]);
/// Negative zero is among them.
pub const FLOATS: Small = Small::OneOf(&["0", "-0", "0.1", "-1.5", "1e+300", "NaN", "Infinity"]);
/// The empty text is not NULL.
pub const TEXTS: Small =
    Small::Nullable(&["", " ", "plain", "it's", "back\\slash", "$1", "naïve – 日本語 🙂", "tab\there"]);
/// Arrays with what needs quotes in them.
pub const ARRAYS: Small = Small::Nullable(&["{}", "{a,b}", "{\"b c\",NULL}", "{\"\"}", "{ä}"]);

impl Small {
    /// A random value; `None` is NULL.
    pub fn random(&self, rng: &mut Rng) -> Option<String> {
        match self {
            Self::OneOf(values) => rng.choice(*values).map(|&v| v.to_owned()),
            Self::Nullable(values) if rng.u8(..5) > 0 => rng.choice(*values).map(|&v| v.to_owned()),
            Self::Nullable(_) => None,
            // As jsonb prints it: shorter keys first.
            Self::Json => {
                Some(format!("{{\"n\": {}, \"tag\": \"ä\", \"deep\": [1, 2.50, null]}}", rng.u32(..)))
            }
            Self::Moment => Some(Moment::random(rng).text(0)),
        }
    }
}

/// A random point of 2025 (rarely of 2023), between 06:00 and 18:59 UTC.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    micros: u32,
}

impl Moment {
    /// Rarely before 2025, where plans of these tests have only the default partition.
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            year: if rng.u8(..50) == 0 { 2023 } else { 2025 },
            month: rng.u32(1..=12),
            day: rng.u32(1..=28),
            hour: rng.u32(6..19),
            minute: rng.u32(..60),
            // Not divisible by ten, for PostgreSQL prints no trailing zeros.
            micros: rng.u32(10_000..100_000) * 10 + rng.u32(1..10),
        }
    }

    /// As timestamptz prints it in UTC, this many hours (at most five) later.
    pub fn text(self, hours_later: u32) -> String {
        let Self { year, month, day, hour, minute, micros } = self;
        format!("{year}-{month:02}-{day:02} {:02}:{minute:02}:07.{micros:06}+00", hour + hours_later)
    }
}

/// A uuid that begins with its owner, so that one range of the key is one client's.
pub fn uuid(owner: u32, rng: &mut Rng) -> String {
    let (a, b) = (rng.u64(..), rng.u32(..));
    format!(
        "{owner:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 48,
        (a >> 36) & 0xFFF,
        b & 0xFFF,
        a & 0xFFFF_FFFF_FFFF
    )
}

/// A text long and dense enough to be stored out of line.
pub fn large(rng: &mut Rng) -> String {
    let bytes = rng.usize(2_500..9_000);
    let mut text = String::from("ünverändert: ");
    text.extend(std::iter::repeat_with(|| rng.alphanumeric()).take(bytes));
    text
}
