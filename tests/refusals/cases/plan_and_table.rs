//! What the plan asks for, and the table cannot be.

use super::{Case, KEY, hangs, plan};

pub const CASES: &[Case] = &[
    Case {
        check: "names",
        ..hangs(
            "name",
            "create table app.visits_p2025_01 ()",
            "already has a relation or type \"visits_p2025_01\"",
            "another name in the plan",
        )
    },
    Case {
        check: "types",
        ..hangs(
            "acl",
            "alter table app.visits add rights aclitem",
            "column \"rights\" has type aclitem",
            "drop it in the plan",
        )
    },
    Case {
        check: "types",
        ..hangs(
            "acl_domain",
            "create domain app.acl as aclitem; alter table app.visits add rights app.acl",
            "column \"rights\" has type app.acl",
            "drop it in the plan",
        )
    },
    Case {
        check: "partitions",
        ..hangs(
            "strays",
            "insert into app.visits (at, code, note) select timestamptz '2027-07-07', n, '' from generate_series(1, 7) n",
            "7 rows fit into none of the partitions by \"at\"",
            "default: true",
        )
    },
    Case {
        check: "rehearsal",
        ..hangs(
            "leaf_type",
            "create table app._visits_p2025_01 ()",
            "type \"_visits_p2025_01\" already exists",
            "SET SCHEMA \"app\"",
        )
    },
    plan(
        "like_leaf",
        (
            KEY,
            "    primary_key: [id, at]\n    indexes: [create index visits_p2025_01_note on app.visits (note)]\n",
        ),
        "plan_fits_table",
        "index \"visits_p2025_01_note\" is named as the server names indexes of a partition",
        "another name",
    ),
    Case {
        place: "app.vists",
        ..plan(
            "unknown",
            ("app.visits", "app.vists"),
            "table",
            "there is no such table in database \"unknown\"",
            "did you mean app.visits?",
        )
    },
    Case {
        plan: Some(("app.visits", "app.v")),
        place: "app.v",
        check: "table",
        ..hangs("not_a_table", "create view app.v as select 1", "it is a view", "name a table")
    },
    Case {
        check: "plan_fits_table",
        ..hangs(
            "no_primary_key",
            "alter table app.visits drop constraint visits_pkey",
            "no key of app.visits identifies its rows in the stream",
            "alter table app.visits add primary key",
        )
    },
    plan(
        "no_key",
        (KEY, ""),
        "plan_fits_table",
        "\"visits_pkey\" lacks the partition key \"at\"",
        "primary_key: [id, at]",
    ),
    plan(
        "key_order",
        (KEY, "    primary_key: [at, id]\n"),
        "plan_fits_table",
        "no unique key of green begins with (\"id\")",
        "primary_key: [id, at]",
    ),
    plan(
        "no_column",
        (KEY, "    primary_key: [id, at]\n    columns: {nota: drop}\n"),
        "plan_fits_table",
        "has no column \"nota\"",
        "did you mean \"note\"?",
    ),
    plan(
        "no_index",
        (KEY, "    primary_key: [id, at]\n    drop_indexes: [visits_person]\n"),
        "plan_fits_table",
        "has no index \"visits_person\"",
        "did you mean \"visits_person_at\"?",
    ),
    Case {
        check: "plan_fits_table",
        ..hangs(
            "nullable",
            "alter table app.visits alter at drop not null",
            "column \"at\" of the primary key can be NULL",
            "alter table app.visits alter column \"at\" set not null",
        )
    },
    plan(
        "unchanged",
        (KEY, "    primary_key: [id, at]\n    columns: {code: {using: length(note), one_way: true}}\n"),
        "unchanged_values",
        "column \"code\" is computed from \"note\"",
        "replica_identity: full",
    ),
    plan(
        "expression",
        (KEY, "    primary_key: [id, at]\n    columns: {code: {using: visits.code + 1, one_way: true}}\n"),
        "rehearsal",
        "FROM-clause entry for table \"visits\"",
        "name nothing but columns of this table",
    ),
    plan(
        "added_names_it",
        (
            KEY,
            "    primary_key: [id, at]\n    add_columns: [\"kind regclass default 'app.visits'::regclass\"]\n",
        ),
        "names_itself",
        "the default of column \"kind\" names table app.visits, which the swap retires",
        "leave it out of the plan",
    ),
    plan(
        "index_names_it",
        (
            KEY,
            "    primary_key: [id, at]\n    indexes: [\"create index of_it on app.visits (note) where 'app.visits'::regclass is not null\"]\n",
        ),
        "names_itself",
        "index \"of_it\" names table app.visits, which the swap retires",
        "leave it out of the plan",
    ),
    Case {
        check: "plan_fits_table",
        ..hangs(
            "tableoid",
            "alter table app.visits add of_table regclass generated always as (tableoid::regclass) stored",
            "generated column \"of_table\" reads tableoid",
            "of_table: drop",
        )
    },
    plan(
        "unfilled",
        (KEY, "    primary_key: [id, at]\n    add_columns: [follow_up boolean not null]\n"),
        "rehearsal",
        "column follow_up must not be null, and no row has a value for it",
        "give follow_up a default in add_columns",
    ),
];
