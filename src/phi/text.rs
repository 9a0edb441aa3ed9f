//! The text of values that the stream has in PostgreSQL's binary form: what a cast to text gives in the server, with
//! TimeZone at UTC and DateStyle at ISO, as in every session of this program.

use std::fmt::Write as _;

/// How values of a type become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// The binary form is the text.
    Text,
    /// The same, without the blanks that pad it.
    Padded,
    /// The text after a byte with the version.
    Jsonb,
    /// true or false.
    Bool,
    /// A signed integer, big-endian.
    Integer,
    /// An unsigned integer, big-endian.
    Oid,
    /// 16 bytes.
    Uuid,
    /// Days since 2000.
    Date,
    /// Microseconds since 2000.
    Timestamp,
    /// The same, at UTC.
    Timestamptz,
    /// Digits to the base of 10,000.
    Numeric,
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

impl Codec {
    /// That of a type beneath all domains, by its name as SQL text; `None` if the type is not supported.
    #[must_use]
    pub fn of(base_type: &str) -> Option<Self> {
        let name = base_type.split('(').next().unwrap_or_default();
        let with_zone = base_type.contains("with time zone");
        let name = name.split(" COLLATE ").next().unwrap_or_default().trim();
        let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
        if base_type.contains('[') {
            return None;
        }
        match name {
            "text" | "character varying" | "varchar" | "json" | "name" => Some(Self::Text),
            "character" | "bpchar" => Some(Self::Padded),
            "jsonb" => Some(Self::Jsonb),
            "boolean" | "bool" => Some(Self::Bool),
            "smallint" | "integer" | "bigint" | "int2" | "int4" | "int8" => Some(Self::Integer),
            "oid" => Some(Self::Oid),
            "uuid" => Some(Self::Uuid),
            "date" => Some(Self::Date),
            "numeric" => Some(Self::Numeric),
            "timestamptz" => Some(Self::Timestamptz),
            name if name.starts_with("timestamp") && with_zone => Some(Self::Timestamptz),
            name if name.starts_with("timestamp") => Some(Self::Timestamp),
            name if name.rsplit('.').next() == Some("citext") => Some(Self::Text),
            _ => None,
        }
    }

    /// The text of a value; `None` if the bytes are not the binary form of one.
    #[must_use]
    pub fn text(self, value: &[u8]) -> Option<Vec<u8>> {
        let text = match self {
            Self::Text => return Some(value.to_vec()),
            Self::Padded => {
                let length = value.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
                return Some(value[..length].to_vec());
            }
            Self::Jsonb => return value.strip_prefix(&[1]).map(<[u8]>::to_vec),
            Self::Bool => if *value.first()? == 0 { "false" } else { "true" }.to_owned(),
            Self::Integer => integer(value)?.to_string(),
            Self::Oid => u32::from_be_bytes(value.try_into().ok()?).to_string(),
            Self::Uuid => uuid::Uuid::from_slice(value).ok()?.to_string(),
            Self::Date => date(i32::from_be_bytes(value.try_into().ok()?)),
            Self::Timestamp => timestamp(i64::from_be_bytes(value.try_into().ok()?), ""),
            Self::Timestamptz => timestamp(i64::from_be_bytes(value.try_into().ok()?), "+00"),
            Self::Numeric => numeric(value)?,
        };
        Some(text.into_bytes())
    }
}

/// SQL for the same text of a value, whatever DateStyle and TimeZone the session has. `value` is SQL of the type, or of a domain
/// of it; as JSON, dates and times are always in the ISO form, with a T between them.
#[must_use]
pub(crate) fn sql_text(base_type: &str, value: &str) -> String {
    let json = |value: String| {
        format!("pg_catalog.json_extract_path_text(pg_catalog.to_json({value}), VARIADIC '{{}}')")
    };
    let spaced = |value: String| format!("pg_catalog.replace({}, 'T', ' ')", json(value));
    match Codec::of(base_type) {
        Some(Codec::Date) => json(format!("{value}::pg_catalog.date")),
        Some(Codec::Timestamp) => spaced(format!("{value}::pg_catalog.timestamp")),
        Some(Codec::Timestamptz) => {
            let at_utc = format!("pg_catalog.timezone('UTC', {value}::pg_catalog.timestamptz)");
            let zone = format!(
                "CASE WHEN pg_catalog.isfinite({value}::pg_catalog.timestamptz) THEN '+00' ELSE '' END"
            );
            let text = format!("{} OPERATOR(pg_catalog.||) {zone}", spaced(at_utc));
            format!("pg_catalog.replace({text}, ' BC+00', '+00 BC')")
        }
        _ => format!("{value}::text"),
    }
}

