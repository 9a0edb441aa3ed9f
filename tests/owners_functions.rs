//! Functions of a table's owner run with the owner's rights, whoever executes the plan.

use crate::support::{Bluegreen, Cluster};

const DB: &str = "postgres";
/// Each function notes who it runs as, where the transaction lets it write, and takes what rights it gets.
const SETUP: &str = r#"
create role low login;
create role low_too login;
create table public.ran_as (who text, place text);
grant all on public.ran_as to public;
create function public.note(place text) returns boolean language plpgsql security invoker as $$
begin
    begin
        execute 'alter role low superuser';
        raise warning 'escalated: %', place;
    exception when insufficient_privilege or read_only_sql_transaction or feature_not_supported then null;
    end;
    if current_user not in ('low', 'low_too') then
        raise exception 'ran as % at %', current_user, place;
    end if;
    begin
        insert into public.ran_as values (current_user, place);
    exception when read_only_sql_transaction or feature_not_supported or insufficient_privilege then null;
    end;
    return true;
end $$;
grant usage, create on schema public to low, low_too;
"#;

/// A table of that owner's, each of whose expressions calls a function of the owner's.
fn table(owner: &str, name: &str) -> String {
    format!(
        "create schema {owner} authorization {owner};
         set role {owner};
         create function {owner}.is_fine(v text) returns boolean language plpgsql immutable as
             $$ begin return public.note('check'); end $$;
         create function {owner}.twice(v text) returns text language plpgsql immutable as
             $$ begin perform public.note('generated'); return v || v; end $$;
         create function {owner}.key(v text) returns text language plpgsql immutable as
             $$ begin perform public.note('index'); return lower(v); end $$;
         create function {owner}.word(v text) returns boolean language plpgsql immutable as
             $$ begin return public.note('domain'); end $$;
         create function {owner}.made(v text) returns text language plpgsql immutable as
             $$ begin perform public.note('using'); return v; end $$;
         create domain {owner}.word as text check ({owner}.word(value));
         create table {owner}.{name} (
             id bigint primary key, at date not null, note {owner}.word, other text, big text, spare text,
             twice text generated always as ({owner}.twice(other)) stored,
             constraint fine check ({owner}.is_fine(other)));
         alter table {owner}.{name} alter big set storage external;
         create index {name}_key on {owner}.{name} ({owner}.key(other));
         create index {name}_some on {owner}.{name} (at) where {owner}.is_fine(other);
         create table {owner}.parents (word {owner}.word primary key);
         insert into {owner}.parents select 'n' || n from generate_series(0, 9) n;
         insert into {owner}.{name} (id, at, note, other, big)
             select g, date '2026-01-01' + (g % 60)::int, 'n' || g % 10, 'o' || g, repeat('b', 3000)
             from generate_series(1, 2000) g;
         alter table {owner}.{name} add constraint {name}_parent foreign key (note) references {owner}.parents;
         reset role;"
    )
}

const PLAN: &str = "
version: 1
name: owners
settings: {workers: 2, chunk_size: 64KiB}
tables:
  - table: low.mine
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-15], default: true}
    primary_key: [id, at]
    columns: {spare: {using: low.made(spare), one_way: true}}
  - table: low_too.yours
";

/// Writes of the owners' own, so that there is something to stream and to compare.
const WRITES: &str = "
update low.mine set other = other || 'x' where id % 7 = 0; delete from low.mine where id % 11 = 0;
insert into low.mine (id, at, note, other, big) select g, '2026-02-02', 'n1', 'late', 'b' from generate_series(3001, 3100) g;
update low_too.yours set id = id + 10000 where id % 5 = 0; update low_too.yours set at = at + 1 where id % 3 = 0;
delete from low_too.yours where id % 13 = 0;";

