//! Ranges of time from the rows themselves: which rows count, in which time zone days begin, and what the plan is
//! told to say where a few rows lie far from all others.

use crate::support::bluegreen::Finished;
use crate::support::{Bluegreen, Cluster};

fn plan(by: &str) -> String {
    format!(
        "version: 1\nname: days\ntables:\n  - table: public.t\n    partition_by: {{{by}}}\n    primary_key: [id, at]\n"
    )
}

/// A table of its own database, and the program with a plan for it.
fn stage(cluster: &Cluster, db: &str, columns: &str, rows: &str, by: &str) -> Bluegreen {
    cluster.create_db(db);
    cluster.psql(
        db,
        &format!("create table t (id int generated always as identity, {columns}, primary key (id)); {rows}"),
    );
    Bluegreen::new(cluster, db).plan(&plan(by))
}

/// `name rows` of each partition.
fn partitions(cluster: &Cluster, db: &str) -> Vec<String> {
    let sql = "select i.inhrelid::regclass || ' ' || (select count(*) from t where t.tableoid = i.inhrelid) \
               from pg_inherits i where inhparent = 't'::regclass order by 1";
    cluster.psql(db, sql).lines().map(str::to_owned).collect()
}

fn note<'a>(finished: &'a Finished, words: &str) -> Option<&'a str> {
    let found = finished.events_of("finding").into_iter().map(|finding| finding["what"].as_str().unwrap());
    found.into_iter().find(|what| what.contains(words))
}

#[test]
fn rows_beyond_the_calendar_do_not_take_the_ranges_from_all_others() {
    let cluster = Cluster::start();
    let rows = "insert into t (at) select date '2025-01-01' + n from generate_series(0, 89) n;
                insert into t (at) values ('10000-01-01'), ('1800-03-01 BC'), ('infinity'), ('-infinity')";
    let by = "range: at, every: 1 month, ahead: 0";
    for (number, data_type) in ["date", "timestamp", "timestamptz"].into_iter().enumerate() {
        let db = format!("far_{number}");
        let program = stage(&cluster, &db, &format!("at {data_type} not null"), rows, by);
        let checked = program.run("check", &[]).expect_code(0);
        let told = note(&checked, "4 of 94 rows fit into none of the ranges")
            .unwrap_or_else(|| panic!("{data_type}: {}", checked.stdout));
        assert!(told.contains("the default partition takes them"), "{told}");
        program.execute(&["--yes"]).expect_code(0);
        let made = partitions(&cluster, &db);
        for expected in ["t_default 4", "t_p2025_01 31", "t_p2025_02 28", "t_p2025_03 31"] {
            assert!(made.iter().any(|name| name == expected), "{data_type}: {made:?}");
        }
    }
}

#[test]
fn sentinel_dates_are_told_with_the_lines_that_leave_them_out() {
    let cluster = Cluster::start();
    let rows = "insert into t (at) select date '2025-01-01' + n % 300 from generate_series(0, 999) n;
                insert into t (at) values ('9999-12-31'), ('1900-01-01')";
    for (number, every) in ["1 month", "1 year"].into_iter().enumerate() {
        let db = format!("sentinel_{number}");
        let by = format!("range: at, every: {every}");
        let program = stage(&cluster, &db, "at date not null", rows, &by);
        let refused = program.run("check", &[]).expect_code(3);
        let finding = refused.finding("partitions");
        let hint = finding["hint"].as_str().unwrap();
        assert!(hint.contains("2 rows are outside these, and go to the default partition"), "{finding}");
        // What it says works.
        let lines = hint.split_once("partition_by: ").unwrap().1.split_once("; ").unwrap().0;
        assert!(lines.starts_with("from: 2025-01-01, until: 20"), "{lines}");
        program.write_plan(&plan(&format!("{by}, {lines}")));
        program.execute(&["--yes"]).expect_code(0);
        assert!(partitions(&cluster, &db).contains(&"t_default 2".to_owned()));
    }
    // Partitions that can be made, but will nearly all be empty.
    let rows = rows.replace("('9999-12-31'), ", "");
    let program = stage(&cluster, "early", "at date not null", &rows, "range: at, every: 1 month");
    let noted = program.run("check", &[]).expect_code(0);
    assert!(note(&noted, "most of them will be empty").is_some(), "{}", noted.stdout);
}

#[test]
fn days_begin_where_the_plan_says() {
    let cluster = Cluster::start();
    let rows =
        "insert into t (at) values ('2025-01-15 12:00+00'), ('2025-01-31 23:30+00'), ('2025-06-30 22:30+00')";
    let berlin = "range: at, every: 1 month, time_zone: Europe/Berlin, until: 2025-08-01";
    let program = stage(&cluster, "berlin", "at timestamptz not null", rows, berlin);
    program.execute(&["--yes"]).expect_code(0);
    let made = partitions(&cluster, "berlin");
    for expected in ["t_p2025_01 1", "t_p2025_02 1", "t_p2025_06 0", "t_p2025_07 1"] {
        assert!(made.iter().any(|name| name == expected), "{made:?}");
    }
    let utc = "range: at, every: 1 month, until: 2025-08-01";
    let program = stage(&cluster, "utc", "at timestamptz not null", rows, utc);
    let preview = program.execute(&["--dry-run"]).expect_code(0);
    assert!(preview.stdout.contains("begin at midnight UTC"), "{}", preview.stdout);
    program.execute(&["--yes"]).expect_code(0);
    assert!(partitions(&cluster, "utc").contains(&"t_p2025_01 2".to_owned()));
    let program = stage(&cluster, "no_zone", "at date not null", "", berlin);
    program
        .run("check", &[])
        .expect_code(3)
        .expect_words(&["`time_zone` is for a key with a time zone", "leave out `time_zone`"]);
}

#[test]
fn a_domain_and_a_retyped_key_have_days_too() {
    let cluster = Cluster::start();
    cluster.create_db("domain");
    let table = "create domain moment as timestamptz check (value > '2000-01-01');
                 create table t (id int primary key, at moment not null);
                 insert into t select n, timestamptz '2025-01-01 00:00+00' + n * interval '1 day' from generate_series(0, 30) n";
    cluster.psql("domain", table);
    let program = Bluegreen::new(&cluster, "domain").plan(&plan("range: at, every: 1 month, ahead: 0"));
    program.execute(&["--yes"]).expect_code(0);
    assert!(partitions(&cluster, "domain").contains(&"t_p2025_01 31".to_owned()));
    // The range is that of the values that green will have.
    cluster.create_db("text");
    let table = "create table t (id int primary key, at text not null);
                 insert into t select n, to_char(date '2025-01-01' + n, 'DD.MM.YYYY') from generate_series(0, 30) n";
    cluster.psql("text", table);
    let columns = "    columns:\n      at: {type: date, using: \"make_date(substr(at, 7, 4)::int, substr(at, 4, 2)::int, substr(at, 1, 2)::int)\", one_way: true}\n";
    let program = Bluegreen::new(&cluster, "text")
        .plan(&format!("{}{columns}", plan("range: at, every: 1 month, ahead: 0")));
    program.execute(&["--yes"]).expect_code(0);
    assert!(partitions(&cluster, "text").contains(&"t_p2025_01 31".to_owned()));
}
