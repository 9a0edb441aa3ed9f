//! What can be wrong, one thing a case, and what has to be said of it.

/// One thing that is broken, and what is said of it.
pub struct Case {
    pub name: &'static str,
    /// What breaks it; `X` stands for the database, here and below.
    pub sql: &'static str,
    /// Put in place of something in the plan.
    pub plan: Option<(&'static str, &'static str)>,
    pub role: &'static str,
    pub check: &'static str,
    pub place: &'static str,
    pub what: &'static str,
    pub hint: &'static str,
}

/// Something hangs on the table.
const fn hangs(name: &'static str, sql: &'static str, what: &'static str, hint: &'static str) -> Case {
    Case { name, sql, plan: None, role: "migrator", check: "unsupported", place: "app.visits", what, hint }
}

/// The role lacks a right.
const fn right(name: &'static str, sql: &'static str, what: &'static str, hint: &'static str) -> Case {
    Case { check: "rights", ..hangs(name, sql, what, hint) }
}

/// The plan asks for what the table cannot be.
const fn plan(
    name: &'static str,
    change: (&'static str, &'static str),
    check: &'static str,
    what: &'static str,
    hint: &'static str,
) -> Case {
    Case { plan: Some(change), check, ..hangs(name, "", what, hint) }
}

pub const KEY: &str = "    primary_key: [id, at]\n";

pub const CASES: &[Case] = &[
    hangs(
        "view",
        "create view app.v as select * from app.visits",
        "a view reads it: app.v",
        "drop view app.v",
    ),
    hangs(
        "matview",
        "create materialized view app.m as select 1 from app.visits",
        "a materialized view reads it: app.m",
        "drop materialized view app.m",
    ),
    hangs(
        "inbound",
        "create table app.bills (visit bigint constraint bills_visit references app.visits)",
        "a foreign key points at it: bills_visit on app.bills",
        "alter table app.bills drop constraint bills_visit",
    ),
    hangs(
        "itself",
        "alter table app.visits add before bigint constraint visits_before references app.visits",
        "a foreign key of its own points at itself: visits_before",
        "alter table app.visits drop constraint visits_before",
    ),
    hangs(
        "trigger",
        "create function app.f() returns trigger language plpgsql as 'begin return new; end';
         create trigger t before insert on app.visits for each row execute function app.f()",
        "a trigger: t on app.visits",
        "drop trigger t on app.visits",
    ),
    hangs(
        "rule",
        "create rule r as on delete to app.visits do also select 1",
        "a rule: r on app.visits",
        "drop rule r",
    ),
    hangs(
        "publication",
        "create publication p for table app.visits",
        "a publication: p",
        "alter publication p drop table app.visits",
    ),
    hangs(
        "all_tables",
        "create publication p for all tables",
        "a publication for all tables: p",
        "lists its tables",
    ),
    Case {
        check: "another_run",
        ..hangs(
            "other_run",
            "create publication projh_bg_0123abcd for table app.visits",
            "run 0123abcd of another plan",
            "projh-bluegreen rollback 0123abcd",
        )
    },
    hangs(
        "inheritance",
        "create table app.child () inherits (app.visits)",
        "an inheritance parent or child",
        "no inherit",
    ),
    hangs(
        "function",
        "create function app.g() returns bigint language sql begin atomic select max(id) from app.visits; end",
        "a function uses it: app.g()",
        "drop function app.g()",
    ),
    hangs(
        "unlogged",
        "alter table app.visits set unlogged",
        "it is unlogged",
        "alter table app.visits set logged",
    ),
    Case {
        check: "definition",
        ..hangs(
            "exclusion",
            "alter table app.visits add constraint once exclude using btree (code with =)",
            "an exclusion constraint: once",
            "drop constraint once",
        )
    },
    Case {
        role: "no_replication",
        check: "replication",
        place: "server",
        ..right("replication", "", "no_replication", "alter role \"no_replication\" replication")
    },
    Case {
        role: "no_member",
        ..right("member", "", "role \"no_member\" may not read it", "grant \"app_owner\" to \"no_member\"")
    },
    Case {
        role: "no_heir",
        ..right(
            "heir",
            "",
            "role \"no_heir\" does not have the rights of the table's owner \"app_owner\"",
            "\"no_heir\"",
        )
    },
    Case {
        role: "only_reads",
        ..right(
            "only_reads",
            "grant select on app.visits to only_reads",
            "role \"only_reads\" does not have the rights of the table's owner",
            "grant \"app_owner\" to \"only_reads\"",
        )
    },
    Case {
        place: "server",
        ..right(
            "database",
            "revoke create on database \"X\" from migrator",
            "may not make schemas and publications in database \"X\"",
            "grant create on database \"X\" to \"migrator\"",
        )
    },
    right(
        "schema",
        "alter schema app owner to postgres; revoke all on schema app from app_owner;
         revoke create on schema app from migrator",
        "role \"migrator\" may not make relations in schema \"app\"",
        "grant usage, create on schema \"app\" to \"migrator\"",
    ),
    right(
        "references",
        "revoke references on other.people from migrator",
        "role \"migrator\" may not reference other.people",
        "grant references on \"other\".\"people\" to \"migrator\"",
    ),
    right(
        "lock",
        "revoke update on other.people from migrator; grant select on other.people to migrator",
        "role \"migrator\" may not lock other.people",
        "grant update on \"other\".\"people\" to \"migrator\"",
    ),
    right(
        "usage",
        "revoke usage on schema other from migrator",
        "role \"migrator\" may not reach other.people",
        "grant usage on schema \"other\" to \"migrator\"",
    ),
    Case {
        place: "server",
        role: "no_sight",
        ..right(
            "sight",
            "",
            "role \"no_sight\" cannot see the sessions of others",
            "grant pg_read_all_stats to \"no_sight\"",
        )
    },
    Case {
        place: "server",
        ..right(
            "journal",
            "create schema projh_bluegreen",
            "the journal, schema projh_bluegreen, belongs to \"postgres\"",
            "grant \"postgres\" to \"migrator\"",
        )
    },
    Case {
        check: "row_security",
        ..right(
            "row_security",
            "alter table app.visits enable row level security, force row level security",
            "row security would hide rows of it from role \"migrator\"",
            "alter role \"migrator\" bypassrls",
        )
    },
    Case {
        check: "encoding",
        place: "server",
        ..right(
            "encoding",
            "update pg_database set encoding = pg_char_to_encoding('SQL_ASCII') where datname = 'X'",
            "SQL_ASCII",
            "createdb --encoding=UTF8",
        )
    },
    Case {
        check: "read_only",
        place: "server",
        ..right(
            "read_only",
            "alter role \"migrator\" in database \"X\" set default_transaction_read_only = on",
            "default_transaction_read_only is on",
            "alter role \"migrator\" in database \"X\" set default_transaction_read_only = off",
        )
    },
    Case {
        plan: Some(("default: false", "default: false, schema: parts")),
        ..right("leaf_schema", "", "there is no schema \"parts\"", "create schema \"parts\"")
    },
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
        plan: Some(("default: false", "default: false, schema: parts")),
        ..right(
            "leaf_owner",
            "create schema parts; grant usage, create on schema parts to migrator",
            "the owner \"app_owner\" may not use schema \"parts\"",
            "grant usage on schema \"parts\" to \"app_owner\"",
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
