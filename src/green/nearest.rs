//! Suggests a name for a misspelled one.

use crate::pg::Ident;

/// The name in `known` that was most likely meant by `wrong`.
pub fn nearest<'a>(wrong: &Ident, known: impl IntoIterator<Item = &'a Ident>) -> Option<&'a Ident> {
    let wrong = wrong.as_str().to_lowercase();
    let allowed = wrong.chars().count() / 3 + 1;
    known
        .into_iter()
        .map(|name| (strsim::levenshtein(&wrong, &name.as_str().to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
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
