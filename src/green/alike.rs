//! Which partitions of green take exactly the rows that one of blue takes: what that one has of its own can follow.

use tokio_postgres::Client;

use super::design::strategy;
use crate::error::{Doing, Error};
use crate::hangs_on::Definition;
use crate::pg::sql::lexer;
use crate::pg::{Ident, list};
use crate::plan::TablePlan;
use crate::plan::partition::Leaf;

/// The lists of values in a bound: lower and upper, or those of a list, or modulus and remainder.
type Bound<'a> = Vec<Vec<&'a str>>;

/// Looks for them if a partition of blue has foreign keys of its own. Both tables have to be partitioned by the same column, of
/// the same type, in the same way; a default partition has no bounds.
///
/// # Errors
/// If the server rejects a bound, or the connection was lost.
pub(crate) async fn find(
    client: &Client,
    plan: &TablePlan,
    definition: &mut Definition,
    leaves: &[Leaf],
) -> Result<(), Error> {
    let Some(by) = plan.partition_by.as_ref().filter(|by| !plan.columns.contains_key(&by.column)) else {
        return Ok(());
    };
    let key = format!("{} ({})", strategy(&by.into), by.column.plain());
    let Some(column) = definition.column(&by.column).filter(|_| definition.table.partition_key == Some(key))
    else {
        return Ok(());
    };
    let data_type = column.base_type.clone();
    let mut ours: Vec<(&Ident, Vec<String>)> = Vec::new();
    for partition in definition.partitions.iter_mut().filter(|of| of.has_keys && of.top && of.leaf) {
        if ours.is_empty() {
            for leaf in leaves {
                ours.push((&leaf.name, canonical(client, &leaf.bound, &data_type).await?));
            }
        }
        let theirs = canonical(client, &partition.bound, &data_type).await?;
        let alike = ours.iter().find(|(_, bound)| *bound == theirs && !theirs.is_empty());
        partition.alike = alike.map(|(name, _)| (*name).clone());
    }
    Ok(())
}

/// A bound as the server writes its values; empty if it has none, or is not understood.
async fn canonical(client: &Client, bound: &str, data_type: &str) -> Result<Vec<String>, Error> {
    let mut canonical = Vec::new();
    for values in read(bound) {
        let is_hash = bound.starts_with("FOR VALUES WITH");
        let is_limit =
            |value: &&str| ["minvalue", "maxvalue"].iter().any(|limit| value.eq_ignore_ascii_case(limit));
        if is_hash || values.iter().all(is_limit) {
            canonical.push(values.join(",").to_lowercase());
            continue;
        }
        let typed = list(values.iter().map(|value| format!("(({value})::{data_type})::text")));
        let sql = format!("SELECT array(SELECT unnest(ARRAY[{typed}]) ORDER BY 1)::text");
        let row = client.query_one(&sql, &[]).await.doing("comparing the bounds of partitions")?;
        canonical.push(row.get(0));
    }
    Ok(canonical)
}

/// Splits a bound at its parentheses and commas.
fn read(bound: &str) -> Bound<'_> {
    let mut lists: Bound<'_> = Vec::new();
    let (mut depth, mut from) = (0_u32, 0);
    for token in lexer::tokens(bound).unwrap_or_default() {
        let (opens, closes) = (token.is_symbol('('), token.is_symbol(')'));
        if depth == 1 && (closes || token.is_symbol(',')) {
            if let Some(values) = lists.last_mut() {
                values.push(bound[from..token.start].trim());
            }
            from = token.end;
        }
        if opens && depth == 0 {
            lists.push(Vec::new());
            from = token.end;
        }
        depth = if opens { depth + 1 } else { depth.saturating_sub(u32::from(closes)) };
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_bound_is_split_into_its_values() {
        assert_eq!(read("FOR VALUES FROM ('a,(') TO (MAXVALUE)"), [["'a,('"], ["MAXVALUE"]]);
        assert_eq!(read("FOR VALUES IN ('a', NULL, 3)"), [["'a'", "NULL", "3"]]);
        assert_eq!(read("FOR VALUES WITH (modulus 4, remainder 1)"), [["modulus 4", "remainder 1"]]);
        assert!(read("DEFAULT").is_empty());
    }
}
