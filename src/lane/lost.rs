//! Columns that give nothing back, in the direction in which they have values: after a swap and its undoing, the target may
//! have values there that the source never got.

use super::{Lane, Mapped};

impl Lane {
    /// Gives each row of the target the source's values of its columns without an inverse, where it has others; `None` if
    /// there is no such column that the server computes. The target must have no other writer: what changes in the source
    /// meanwhile is in the stream, too.
    #[must_use]
    pub fn give_again(&self) -> Option<String> {
        let lost: Vec<&Mapped> = self
            .mapping
            .iter()
            .filter(|mapped| mapped.back.is_none() && mapped.transform.is_none())
            .collect();
        if lost.is_empty() {
            return None;
        }
        let numbered = || lost.iter().enumerate();
        let joined = |each: Vec<String>, between: &str| each.join(between);
        let keys = self.key_in_target();
        let selected = keys.iter().enumerate().map(|(at, key)| format!("{} AS projh_k{at}", key.value));
        let selected = selected.chain(numbered().map(|(at, of)| format!("{} AS projh_c{at}", of.expression)));
        let on = keys.iter().enumerate();
        let on = on.map(|(at, key)| format!("g.{} {} s.projh_k{at}", key.column, key.equals));
        Some(format!(
            "UPDATE {target} AS g SET {set} FROM (SELECT {selected} FROM {source}) AS s \
             WHERE {on} AND NOT record_image_eq(ROW({has}), ROW({gets}))",
            target = self.target,
            set = joined(numbered().map(|(at, of)| format!("{} = s.projh_c{at}", of.target)).collect(), ", "),
            selected = joined(selected.collect(), ", "),
            source = self.source_rows(),
            on = joined(on.collect(), " AND "),
            has = joined(numbered().map(|(_, of)| format!("g.{}", of.target)).collect(), ", "),
            gets = joined(numbered().map(|(at, _)| format!("s.projh_c{at}")).collect(), ", "),
        ))
    }
}
