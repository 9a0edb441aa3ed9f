//! The nearest right word to a wrong one.

use crate::pg::Ident;

/// The name among `known` that is likely meant by `wrong`.
pub fn nearest<'a>(wrong: &Ident, known: impl IntoIterator<Item = &'a Ident>) -> Option<&'a Ident> {
    let wrong = wrong.as_str().to_lowercase();
    let allowed = wrong.chars().count() / 3 + 1;
    known
        .into_iter()
        .map(|name| (distance(&wrong, &name.as_str().to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein's distance.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_a_stranger_is_not() {
        let known = [Ident::from("start_time"), Ident::from("status")];
        assert_eq!(nearest(&"strat_time".into(), &known), Some(&known[0]));
        assert_eq!(nearest(&"STATUS".into(), &known), Some(&known[1]));
        assert_eq!(nearest(&"provider".into(), &known), None);
    }
}
