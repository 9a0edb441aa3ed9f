//! The keys of a plan, one table per map; [`super::shape`] reads them.

use std::time::Duration;

use super::shape::{MapShape, PlanKey, Shape};

mod around;

use around::{GATE, SCRIPT, STEP};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) const TEXT: Shape = Shape::Text { pattern: None };
/// One SQL name, quoted or not.
pub(super) const NAME: Shape =
    Shape::Text { pattern: Some(r#"^\s*([A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|"([^"]|"")+")\s*$"#) };
/// A count, which may be left out, and a unit.
const LENGTH: Shape = Shape::Text {
    pattern: Some(r"^\s*([1-9]\d*\s+)?([Dd]ays?|[Ww]eeks?|[Mm]onths?|[Qq]uarters?|[Yy]ears?)\s*$"),
};
const NAMES: Shape = Shape::List { of: &NAME, min: 1 };

pub(super) const fn key(name: &'static str, shape: Shape, about: &'static str) -> PlanKey {
    PlanKey { name, about, shape, required: false }
}

pub(super) const fn required(name: &'static str, shape: Shape, about: &'static str) -> PlanKey {
    PlanKey { name, about, shape, required: true }
}

/// The top level of a plan.
pub(super) static PLAN: Shape = Shape::Map(&MapShape {
    what: "a plan",
    keys: &[
        required("version", Shape::Integer { min: 1, max: 1 }, "is the version of this format: 1"),
        required(
            "name",
            Shape::Text { pattern: Some("^[a-z][a-z0-9_-]{0,39}$") },
            "identifies the migration across runs: 1 to 40 of a-z, 0-9, _ and -, a letter first",
        ),
        key("database", Shape::Map(&DATABASE), "is where to connect; libpq's variables otherwise"),
        key("settings", Shape::Map(&SETTINGS), "is how to execute the plan; everything has a default"),
        key(
            "keys",
            Shape::Map(&super::phi::KEYS),
            "are the keys of encrypted columns, and where they come from",
        ),
        required(
            "tables",
            Shape::List { of: &Shape::Map(&TABLE), min: 1 },
            "are the tables to migrate; all of them swap in one transaction",
        ),
        key(
            "gates",
            Shape::List { of: &Shape::Map(&GATE), min: 1 },
            "are asked before the swap and all through the soak; one that fails there rolls back",
        ),
        key(
            "hooks",
            Shape::List { of: &Shape::List { of: &TEXT, min: 1 }, min: 1 },
            "are programs with their arguments, which get what happened as JSON on standard input",
        ),
        key(
            "steps",
            Shape::List { of: &Shape::Map(&STEP), min: 1 },
            "are SQL around the swap, each with its way back",
        ),
    ],
    later: &[],
    rules: &[],
});

static DATABASE: MapShape = MapShape {
    what: "`database`",
    keys: &[key(
        "url",
        Shape::Any,
        "is a connection string, best from the environment: ${DATABASE_URL}; libpq's variables count without one, or with an empty one",
    )],
    later: &[],
    rules: &[],
};

pub(super) static SETTINGS: MapShape = MapShape {
    what: "`settings`",
    keys: &[
        key(
            "workers",
            Shape::Integer { min: 1, max: 64 },
            "is how many connections copy, index and verify (4)",
        ),
        key(
            "chunk_size",
            Shape::Size { min: 64 * KIB, max: GIB },
            "is how much of a table one transaction copies (16MiB)",
        ),
        key(
            "max_snapshot_age",
            Shape::Duration { min: Duration::from_millis(10), max: DAY },
            "ends a round of the copy when its snapshot is older (30m)",
        ),
        key(
            "wal_budget",
            Shape::Size { min: MIB, max: 64 * TIB },
            "is how much WAL the run may hold back (8GiB)",
        ),
        key(
            "reconnect_for",
            Shape::Duration { min: Duration::ZERO, max: DAY },
            "is how long to try to reconnect to a server that is down (5m)",
        ),
        key("throttle", Shape::Map(&THROTTLE), "is when copy and apply wait"),
        key("swap", Shape::Map(&SWAP), "is how to swap"),
        key("preview", Shape::Map(&PREVIEW), "is what `execute --dry-run` may do"),
        key(
            "soak",
            Shape::Duration { min: Duration::ZERO, max: DAY.saturating_mul(90) },
            "is how long the old table follows the new one after the swap, so that it can be undone (0s: not at all)",
        ),
        key(
            "verify_every",
            Shape::OrNone(&Shape::Duration { min: Duration::from_secs(1), max: DAY.saturating_mul(90) }),
            "is how often all rows are compared again during the soak (none: only what changes)",
        ),
        key(
            "finish",
            Shape::Word(&["manual", "after_soak"]),
            "is whether the run is finished when the soak is over, or only by `finish` (manual)",
        ),
        key(
            "archive",
            Shape::Map(&ARCHIVE),
            "is where the run's end moves the old table; without it, the old table is dropped",
        ),
    ],
    later: &[],
    rules: &[],
};

static ARCHIVE: MapShape = MapShape {
    what: "`archive`",
    keys: &[required(
        "schema",
        NAME,
        "is the schema, which must exist; {schema} in it is that of the table, which keeps its name",
    )],
    later: &[],
    rules: &[],
};

static THROTTLE: MapShape = MapShape {
    what: "`throttle`",
    keys: &[
        key(
            "max_replica_lag",
            Shape::OrNone(&Shape::Duration { min: Duration::from_millis(1), max: DAY }),
            "is the replay lag of a standby from which on the run waits (10s)",
        ),
        key(
            "max_active_sessions",
            Shape::OrNone(&Shape::Integer { min: 1, max: 1_000_000 }),
            "is the greatest number of active sessions besides ours (none: no limit)",
        ),
        key(
            "query",
            Shape::OrNone(&TEXT),
            "is SQL whose first column is true while the run has to wait (none)",
        ),
        key(
            "rest_percent",
            Shape::Integer { min: 0, max: 1_000 },
            "scales the rests while more other sessions are active than the run has workers: all workers together \
             use the share of one worker that rests this percentage of the time it works (100; 0: no rests)",
        ),
    ],
    later: &[],
    rules: &[],
};

static PREVIEW: MapShape = MapShape {
    what: "`preview`",
    keys: &[key(
        "sample",
        Shape::Bool,
        "lets it copy, hash and index a few rows in temporary tables for a second, to measure the server's pace (true)",
    )],
    later: &[],
    rules: &[],
};

static SWAP: MapShape = MapShape {
    what: "`swap`",
    keys: &[
        key(
            "lock_timeout",
            // Below the server's deadlock_timeout (1 s), so that it is always this program that gives way.
            Shape::Duration { min: Duration::from_millis(10), max: Duration::from_millis(999) },
            "is how long one attempt waits for its locks; below deadlock_timeout (300ms)",
        ),
        key(
            "max_write_stall",
            Shape::Duration { min: Duration::from_millis(50), max: MINUTE.saturating_mul(10) },
            "is how long writers may be held up from lock to commit (2s)",
        ),
        key(
            "attempts",
            Shape::Integer { min: 1, max: 10_000 },
            "is how often the swap is tried before the run gives up (30)",
        ),
        key(
            "window",
            Shape::OrNone(&Shape::Text { pattern: Some(r"^\s*\d\d:\d\d-\d\d:\d\d\s+\S+\s*$") }),
            "is the part of the day to swap in, as in \"02:00-05:00 UTC\" (none: any time)",
        ),
        key(
            "terminate_blockers",
            Shape::Word(&["never", "idle_in_transaction", "all"]),
            "is which blocking sessions may be terminated (never)",
        ),
    ],
    later: &[],
    rules: &[],
};

static TABLE: MapShape = MapShape {
    what: "a table",
    keys: &[
        required("table", TEXT, "is the live table, `schema.table`"),
        key(
            "partition_by",
            Shape::Map(&PARTITION_BY),
            "is how the new table is partitioned; plain without it",
        ),
        key("primary_key", NAMES, "is the new primary key, where it differs"),
        key(
            "replica_identity",
            Shape::Word(&["full"]),
            "applies during the run: exact old rows in the stream, for more WAL",
        ),
        key(
            "columns",
            Shape::MapOf(&Shape::Either(&[Shape::Word(&["drop"]), Shape::Map(&COLUMN)])),
            "are the columns that change, by their present names",
        ),
        key(
            "add_columns",
            Shape::List { of: &TEXT, min: 1 },
            "are new columns, as in `follow_up boolean not null default false`",
        ),
        key("indexes", Shape::List { of: &TEXT, min: 1 }, "are new indexes, as CREATE INDEX statements"),
        key("drop_indexes", NAMES, "are indexes or unique constraints that the new table does not get"),
        key(
            "in_place",
            Shape::Bool,
            "builds `indexes`, and nothing else, concurrently on the table itself, without a copy (false)",
        ),
        key(
            "inbound_foreign_keys",
            Shape::Word(&["refuse", "drop", "registry", "composite"]),
            "is what becomes of foreign keys whose referenced key is widened (refuse)",
        ),
        key(
            "uniqueness",
            Shape::Word(&["registry", "none"]),
            "keeps the old primary key unique where the new one is wider (none)",
        ),
        key(
            "compatibility",
            Shape::Word(&["view"]),
            "makes a view of the old shape in a schema of its own, from the swap until `finish`",
        ),
        key("policies", SCRIPT, "are policies that the new table gets in the swap: SQL, or {file: ...}"),
        key("triggers", SCRIPT, "are triggers that the new table gets in the swap: SQL, or {file: ...}"),
    ],
    later: &[],
    rules: &[
        r#"{"not": {"required": ["uniqueness", "inbound_foreign_keys"], "properties": {"uniqueness": {"const": "none"}, "inbound_foreign_keys": {"const": "registry"}}}}"#,
        r#"{"if": {"required": ["in_place"], "properties": {"in_place": {"const": true}}},
            "then": {"required": ["indexes"], "propertyNames": {"enum": ["table", "indexes", "in_place"]}}}"#,
    ],
};

static COLUMN: MapShape = MapShape {
    what: "a column",
    keys: &[
        key("rename", NAME, "is its new name"),
        key("type", TEXT, "is its new type"),
        key("using", TEXT, "is SQL over the old columns that gives the new value; a cast without it"),
        key("back", TEXT, "is SQL over the new columns that gives the old value back"),
        key("default", TEXT, "is its new default; without it, the old one converted by `using` or the cast"),
        key(
            "encrypt",
            Shape::Map(&super::phi::ENCRYPT),
            "encrypts its values on the way; `keys` has the keys",
        ),
        key("one_way", Shape::Bool, "accepts that a rollback after the swap loses this column's new values"),
    ],
    later: &[],
    rules: &[
        r#"{"anyOf": [{"required": ["rename"]}, {"required": ["type"]}, {"required": ["using"]}, {"required": ["encrypt"]}]}"#,
        r#"{"if": {"required": ["encrypt"]}, "then": {"properties": {"rename": false, "type": false, "using": false, "back": false, "default": false}}}"#,
        r#"{"if": {"required": ["using"]}, "then": {"anyOf": [{"required": ["back"]},
            {"required": ["one_way"], "properties": {"one_way": {"not": {"const": false}}}}]}}"#,
        r#"{"if": {"required": ["back"]}, "then": {"anyOf": [{"required": ["type"]}, {"required": ["using"]}],
            "properties": {"one_way": {"not": {"const": true}}}}}"#,
        r#"{"if": {"required": ["default"]}, "then": {"anyOf": [{"required": ["type"]}, {"required": ["using"]}]}}"#,
    ],
};

