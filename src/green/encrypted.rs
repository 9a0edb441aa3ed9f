//! Columns of green that are encrypted: what they are, and what on blue cannot go with ciphertext.

use crate::hangs_on::{
    BlindIndex, Column, Conflict, Definition, Encrypted, Green, GreenColumn, ReplicaIdentityKind, Source,
};
use crate::pg::Ident;
use crate::pg::sql::lexer::mentions;
use crate::phi::{Codec, Format, KeyId};
use crate::plan::{ColumnChange, TablePlan};

/// The type of encrypted values.
const BYTES: &str = "bytea";

/// What becomes of a column that is encrypted: the encrypted one, and those of its blind index and its tag, except for those that
/// a column of encrypted values has already.
pub(super) fn columns(
    definition: &Definition,
    plan: &TablePlan,
    column: &Column,
    change: &ColumnChange,
) -> Vec<GreenColumn> {
    let ColumnChange::Encrypt { into, format, key, previous, bound_to, blind_index, index_key, tag, .. } =
        change
    else {
        return Vec::new();
    };
    let blue = column.name.clone();
    let of = |name: Ident, source| GreenColumn { name, data_type: BYTES.to_owned(), source, default: None };
    let name = into.clone().unwrap_or_else(|| blue.clone());
    let code = |(name, key): (Ident, KeyId), tag_of| (name, BlindIndex { of: blue.clone(), key, tag_of });
    let index = blind_index.clone().zip(*index_key).map(|index| code(index, None));
    let tag = tag.clone().map(|tag| code(tag, Some(name.clone())));
    let is_kept = |(name, _): &(Ident, BlindIndex)| {
        is_bytes(column) && definition.column(name).is_some() && !plan.columns.contains_key(name)
    };
    let (kept, added): (Vec<_>, Vec<_>) = index.into_iter().chain(tag).partition(is_kept);
    let encrypted = Encrypted {
        blue: blue.clone(),
        format: *format,
        key: *key,
        previous: *previous,
        bound_to: bound_to.clone(),
        kept,
    };
    let added = added.into_iter().map(|(name, code)| of(name, Source::BlindIndex(code)));
    std::iter::once(of(name, Source::Encrypted(encrypted))).chain(added).collect()
}

/// What in the plan or on blue does not go with a column's encryption.
pub(super) fn conflicts(green: &Green, plan: &TablePlan) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (name, change) in &plan.columns {
        let (Some(column), ColumnChange::Encrypt { .. }) = (green.blue.column(name), change) else {
            continue;
        };
        conflicts.extend(of_type(column, change));
        conflicts.extend(of_column(green, column));
        conflicts.extend(of_uses(green, plan, column));
    }
    conflicts.extend(of_kept(green));
    conflicts.extend(of_row_identity(green, plan));
    conflicts.extend(of_partitions(green, plan));
    conflicts
}

/// A rotation changes keys: that it made a partitioned table a plain one would be a surprise.
fn of_partitions(green: &Green, plan: &TablePlan) -> Option<Conflict> {
    let is_rotated =
        |change: &ColumnChange| matches!(change, ColumnChange::Encrypt { previous: Some(_), .. });
    let is_rotation = plan.columns.values().any(is_rotated);
    (is_rotation && green.partition.is_none() && green.blue.table.is_partitioned()).then(|| {
        let what = "the table is partitioned, and a rotation without `partition_by` would make it a plain table";
        let hint = "change the keys of its values in place, with `projh-bluegreen phi rekey`; or add `partition_by`, with another `name` or `schema` \
                    of the partitions than they have now";
        Conflict::new(what.to_owned(), hint)
    })
}

/// What blue has already under the name of a blind index, or of a tag, and cannot be one.
fn of_kept(green: &Green) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for column in &green.columns {
        let Source::Encrypted(how) = &column.source else { continue };
        for (name, code) in &how.kept {
            let what = code.what();
            let anew = format!("`{}: drop` under `columns`, so that it is computed anew", name.in_plan());
            let has = green.blue.column(name).filter(|has| has.generated.is_some() || !is_bytes(has));
            if let Some(has) = has {
                let is = if has.generated.is_some() { "is generated" } else { "is not bytea" };
                let what = format!("column {name} {is}, so it is not the {what} of column {}", how.blue);
                conflicts.push(Conflict::new(what, format!("another name; or {anew}")));
            } else if code.tag_of.as_ref().is_some_and(|of| *of != how.blue) {
                let what = format!(
                    "{what} {name} binds values to the name of column {}, which becomes {}",
                    how.blue, column.name
                );
                conflicts.push(Conflict::new(what, format!("leave out `into`; or {anew}")));
            }
        }
    }
    conflicts
}

