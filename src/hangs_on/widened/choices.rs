//! The choices that a plan has for foreign keys whose referenced key it widens, with what each would cost here.

use super::Fate;
use crate::hangs_on::inbound::InboundKey;
use crate::hangs_on::part::Conflict;
use crate::hangs_on::shape::Green;
use crate::pg::{Ident, list};
use crate::plan::InboundForeignKeys;

/// One conflict for all foreign keys of other tables that reference the same columns.
pub(super) fn undecided(green: &Green) -> Vec<Conflict> {
    let mut seen: Vec<&[Ident]> = Vec::new();
    let mut conflicts = Vec::new();
    for key in &green.blue.inbound {
        if seen.contains(&key.referenced.as_slice()) || !is_undecided(green, key) {
            continue;
        }
        seen.push(&key.referenced);
        let same = |other: &&InboundKey| other.referenced == key.referenced && is_undecided(green, other);
        let keys: Vec<&InboundKey> = green.blue.inbound.iter().filter(same).collect();
        conflicts.push(conflict(green, &keys, &key.referenced));
    }
    conflicts
}

fn is_undecided(green: &Green, key: &InboundKey) -> bool {
    green.dropped_of(&key.referenced).is_none() && green.fate_of(&key.referenced) == Fate::Undecided
}

fn conflict(green: &Green, keys: &[&InboundKey], referenced: &[Ident]) -> Conflict {
    let names = list(keys.iter().map(|key| format!("{} on {}", key.name.plain(), key.child.plain())));
    let columns = list(referenced.iter().map(Ident::plain));
    let (noun, verb) =
        if keys.len() == 1 { ("foreign key", "references") } else { ("foreign keys", "reference") };
    let what = format!(
        "{noun} {names} {verb} ({columns}), and the plan leaves no unique key on exactly these columns"
    );
    let what = match green.widened.choice {
        InboundForeignKeys::Composite => format!("{what}; {}", no_composite(green, keys)),
        _ => what,
    };
    Conflict::new(what, choices(green, keys, referenced))
}

/// Why a foreign key is not given the columns by which the key was widened.
fn no_composite(green: &Green, keys: &[&InboundKey]) -> String {
    let children = list(keys.iter().map(|key| key.child.plain()));
    let column = green.partition.as_ref().map_or_else(
        || "the new columns of the key".to_owned(),
        |by| format!("column {}", by.column.plain()),
    );
    format!(
        "`inbound_foreign_keys: composite` is not carried out by this version: {children} would need {column} of the \
         referenced row in each row, which what inserts them does not write"
    )
}

/// What can be written in the plan instead, or done.
fn choices(green: &Green, keys: &[&InboundKey], referenced: &[Ident]) -> String {
    let (table, blue) = (green.live().plain(), &green.blue.table);
    let mut children: Vec<String> = keys.iter().map(|key| key.child.plain()).collect();
    children.dedup();
    let rows: u64 = keys.iter().map(|key| key.estimated_rows).sum();
    let children = format!("{} (about {rows} rows)", list(children));
    let by_hand = match green.widened.choice {
        InboundForeignKeys::Composite => {
            "`inbound_foreign_keys: drop`, and a column, a trigger and a composite key by `steps`, as docs/plan.md shows; or "
        }
        _ => "",
    };
    let drops = keys.iter().map(|key| key.drop_hint()).collect::<Vec<_>>().join("; ");
    format!(
        "write in the plan {by_hand}`inbound_foreign_keys: registry`: a table of the keys of {table}, about {} keys in {} kB, that \
         {children} reference with the same actions; it keeps the key unique, too, and each insert and delete on {table} \
         writes it, which takes about 2.5 times the server's time of an insert alone; or `inbound_foreign_keys: drop`: \
         from the swap on nothing keeps rows of {children} from losing theirs, and a rollback adds the keys again; or {}; \
         or {drops}",
        blue.estimated_rows,
        (blue.estimated_rows * BYTES_PER_KEY).div_ceil(1024),
        green.keep_key(referenced),
    )
}

/// A row of a table of keys, and its entry in the index: 28 bytes and 16 bytes beside the key, and free space.
const BYTES_PER_KEY: u64 = 70;
