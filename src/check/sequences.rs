//! Sequences of identity columns that are near their end: the swap skips a part of what is left.

use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::hangs_on::{Sequence, integer_type, type_max};
use crate::pg::connect::Session;

/// Fewer values left than this are worth a note: the gap at the swap is then smaller than usual.
const FEW: f64 = 10_000.0;

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let identities =
        subject.definition.sequences.iter().filter(|sequence| sequence.identity && !sequence.cycle);
    for sequence in identities.filter(|sequence| !is_retyped(subject, sequence)) {
        let sql = "SELECT floor(CASE WHEN s.seqincrement > 0 THEN s.seqmax::numeric - l.last ELSE l.last - s.seqmin::numeric END \
                   / abs(s.seqincrement::numeric))::text::numeric::float8 FROM pg_sequence s, LATERAL \
                   (SELECT coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart)::numeric AS last) l \
                   WHERE s.seqrelid = to_regclass($1)";
        let row = session.query_opt(sql, &[&sequence.name.to_string()]).await;
        let row = row.doing("reading the sequences")?;
        let left: f64 = row.map_or(f64::MAX, |row| row.get(0));
        if left < FEW {
            findings.push(note(subject, sequence, left));
        }
    }
    Ok(findings)
}

/// With another type of the column, the sequence has another end.
fn is_retyped(subject: &Subject<'_>, sequence: &Sequence) -> bool {
    let green = subject.design.as_ref().map(|design| &design.green);
    green.is_none_or(|green| green.name_of(&sequence.column).is_none() || green.is_retyped(&sequence.column))
}

fn note(subject: &Subject<'_>, sequence: &Sequence, left: f64) -> Finding {
    let (name, column, data_type) = (sequence.name.plain(), sequence.column.plain(), &sequence.data_type);
    let what = format!(
        "identity sequence {name} ({data_type}) has {left:.0} values left, and the swap skips up to a tenth of them"
    );
    let of_column = subject.definition.column(&sequence.column).and_then(|of| integer_type(&of.data_type));
    let hint = if sequence.data_type == "bigint" {
        format!("alter sequence {} maxvalue (or minvalue) ...", sequence.name)
    } else if let Some(wider) = of_column.filter(|of| type_max(of) > type_max(data_type)) {
        format!("alter sequence {} as {wider}", sequence.name)
    } else {
        format!("give the column a wider type in the plan: columns: {{{column}: {{type: bigint}}}}")
    };
    Finding::table(CheckId::Sequences, &subject.definition.table.name, what, hint).into_note()
}
