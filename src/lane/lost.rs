//! What the way back loses, in the direction in which there are values: after a swap and its undoing, the target may have values
//! that the source never got.

use super::{Lane, Mapped};

impl Lane {
    /// Gives the target the source's values again where it has others that the source never got: of columns without an inverse,
    /// and where the inverse gives the value that the source has. `None` if there is no such column that the server computes.
    /// The target must have no other writer: what changes in the source meanwhile is in the stream, too.
    #[must_use]
    pub fn give_again(&self) -> Option<String> {
        let may_be_lost = |mapped: &&Mapped| {
            mapped.transform.is_none() && (mapped.back.is_none() || mapped.given_back().is_some())
        };
        let lost: Vec<&Mapped> = self.mapping.iter().filter(may_be_lost).collect();
        if lost.is_empty() {
            return None;
        }
        let (mut selected, mut on, mut set, mut differ) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (at, key) in self.key_in_target().iter().enumerate() {
            selected.push(format!("{} AS projh_k{at}", key.value));
            on.push(format!("g.{} {} s.projh_k{at}", key.column, key.equals));
        }
        for (at, Mapped { target, source, expression, back, .. }) in lost.into_iter().enumerate() {
            selected.push(format!("{expression} AS projh_c{at}"));
            let mut differs = format!("NOT record_image_eq(ROW(g.{target}), ROW(s.projh_c{at}))");
            if let Some(back) = back {
                selected.push(format!("{source} AS projh_s{at}"));
                differs += &format!(" AND record_image_eq(ROW({back}), ROW(s.projh_s{at}))");
            }
            set.push(format!("{target} = CASE WHEN {differs} THEN s.projh_c{at} ELSE g.{target} END"));
            differ.push(differs);
        }
        Some(format!(
            "UPDATE {} AS g SET {} FROM (SELECT {} FROM {}) AS s WHERE {} AND ({})",
            self.target,
            set.join(", "),
            selected.join(", "),
            self.source_rows(),
            on.join(" AND "),
            differ.join(" OR ")
        ))
    }
}
