//! Whole databases, with everything that hangs on their tables: all tables of each become green in one run, come back, become
//! green again and stay, and the database is the same after each step.

use std::path::PathBuf;

use crate::databases::{Dump, Program, Verdict, tables, there_and_back};
use crate::support::Cluster;

const SHOP: &str = include_str!("databases/shop.sql");
const RENTAL: &str = include_str!("databases/rental.sql");
const WORKS: &str = include_str!("databases/works.sql");
const PROJECT_H: &str = concat!(
    include_str!("../sql/project-h/auth.sql"),
    include_str!("../sql/project-h/schema.sql"),
    include_str!("databases/project_h.sql")
);

fn program(cluster: &Cluster, database: &str) -> Program {
    let environment = cluster.env(database).into_iter().map(|(name, value)| (name.into(), value.into()));
    Program {
        program: env!("CARGO_BIN_EXE_projh-bluegreen").into(),
        pg_dump: cluster.client_path("pg_dump"),
        psql: cluster.client_path("psql"),
        environment: environment.collect(),
        database: database.to_owned(),
        folder: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(database),
    }
}

fn all_tables_of(database: &str, sql: &str, expected: usize) {
    let cluster = Cluster::start();
    cluster.psql(cluster.create_db(database), sql);
    let program = program(&cluster, database);
    std::fs::create_dir_all(&program.folder).unwrap();
    let mut all = tables(&program).unwrap();
    all.retain(|table| !table.starts_with("auth."));
    assert_eq!(all.len(), expected, "{all:?}");
    let tried = there_and_back(&program, &all).unwrap();
    assert_eq!(tried.verdict, Verdict::Unharmed);
}

#[test]
fn a_shop() {
    all_tables_of("shop", SHOP, 7);
}

#[test]
fn a_rental_company() {
    all_tables_of("rental", RENTAL, 5);
}

#[test]
fn a_company_of_several_schemas() {
    all_tables_of("works", WORKS, 11);
}

#[test]
fn project_h_with_all_that_its_upgrade_adds() {
    all_tables_of("project_h", PROJECT_H, 17);
}

/// The comparison sees what a migration could lose.
#[test]
fn what_is_lost_is_seen() {
    let cluster = Cluster::start();
    cluster.psql(cluster.create_db("rental"), RENTAL);
    let program = program(&cluster, "rental");
    let before = Dump::of(&program).unwrap();
    assert_eq!(before.differences(&Dump::of(&program).unwrap()), <Vec<String>>::new());
    let losses = [
        "drop trigger touched on rental.film",
        "alter trigger stay on rental.rental rename to stays",
        "comment on index rental.film_fulltext is null",
        "revoke select on rental.shelf from rental_child",
        "alter view rental.cheap reset (check_option)",
        "alter table rental.rental alter constraint rental_inventory not deferrable",
        "drop statistics rental.film_rates",
        "alter table rental.film alter features set statistics -1",
        "alter table rental.film set without cluster",
        "drop policy children on rental.film",
        "update rental.film set cost = cost + 1 where film_id = 1000",
        "delete from rental.audit; insert into rental.audit (what) values ('x')",
        "select setval('rental.film_numbers', 1)",
    ];
    let mut before = before;
    for loss in losses {
        cluster.psql("rental", loss);
        let after = Dump::of(&program).unwrap();
        assert_ne!(before.differences(&after), <Vec<String>>::new(), "{loss}");
        before = after;
    }
}