static RETENTION: MapShape = MapShape {
    what: "`retention`",
    keys: &[
        required("keep", LENGTH, "is how far in the past a partition's upper bound may be: `24 months`"),
        required("then", Shape::Word(&["archive", "drop"]), "is what becomes of it then"),
        key(
            "schema",
            NAME,
            "is where it is archived; created if it does not exist (that of the partitions, with _archive)",
        ),
    ],
    later: &[],
    rules: &[],
};

static PARTITION_BY: MapShape = MapShape {
    what: "`partition_by`",
    keys: &[
        key("range", NAME, "is the column to partition by, in ranges: with `every` or `bounds`"),
        key("list", NAME, "is the column to partition by, in lists of values: with `partitions`"),
        key("hash", NAME, "is the column to partition by, by its hash: with `partitions`"),
        key("every", LENGTH, "is how long a range is: `1 month`; day, week, month, quarter or year"),
        key(
            "bounds",
            Shape::List { of: &TEXT, min: 2 },
            "are the ranges' bounds, ascending: each but the last begins a range",
        ),
        key(
            "from",
            Shape::Text { pattern: Some(r"^\d{4}-\d\d-\d\d$") },
            "is the first range's lower bound (from the data)",
        ),
        key(
            "until",
            Shape::Text { pattern: Some(r"^\d{4}-\d\d-\d\d$") },
            "is the last range's upper bound (from the data, the present day and `ahead`)",
        ),
        key(
            "time_zone",
            TEXT,
            "is the time zone in which the ranges' days begin: UTC, or an IANA name (UTC)",
        ),
        key(
            "ahead",
            Shape::Integer { min: 0, max: 1_000 },
            "is how many ranges to have past the present one (3); with `until`, only `partitions` makes them",
        ),
        key("retention", Shape::Map(&RETENTION), "is how long `partitions` keeps old partitions (for ever)"),
        key(
            "partitions",
            Shape::Either(&[
                Shape::Integer { min: 1, max: 1_000 },
                Shape::MapOf(&Shape::List { of: &Shape::Any, min: 1 }),
            ]),
            "are each partition's values (`list`), or the number of partitions (`hash`)",
        ),
        key(
            "default",
            Shape::Bool,
            "adds a partition for rows that no other one takes (true; `hash` has none)",
        ),
        key("schema", NAME, "is the partitions' schema (the table's own)"),
        key(
            "name",
            TEXT,
            "is each partition's name: {table}, with {from:%Y_%m}, {to:%Y_%m}, {quarter}, {name} or {n}",
        ),
    ],
    later: &[],
    rules: &[
        r#"{"oneOf": [{"required": ["range"]}, {"required": ["list"]}, {"required": ["hash"]}]}"#,
        r#"{"if": {"required": ["range"]},
            "then": {"oneOf": [{"required": ["every"]}, {"required": ["bounds"]}],
                     "properties": {"partitions": false}},
            "else": {"required": ["partitions"], "properties": {"every": false, "bounds": false}}}"#,
        r#"{"if": {"required": ["list"]}, "then": {"properties": {"partitions": {"type": "object", "minProperties": 1}}}}"#,
        r#"{"if": {"required": ["hash"]},
            "then": {"properties": {"partitions": {"type": ["integer", "string"]},
                                    "default": {"not": {"const": true}}}}}"#,
        r#"{"if": {"not": {"required": ["every"]}}, "then": {"properties": {"from": false, "until": false, "ahead": false, "retention": false}}}"#,
    ],
};
