//! What the role may not do, and what the database is not fit for.

use super::{Case, right};

pub const CASES: &[Case] = &[
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
            "may not create schemas and publications in database \"X\"",
            "grant create on database \"X\" to \"migrator\"",
        )
    },
    Case {
        place: "server",
        ..right(
            "temporary",
            "revoke temporary on database \"X\" from public",
            "may not create temporary tables in database \"X\"",
            "grant temporary on database \"X\" to \"migrator\"",
        )
    },
    right(
        "schema",
        "alter schema app owner to postgres; revoke all on schema app from app_owner;
         revoke create on schema app from migrator",
        "role \"migrator\" may not create relations in schema \"app\"",
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
        plan: Some(("default: false", "default: false, schema: parts")),
        ..right(
            "leaf_owner",
            "create schema parts; grant usage, create on schema parts to migrator",
            "the owner \"app_owner\" may not use schema \"parts\"",
            "grant usage on schema \"parts\" to \"app_owner\"",
        )
    },
];