/// Whether a column has encrypted values already, or an HMAC of them.
fn is_bytes(column: &Column) -> bool {
    column.base_type.trim_start_matches("pg_catalog.") == BYTES
}

fn of_type(column: &Column, change: &ColumnChange) -> Option<Conflict> {
    let ColumnChange::Encrypt { previous, one_way, .. } = change else { return None };
    let (name, plain) = (&column.name, column.name.in_plan());
    if is_bytes(column) {
        let what = format!(
            "column {name} is bytea, so its values are encrypted already, and the way back is not known"
        );
        let hint = format!(
            "{plain}: {{encrypt: {{..., previous: <id of their key>}}}}, or `one_way: true` beside `encrypt`"
        );
        return (previous.is_none() && !one_way).then(|| Conflict::new(what, hint));
    }
    if previous.is_some() {
        let what = format!("column {name} has type {}, so its values have no previous key", column.data_type);
        return Some(Conflict::new(what, "take `previous` out: it is for bytea columns of encrypted values"));
    }
    let what = format!("column {name} of type {} cannot be encrypted", column.data_type);
    let hint = "supported are text, varchar, char, citext, json, jsonb, boolean, integers, numeric, uuid, date, timestamp, and \
                bytea that is encrypted already: change its type to text in a migration before";
    Codec::of(&column.base_type).is_none().then(|| Conflict::new(what, hint))
}

/// Properties of the column itself.
fn of_column(green: &Green, column: &Column) -> Vec<Conflict> {
    let (name, table) = (&column.name, green.live().plain());
    let mut conflicts = Vec::new();
    let mut refuse = |what: String, hint: String| conflicts.push(Conflict::new(what, hint));
    if column.generated.is_some() {
        refuse(
            format!("column {name} is generated: the server computes it, and cannot encrypt it"),
            "drop it".to_owned(),
        );
    }
    if column.identity.is_some() {
        refuse(
            format!("column {name} is an identity, and cannot be encrypted"),
            "encrypt another column".to_owned(),
        );
    }
    if column.default.is_some() {
        refuse(
            format!("column {name} has a default, which would be plaintext in an encrypted column"),
            format!(
                "alter table {table} alter column {name} drop default, and have clients give every value"
            ),
        );
    }
    conflicts.extend(of_domain(&table, column));
    conflicts
}

/// What the column's domain adds to its type: the encrypted column is bytea, and would lose it.
fn of_domain(table: &str, column: &Column) -> Vec<Conflict> {
    let (name, of_type) = (&column.name, &column.data_type);
    let Some(domain) = &column.domain else { return Vec::new() };
    let alter = format!("alter table {table} alter column {name}");
    let to_base = format!("type {}", column.base_type);
    let mut conflicts = Vec::new();
    if domain.has_default && column.default.is_none() {
        let what = format!(
            "column {name} has the default of its domain {of_type}, which would be plaintext in an encrypted column"
        );
        conflicts.push(Conflict::new(what, format!("{alter} {to_base}, and have clients give every value")));
    }
    if let Some(of) = domain.not_null.as_ref().filter(|_| !column.not_null) {
        let what =
            format!("column {name} is NOT NULL only by domain {of}, and its encrypted column would not be");
        conflicts.push(Conflict::new(what, format!("{alter} set not null")));
    }
    conflicts.extend(domain.checks.iter().map(|check| {
        let what = format!(
            "CHECK {check} is about the content of column {name}, which the server cannot read any more"
        );
        Conflict::new(what, format!("{alter} {to_base}, and check values before they are encrypted"))
    }));
    conflicts
}