fn integer(value: &[u8]) -> Option<i64> {
    match *value {
        [a, b] => Some(i16::from_be_bytes([a, b]).into()),
        [a, b, c, d] => Some(i32::from_be_bytes([a, b, c, d]).into()),
        _ => value.try_into().ok().map(i64::from_be_bytes),
    }
}

fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        days => {
            let (day, is_bc) = civil(days.into());
            if is_bc { format!("{day} BC") } else { day }
        }
    }
}

fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        micros => {
            let (mut text, is_bc) = civil(micros.div_euclid(DAY));
            let (time, fraction) = (micros.rem_euclid(DAY) / SECOND, micros.rem_euclid(SECOND));
            let _ = write!(text, " {:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60);
            if fraction != 0 {
                let digits = format!("{fraction:06}");
                let _ = write!(text, ".{}", digits.trim_end_matches('0'));
            }
            text.push_str(zone);
            if is_bc {
                text.push_str(" BC");
            }
            text
        }
    }
}

/// A day of the Gregorian calendar, as `YYYY-MM-DD`, counted from 2000-01-01; and whether it is before the year 1.
fn civil(days_since_2000: i64) -> (String, bool) {
    // Days since 0000-03-01, in eras of 400 years.
    let days = days_since_2000 + 730_425;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let is_bc = year <= 0;
    let year = if is_bc { 1 - year } else { year };
    (format!("{year:04}-{month:02}-{day:02}"), is_bc)
}

/// Number of digits, weight of the first one, sign and scale, 16 bits each; then the digits.
fn numeric(value: &[u8]) -> Option<String> {
    let mut words = value.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let (count, weight, sign, scale) = (words.next()?, words.next()? as i16, words.next()?, words.next()?);
    match sign {
        0xc000 => return Some("NaN".to_owned()),
        0xd000 => return Some("Infinity".to_owned()),
        0xf000 => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let digits: Vec<u16> = words.collect();
    if digits.len() != usize::from(count) {
        return None;
    }
    let digit = |place: i32| {
        let at = i32::from(weight) - place;
        usize::try_from(at).ok().and_then(|at| digits.get(at).copied()).unwrap_or(0)
    };
    let mut text = if sign == 0x4000 { "-".to_owned() } else { String::new() };
    if weight < 0 {
        text.push('0');
    }
    for place in (0..=i32::from(weight)).rev() {
        let _ = match place == i32::from(weight) {
            true => write!(text, "{}", digit(place)),
            false => write!(text, "{:04}", digit(place)),
        };
    }
    if scale > 0 {
        text.push('.');
        let end = text.len() + usize::from(scale);
        let mut place = -1;
        while text.len() < end {
            let _ = write!(text, "{:04}", digit(place));
            place -= 1;
        }
        text.truncate(end);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_their_names() {
        assert_eq!(Codec::of("character varying(11)"), Some(Codec::Text));
        assert_eq!(Codec::of("pg_catalog.bpchar(3) COLLATE \"C\""), Some(Codec::Padded));
        assert_eq!(Codec::of("timestamp(3) without time zone"), Some(Codec::Timestamp));
        assert_eq!(Codec::of("timestamp with time zone"), Some(Codec::Timestamptz));
        assert_eq!(Codec::of("public.citext"), Some(Codec::Text));
        assert_eq!(Codec::of("text[]"), None);
        assert_eq!(Codec::of("double precision"), None);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(date(0), "2000-01-01");
        assert_eq!(date(-1), "1999-12-31");
        assert_eq!(date(59), "2000-02-29");
        assert_eq!(date(-730_119), "0001-01-01");
        assert_eq!(date(-730_120), "0001-12-31 BC");
        assert_eq!(timestamp(-1, "+00"), "1999-12-31 23:59:59.999999+00");
    }
}
