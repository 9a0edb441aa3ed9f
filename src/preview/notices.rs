//! What clients will notice of the swap, and after it.
//!
//! If `pg_stat_statements` can be read, it is searched for statements that will behave differently (`seen.rs`).

use tokio_postgres::Client;

use crate::error::{Doing, Error};
use crate::event::PreviewNotice;
use crate::hangs_on::{self, Column, Fate, Green, InboundKey, Source};
use crate::lifecycle::LaneDesign;
use crate::pg::{Ident, QName, list};
use crate::phase::row_types;
use crate::phi::Format;
use crate::plan::{Plan, TablePlan};

use super::estimate::Estimate;
use super::seen::{self, StatementStatistics};
use super::subject::Subject;

/// # Errors
/// If a query fails: no notice would mean that there is nothing to notice.
pub(super) async fn of(
    client: &Client,
    subject: &Subject<'_>,
    estimate: &Estimate,
) -> Result<Vec<PreviewNotice>, Error> {
    let mut notices = vec![stall(subject, estimate), open_transactions()];
    let seen = StatementStatistics::find(client).await;
    for lane in &subject.prepared.lanes {
        notices.extend(of_table(lane, &seen, client).await);
        notices.extend(row_type(&lane.table, client).await?);
    }
    Ok(notices)
}

fn notice(topic: &'static str, table: Option<&QName>, text: impl Into<String>) -> PreviewNotice {
    PreviewNotice { topic, table: table.map(QName::plain), text: text.into(), statements: Vec::new() }
}

fn stall(subject: &Subject<'_>, estimate: &Estimate) -> PreviewNotice {
    let settings = &subject.forward.settings.now().swap;
    let statements = subject.swap();
    let locked = statements.locked.iter().chain(&statements.dependents);
    let text = format!(
        "statements on {} wait once, for about {:.0} ms; an attempt that waits longer than {} ms for its lock, or takes \
         longer than {} ms with it, is undone and tried again later, up to {} times",
        list(locked.map(QName::plain)),
        estimate.stall() * 1_000.0,
        settings.lock_timeout.as_millis(),
        settings.max_write_stall.as_millis(),
        settings.attempts,
    );
    notice("stall", None, text)
}

/// Of tables that get indexes in place.
pub(super) fn in_place(plan: &Plan) -> Vec<PreviewNotice> {
    let of_table = |table: &TablePlan| {
        let mut text = "writes have more indexes to maintain while they are built already; reads and writes do not wait for the builds, \
                        and the build waits for transactions that are older"
            .to_owned();
        if table.indexes.iter().any(|index| index.unique) {
            text += "; a unique index rejects rows while it is built, and until what a failed build leaves is dropped";
        }
        notice("in_place", Some(&table.table), text)
    };
    plan.in_place.iter().map(of_table).collect()
}

fn open_transactions() -> PreviewNotice {
    let text = "a REPEATABLE READ transaction that is open across the swap does not see the last changes before its \
                snapshot, by as much as the stream lagged then; an open transaction that has used a table holds the swap up until it ends";
    notice("open_transactions", None, text)
}

/// Functions that make a session keep the table's row type, and that this role may not alter.
async fn row_type(table: &QName, client: &Client) -> Result<Option<PreviewNotice>, Error> {
    let functions = row_types::functions(client, &[table.name.as_str()]).await;
    let functions = functions.doing("reading the functions that name a table")?;
    let named: Vec<String> =
        functions.into_iter().filter(|function| !function.is_ours()).map(|function| function.name).collect();
    if named.is_empty() {
        return Ok(None);
    }
    let text = format!(
        "functions name it that this role may not alter: {}. A session that has called one may keep blue's row type: after the \
         swap, calls that use a whole row fail in it until it reconnects. As a role that owns the functions, the swap makes \
         sessions compile them again; otherwise finish waits for sessions that are older than the swap, or says with --now \
         whom it harms",
        row_types::some(&named)
    );
    Ok(Some(notice("row_type", Some(table), text)))
}

async fn of_table(lane: &LaneDesign, seen: &StatementStatistics, client: &Client) -> Vec<PreviewNotice> {
    let green = &lane.green;
    let texts = [partitioning(green), columns(green), foreign_keys(green), triggers(green)].concat();
    let of_topic = |(topic, text)| (topic, text, seen::pattern(topic, lane));
    let all = keys(lane).into_iter().chain(lost_columns(lane)).chain(texts.into_iter().map(of_topic));
    let mut notices = Vec::new();
    for (topic, text, pattern) in all {
        let mut notice = notice(topic, Some(&lane.table), text);
        if let Some(pattern) = pattern {
            notice.statements = seen.matching(client, &pattern).await;
        }
        notices.push(notice);
    }
    notices
}