/// What else names the column.
fn of_uses(green: &Green, plan: &TablePlan, column: &Column) -> Vec<Conflict> {
    let (name, table) = (&column.name, green.live().plain());
    let mut conflicts = Vec::new();
    let mut refuse = |what: String, hint: String| conflicts.push(Conflict::new(what, hint));
    let is_kept = |index: &&crate::hangs_on::Index| !plan.drop_indexes.contains(&index.name);
    for index in green.blue.indexes.iter().filter(|index| index.columns.contains(name)).filter(is_kept) {
        if index.primary {
            refuse(
                format!(
                    "column {name} is in the primary key, by which rows are found, and cannot be encrypted"
                ),
                "encrypt another column, or make a key without it first".to_owned(),
            );
            continue;
        }
        refuse(
            format!("index {} is on column {name}, of which the new table has only ciphertext", index.name),
            format!(
                "drop_indexes: [{}]; for equality look-ups `blind_index: true`, with an index on {}_blind_index",
                index.name.in_plan(),
                name.as_str()
            ),
        );
    }
    for check in green.blue.checks.iter().filter(|check| check.columns.contains(name)) {
        refuse(
            format!(
                "CHECK {} is about the content of column {name}, which the server cannot read any more",
                check.name
            ),
            format!(
                "alter table {table} drop constraint {}, and check values before they are encrypted",
                check.name
            ),
        );
    }
    for key in green.blue.foreign_keys.iter().filter(|key| key.columns.contains(name)) {
        refuse(
            format!("foreign key {} has column {name}, of which the new table has only ciphertext", key.name),
            format!("alter table {table} drop constraint {}", key.name),
        );
    }
    for policy in green.blue.policies.iter().filter(|policy| policy.columns.contains(name)) {
        refuse(
            format!("policy {} reads column {name}, of which the new table has only ciphertext", policy.name),
            format!("alter policy {} on {table} so that it reads other columns", policy.name),
        );
    }
    for statistics in green.blue.statistics.iter().filter(|statistics| statistics.reads.contains(name)) {
        refuse(
            format!(
                "statistics {} are of column {name}, of which the new table has only ciphertext",
                statistics.name.plain()
            ),
            format!("drop statistics {}", statistics.name),
        );
    }
    for (other, change) in &plan.columns {
        let ColumnChange::Change { using: Some(using), .. } = change else { continue };
        if mentions(using, name.as_str()) {
            refuse(
                format!(
                    "`using` of column {other} reads column {name}, which is encrypted outside of the server"
                ),
                "migrate the one before the other".to_owned(),
            );
        }
    }
    conflicts
}

/// The associated data of `aes-gcm`, and a tag, have the row's key as text, from the stream and from the server alike.
fn of_row_identity(green: &Green, plan: &TablePlan) -> Vec<Conflict> {
    let is_bound = plan.columns.values().any(|change| {
        matches!(
            change,
            ColumnChange::Encrypt { format: Format::AesGcm, .. }
                | ColumnChange::Encrypt { previous: Some((Format::AesGcm, _)), .. }
                | ColumnChange::Encrypt { tag: Some(_), .. }
        )
    });
    if is_bound
        && !plan.replica_identity_full
        && green.blue.table.replica_identity.kind != ReplicaIdentityKind::Full
    {
        let what = "aes-gcm, or a tag, binds values to the row's key, and the stream leaves out large unchanged values of rows whose key changes";
        let hint = "`format: pgp` without `tag`, or add `replica_identity: full` to the table in the plan";
        return vec![Conflict::new(what.to_owned(), hint)];
    }
    let Some(key) = green
        .blue
        .usable_key(plan.replica_identity_full, plan.primary_key.as_deref())
        .ok()
        .filter(|_| is_bound)
    else {
        return Vec::new();
    };
    let of_key = key.columns.iter().filter_map(|column| green.blue.column(&column.name));
    let is_other = |column: &&Column| {
        let is_copied = green.columns.iter().any(|of| of.source == Source::Same(column.name.clone()));
        !is_copied || Codec::of(&column.base_type).is_none()
    };
    let refuse = |column: &Column| {
        let what = format!(
            "column {} of the key has type {}, or changes: it cannot be part of what aes-gcm, or a tag, binds values to",
            column.name, column.data_type
        );
        Conflict::new(what, "`format: pgp` without `tag`, or migrate the key first")
    };
    let bound_to = plan.columns.values().filter_map(|change| match change {
        ColumnChange::Encrypt { bound_to, .. } => bound_to.as_deref(),
        _ => None,
    });
    let no_key = |name: &&Ident| !key.columns.iter().any(|column| column.name == **name);
    let unknown = bound_to.flatten().filter(no_key).map(|name| {
        let what = format!("`bound_to` has {name}, which is not in the key of the table");
        Conflict::new(what, "leave out the column: values are bound to columns of the key")
    });
    of_key.filter(is_other).map(refuse).chain(unknown).collect()
}
