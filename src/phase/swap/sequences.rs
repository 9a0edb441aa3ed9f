//! Sequences that a swap back leaves as the swap has made them: their values are beyond the type that they had.

use crate::error::Error;
use crate::event::Event;
use crate::run::Run;

use super::prepared;

/// Says which: what a client takes from them may not fit into blue's column.
///
/// # Errors
/// If the run has not been prepared. What cannot be read is not told: the swap is over.
pub(super) async fn tell(run: &Run<'_>) -> Result<(), Error> {
    let prepared = prepared(run)?;
    let client = run.journal.session();
    for sequence in prepared.lanes.iter().flat_map(|lane| lane.green.widened_sequences()) {
        let sql = "SELECT format_type(seqtypid, NULL) FROM pg_sequence WHERE seqrelid = to_regclass($1)";
        let Ok(Some(row)) = client.query_opt(sql, &[&sequence.name.to_string()]).await else { continue };
        let (is, was): (String, _) = (row.get(0), &sequence.data_type);
        if is != *was {
            let name = sequence.name.plain();
            let text = format!(
                "sequence {name} stays {is}: its value is beyond the limits that it had as {was}, and column {} of the table that is live \
                 again may not take it: setval('{}', ...) and alter sequence {name} as {was} minvalue {} maxvalue {}",
                sequence.column.plain(),
                name.replace('\'', "''"),
                sequence.min,
                sequence.max
            );
            run.cx.tell(&Event::Notice { text });
        }
    }
    Ok(())
}