/// Pairs of a topic and its text.
type Told = Vec<(&'static str, String)>;

/// The same, and the pattern of the statements that it is about.
type Sought = Vec<(&'static str, String, Option<String>)>;

fn keys(lane: &LaneDesign) -> Sought {
    let told = lost_keys(&lane.green).into_iter().flat_map(|(of_blue, key)| {
        let registry = lane.green.widened.registries.iter().find(|registry| registry.columns == key);
        let keys = list(key.iter().map(Ident::plain));
        let uniqueness = match registry {
            Some(registry) => {
                format!("({keys}) stays unique by itself, by triggers and table {}", registry.name.plain())
            }
            None => format!(
                "({keys}) is no longer unique by itself: the server takes it twice with another partition key"
            ),
        };
        let mut on_conflict =
            format!("INSERT ... ON CONFLICT ({keys}) fails (42P10): name all columns of the new key");
        if registry.is_some() {
            on_conflict += "; ON CONFLICT DO NOTHING without columns fails (23505) where it did nothing before: a trigger finds \
                            the key";
        }
        let group_by = format!("SELECT with other columns GROUP BY {keys} fails (42803): group by those too");
        [
            ("uniqueness", uniqueness, None),
            ("on_conflict", on_conflict, Some(seen::on_conflict(&lane.table, &of_blue))),
            ("group_by", group_by, seen::group_by(&lane.table, &of_blue)),
        ]
    });
    told.collect()
}

/// Columns that clients name and green does not have.
fn lost_columns(lane: &LaneDesign) -> Sought {
    let of_blue = lane.green.blue.columns.iter();
    let lost = of_blue.filter_map(|column| {
        let name = column.name.plain();
        let text = match lane.green.name_of(&column.name) {
            Some(kept) if *kept == column.name => {
                let text = encrypted_in_place(&lane.green, column)?;
                return Some(("encrypted", text, Some(seen::naming(&lane.table, &column.name))));
            }
            Some(renamed) => {
                format!("statements that name {name} fail (42703): it is called {} then", renamed.plain())
            }
            None => {
                let mut text = format!("statements that name {name} fail (42703): it is dropped");
                let of_blue = lane.green.blue.sequences.iter();
                for sequence in of_blue.filter(|sequence| sequence.column == column.name) {
                    text += &format!("; its sequence {} goes with it", sequence.name.plain());
                }
                text
            }
        };
        Some(("lost_column", text, Some(seen::naming(&lane.table, &column.name))))
    });
    lost.collect()
}

/// A text is a valid `bytea`, so that nothing refuses a client that does not know.
fn encrypted_in_place(green: &Green, column: &Column) -> Option<String> {
    let of = green.columns.iter().find(|green| green.name == column.name)?;
    let Source::Encrypted(how) = &of.source else { return None };
    if !green.is_plain(&column.name) {
        return None;
    }
    let (name, table) = (column.name.plain(), green.live());
    let (length, prefix) = match how.format {
        Format::Pgp => (5, "ca13504750"),
        Format::AesGcm => (4, "50484901"),
    };
    Some(format!(
        "{name} keeps its name and has ciphertext then: a client that still writes plaintext to it is not refused, because a text is \
         a valid bytea, and PHI stays unencrypted until `projh-bluegreen phi coverage` finds it. Give the column another name \
         (`into`), or let a step of the swap add a constraint, if all clients write through functions like encrypt_phi: alter table \
         {table} add constraint ... check (substr({}, 1, {length}) = '\\x{prefix}')",
        column.name
    ))
}

fn partitioning(green: &Green) -> Told {
    let Some(by) = &green.partition else { return Told::new() };
    let (table, column, count) = (green.live().plain(), by.column.plain(), by.leaves.len());
    vec![
        (
            "ctid",
            format!(
                "a ctid is one of a partition's, no longer of the table's: DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM \
                 {table} ...) deletes rows of other partitions too: use the key, or tableoid and ctid"
            ),
        ),
        (
            "system_columns",
            "INSERT, UPDATE and DELETE ... RETURNING xmin (cmin, xmax, cmax) fails (0A000); tableoid is the partition's"
                .to_owned(),
        ),
        (
            "only",
            format!(
                "SELECT, UPDATE and DELETE with ONLY {table} find no row, TRUNCATE ONLY fails (42809), LOCK TABLE ONLY locks \
                 no partition: leave ONLY out"
            ),
        ),
        ("copy_freeze", format!("COPY {table} FROM with FREEZE fails (0A000): leave FREEZE out")),
        ("copy_to", format!("COPY {table} TO fails (42809): COPY (SELECT ... FROM {table}) TO")),
        (
            "moved_rows",
            format!(
                "an UPDATE of {column} may move a row, also in INSERT ... ON CONFLICT DO UPDATE; whoever waits to write \
                 or to lock that row (SELECT ... FOR UPDATE, WHERE CURRENT OF) gets 40001 and has to try again"
            ),
        ),
        (
            "maintenance",
            format!(
                "REINDEX TABLE {table} fails in a transaction block (25001), CLUSTER {table} does everywhere before \
                 PostgreSQL 15; VACUUM FULL and ANALYZE go through all {count} partitions"
            ),
        ),
        (
            "partition_key",
            format!("a query without {column} in its condition looks into all {count} partitions"),
        ),
        (
            "privileges",
            "only the owner has a privilege on a partition itself: pg_dump by a role that is no superuser needs \
                 `grant pg_read_all_data to <role>`, or --exclude-schema='projh_*' and `grant select on <each partition> to \
                 <role>`; this holds from prepare on, and --exclude-schema is still needed after finish, for the journal".to_owned(),
        ),
    ]
}

fn columns(green: &Green) -> Told {
    let prepared = if has_other_columns(green) {
        "a prepared statement with SELECT *, or with a whole row as one value, fails with \"cached plan must not change result type\" \
         (0A000) until it is prepared again; one that lists columns which are left goes on"
    } else {
        "prepared statements keep working; each is replanned once. One that returns a whole row as one value (SELECT t FROM t) fails with \
         \"cached plan must not change result type\" (0A000) until it is prepared again"
    };
    let mut told = vec![("prepared_statements", prepared.to_owned())];
    if has_other_columns(green) {
        let text = "INSERT without a list of columns means other columns then: list them";
        told.push(("insert_columns", text.to_owned()));
    }
    let mut identities = green.blue.sequences.iter().filter(|sequence| sequence.identity);
    if identities.any(|sequence| green.name_of(&sequence.column).is_some()) {
        let text = "identity values leave a gap at the swap: 1,000 steps (or 100 times the sequence's CACHE, if that is more), \
                    but no more than a tenth of those that are left";
        told.push(("identity", text.to_owned()));
    }
    told
}

fn foreign_keys(green: &Green) -> Told {
    let mut told = Told::new();
    let validated = green.blue.foreign_keys.iter().filter(|key| key.validated);
    let mut tables: Vec<String> =
        validated.filter(|key| !key.to_itself).map(|key| key.references.plain()).collect();
    tables.sort();
    tables.dedup();
    let is_bound = |key: &&InboundKey| key.validated && green.fate_of(&key.referenced) == Fate::Kept;
    let of_others = || green.blue.inbound.iter().filter(is_bound);
    if !green.blue.foreign_keys.is_empty() || of_others().next().is_some() {
        let text = "foreign keys are NOT VALID from the swap until settle has validated them; new rows are checked \
                    all the while";
        told.push(("foreign_keys", text.to_owned()));
    }
    if green.partition.is_some() && !tables.is_empty() {
        let text = format!(
            "settle locks {} for a moment (ACCESS EXCLUSIVE, given up and tried again after 300 ms), when each \
             foreign key of the partitions becomes one of their parent",
            tables.join(", ")
        );
        told.push(("foreign_key_locks", text));
    }
    for key in of_others().filter(|key| key.partitioned) {
        let text = format!(
            "settle locks {} and {} for a moment, when the keys of its partitions become {}",
            green.live().plain(),
            key.child.plain(),
            key.what()
        );
        told.push(("foreign_key_locks", text));
    }
    told
}

fn triggers(green: &Green) -> Told {
    hangs_on::told(green)
        .into_iter()
        .map(|told| ("triggers", format!("{}: {}", told.what, told.hint)))
        .collect()
}

/// Unique keys that no unique index of green covers by itself, by the names of blue's columns and of green's.
fn lost_keys(green: &Green) -> Vec<(Vec<Ident>, Vec<Ident>)> {
    let of_blue = green.blue.indexes.iter().filter(|index| index.identifies_rows());
    let keys = of_blue.filter_map(|index| index.plain_keys()).filter_map(|keys| {
        let named = green.green_names(&keys);
        (named.len() == keys.len()).then_some((keys, named))
    });
    let mut lost: Vec<(Vec<Ident>, Vec<Ident>)> = keys
        .filter(|(_, keys)| {
            let same =
                |other: &[Ident]| other.len() == keys.len() && keys.iter().all(|key| other.contains(key));
            !green.indexes.iter().any(|index| index.unique && index.keys.as_deref().is_some_and(same))
        })
        .collect();
    lost.dedup();
    lost
}

fn has_other_columns(green: &Green) -> bool {
    let same = green.columns.iter().filter(|column| column.source.unchanged() == Some(&column.name));
    same.count() != green.blue.columns.len() || green.columns.len() != green.blue.columns.len()
}
