//! What hangs on the table, or is in its way there.

use super::{Case, hangs};

pub const CASES: &[Case] = &[
    hangs(
        "row_type",
        "create domain app.m as app.visits",
        "something uses its row type: type app.m",
        "let type app.m no longer use the row type of app.visits",
    ),
    hangs(
        "domain_default",
        "create domain app.d as bigint default nextval('app.visits_id_seq')",
        "the default of a domain names it, or uses the sequence of its identity column: app.d",
        "alter domain app.d drop default; and set it again after the swap",
    ),
    Case {
        check: "plan_fits_table",
        ..hangs(
            "inbound",
            "create table app.bills (visit bigint constraint bills_visit references app.visits)",
            "foreign key bills_visit on app.bills references (id), and the plan leaves no unique key on exactly these",
            "{hash: id, partitions: 16} keeps it; or alter table app.bills drop constraint bills_visit",
        )
    },
    Case {
        check: "plan_fits_table",
        ..hangs(
            "itself",
            "alter table app.visits add before bigint constraint visits_before references app.visits",
            "foreign key \"visits_before\" references (id) of its own table, and the plan leaves no unique key",
            "alter table app.visits drop constraint \"visits_before\"; and add one that fits the new table once the run is finished",
        )
    },
    hangs(
        "trigger",
        "create function app.f() returns trigger language plpgsql as 'begin return new; end';
         create table app.other (id int); create constraint trigger t after insert on app.other from app.visits for each row execute function app.f()",
        "a trigger of another table names it: t on app.other",
        "drop trigger t on app.other",
    ),
    Case {
        check: "dependents",
        ..hangs(
            "publication",
            "create publication p for table app.visits",
            "publication p does not fit the new table: must be owner of publication p",
            "alter publication p drop table app.visits",
        )
    },
    hangs(
        "all_tables",
        "create publication p for all tables",
        "a publication for all tables: p",
        "lists its tables or their schemas",
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
        "alter table app.child no inherit app.visits; once the run is finished, alter table app.child inherit app.visits: what",
    ),
    hangs(
        "child",
        "create table app.mother (like app.visits); alter table app.visits inherit app.mother",
        "app.visits inherits app.mother",
        "alter table app.visits no inherit app.mother, after which its rows are not read through that; once the run is finished, alter table app.visits inherit",
    ),
    hangs(
        "function",
        "create function app.g() returns void language sql begin atomic delete from app.visits; end",
        "a function writes it in its SQL body, or names it in a default: app.g()",
        "drop function app.g()",
    ),
    hangs(
        "extension_sequence",
        "alter extension plpgsql add sequence app.visits_id_seq",
        "it belongs to an extension: plpgsql, its sequence app.visits_id_seq alone",
        "alter extension plpgsql drop sequence app.visits_id_seq; and add it again once the run is finished",
    ),
    hangs(
        "unlogged",
        "alter table app.visits set unlogged",
        "it is unlogged",
        "alter table app.visits set logged",
    ),
    Case {
        check: "plan_fits_table",
        ..hangs(
            "exclusion",
            "alter table app.visits add constraint once exclude using btree (code with =)",
            "exclusion constraint \"once\" cannot be carried to a partitioned table",
            "drop_indexes: [once]",
        )
    },
];