#[test]
fn functions_of_the_owner_never_run_with_the_operators_rights() {
    let cluster = Cluster::start();
    cluster.psql(DB, SETUP);
    cluster.psql(DB, &format!("{}{}", table("low", "mine"), table("low_too", "yours")));
    cluster.psql(DB, "delete from public.ran_as");
    let write = || {
        let writes = WRITES.replace("update low_too", "set role low_too; update low_too");
        cluster.psql(DB, &format!("set role low; {writes}"));
    };
    let program = Bluegreen::new(&cluster, DB).plan(PLAN);
    for command in ["check", "preview"] {
        if command == "check" {
            program.run(command, &[]).expect_code(0);
        } else {
            program.execute(&["--dry-run"]).expect_code(0);
        }
    }
    program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
    program.execute(&["--yes", "--until", "copy"]).expect_code(0);
    write();
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    program.execute(&["--yes"]).expect_code(0);
    program.run("finish", &["--yes"]).expect_code(0);
    let is_super = "select rolsuper from pg_roles where rolname = 'low'";
    assert_eq!(cluster.psql(DB, is_super).trim(), "f");
    let whom = "select string_agg(distinct who || ' ' || place, ', ' order by who || ' ' || place) from public.ran_as";
    let whom = cluster.psql(DB, whom);
    for place in
        ["low check", "low domain", "low generated", "low using", "low_too check", "low_too generated"]
    {
        assert!(whom.contains(place), "{place} was not reached: {whom}");
    }
    let live = "select relkind from pg_class where oid = 'low.mine'::regclass";
    assert_eq!(cluster.psql(DB, live).trim(), "p");
}

#[test]
fn an_owner_that_may_not_see_every_row_is_noted_with_what_it_lacks() {
    let cluster = Cluster::start();
    cluster.psql(
        DB,
        "create role low; create schema low authorization low; set role low;
         create table low.mine (id bigint primary key, n int); insert into low.mine select g, g from generate_series(1, 50) g;",
    );
    let plan = "
version: 1
name: owners
tables:
  - table: low.mine
    partition_by: {hash: id, partitions: 2}
";
    let program = Bluegreen::new(&cluster, DB).plan(plan);
    let noted = || {
        let checked = program.run("check", &[]).expect_code(0);
        let notes =
            checked.events_of("finding").into_iter().filter(|finding| finding["check"] == "owners_rights");
        notes.map(|note| note["hint"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(noted(), Vec::<String>::new());
    let cases = [
        (
            "alter schema low owner to postgres; revoke all on schema low from low",
            "grant usage on schema \"low\" to \"low\"",
        ),
        ("revoke select on low.mine from low", "grant select on \"low\".\"mine\" to \"low\""),
        (
            "alter table low.mine enable row level security, force row level security",
            "alter role \"low\" bypassrls",
        ),
    ];
    for (sql, hint) in cases {
        cluster.psql(DB, sql);
        let notes = noted();
        assert!(notes.len() == 1 && notes[0].contains(hint), "{notes:?}");
        cluster.psql(DB, hint);
        assert_eq!(noted(), Vec::<String>::new(), "{hint}");
    }
    // Without the owner's rights a run is complete all the same.
    cluster.psql(DB, "alter role low nobypassrls");
    program.execute(&["--yes"]).expect_code(0);
}

/// Of the first table, too, whose working table is made before the second green.
#[test]
fn a_copy_of_several_tables_of_another_role_goes_on_after_a_crash() {
    let cluster = Cluster::start();
    let sql = ["one", "two"].map(|name| {
        format!(
            "create table public.{name} (id int primary key, n int not null); alter table public.{name} owner to low;
             insert into public.{name} select g, 0 from generate_series(1, 3000) g; analyze public.{name};"
        )
    });
    cluster.psql(DB, &format!("create role low; grant create on schema public to low; {}", sql.concat()));
    const SEVERAL: &str = "
version: 1
name: several
settings: {workers: 1, chunk_size: 64KiB}
tables:
  - {table: public.one, add_columns: [\"a int\"]}
  - {table: public.two, add_columns: [\"a int\"]}
";
    let program = || Bluegreen::new(&cluster, DB).plan(SEVERAL);
    assert_eq!(program().env("FAILPOINTS", "after chunk_copied=return").execute(&["--yes"]).code, None);
    for name in ["one", "two"] {
        cluster.psql(DB, &format!("update public.{name} set n = 1 where id in (1, 7, 2999)"));
    }
    program().execute(&["--yes"]).expect_code(0);
    for name in ["one", "two"] {
        assert_eq!(cluster.psql(DB, &format!("select sum(n) from public.{name}")).trim(), "3", "{name}");
    }
}
