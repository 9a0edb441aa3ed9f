//! A disk that will not do: known before, or full in the middle.

use std::fs::{self, OpenOptions};
use std::path::Path;

use crate::support::{Bluegreen, Cluster, Finished};

const DB: &str = "postgres";

const TABLE: &str = "
create table t (id int primary key, note text not null);
insert into t select n, repeat('note ' || n, 10) from generate_series(1, 20000) n;
vacuum analyze t;
";

const PLAN: &str = "version: 1
name: disk
settings: {workers: 1, chunk_size: 256KiB, reconnect_for: 300ms}
tables:
  - table: public.t
    partition_by: {hash: id, partitions: 2}
";

#[test]
fn green_that_cannot_fit_is_refused_before_anything_is_made() {
    let cluster = Cluster::builder().setting("autovacuum", "off").start();
    for statement in TABLE.trim().split(";\n") {
        cluster.psql(DB, statement);
    }
    let program = Bluegreen::new(&cluster, DB).plan(PLAN);
    // A free space map of 12 TiB with nothing in it: the table is as large as it says, and the disk is not.
    let path = cluster.psql(DB, "select pg_relation_filepath('t') || '_fsm'");
    let map = OpenOptions::new().write(true).open(cluster.data().join(path.trim())).unwrap();
    let size = map.metadata().unwrap().len();
    map.set_len(12 << 40).unwrap();
    let before = cluster.pg_dump(DB, &[]);
    for args in [&["check", "plan.yaml"][..], &["execute", "plan.yaml", "--yes"]] {
        let words =
            ["green and its WAL will need about 12.0 TiB of disk at ", " are free there", "make room"];
        program.say(args).expect_code(3).expect_words(&words);
    }
    assert_eq!(cluster.pg_dump(DB, &[]), before);
    map.set_len(size).unwrap();
    program.say(&["check", "plan.yaml"]).expect_code(0);
}

/// Fills a disk but for some bytes; removed with the file.
fn fill(disk: &Path, but: u64) {
    let room = rustix::fs::statvfs(disk).unwrap();
    let bytes = usize::try_from(room.f_bavail * room.f_frsize - but).unwrap();
    fs::write(disk.join("ballast"), vec![b'x'; bytes]).unwrap();
}

fn make_room(disk: &Path) {
    fs::remove_file(disk.join("ballast")).unwrap();
}

/// A run that begins with room enough, and then has none.
fn runs_out_of_room(program: &Bluegreen, disk: &Path) -> Finished {
    program.execute(&["--until", "prepare"]).expect_code(0);
    fill(disk, 1 << 20);
    program.say(&["execute", "plan.yaml", "--yes"])
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_run_leaves_it_to_be_resumed_or_rolled_back() {
    let cluster = Cluster::start();
    let Some(disk) = cluster.small_disk(24) else {
        println!("not run: only root may mount a small disk");
        return;
    };
    cluster.psql(DB, &format!("create tablespace small location '{}'", disk.display()));
    for statement in TABLE.replace("not null)", "not null) tablespace small").trim().split(";\n") {
        cluster.psql(DB, statement);
    }
    let program = Bluegreen::new(&cluster, DB).plan(PLAN);
    fill(&disk, 1 << 20);
    let words = ["green will need about ", "/small_disk, ", "are free there", "make room"];
    program.say(&["check", "plan.yaml"]).expect_code(3).expect_words(&words);
    make_room(&disk);

    let dump = || cluster.pg_dump(DB, &["--exclude-schema=projh_bluegreen"]);
    let before = dump();
    let told = [
        "No space left on device",
        "53100",
        "trying again",
        "blue is live",
        "free space on the server's disk",
    ];
    runs_out_of_room(&program, &disk).expect_code(1).expect_words(&told);
    assert_eq!(cluster.psql(DB, "select count(*) from t").trim(), "20000", "blue is not live");
    program.say(&["rollback", "plan.yaml"]).expect_code(6);
    assert!(dump() == before, "rolled back with a full disk, it is not as it was");
    make_room(&disk);

    runs_out_of_room(&program, &disk).expect_code(1).expect_words(&told);
    make_room(&disk);
    program.execute(&["--yes"]).expect_code(0);
    let kind = "select relkind, (select count(*) from t) from pg_class where oid = 't'::regclass";
    assert_eq!(cluster.psql(DB, kind).trim(), "p|20000");
    program.run("finish", &["--yes"]).expect_code(0);
    let left = "select slot_name from pg_replication_slots union all select pubname from pg_publication
                union all select nspname from pg_namespace where nspname ~ '^projh_bg_'";
    assert_eq!(cluster.psql(DB, left).trim(), "");
}
