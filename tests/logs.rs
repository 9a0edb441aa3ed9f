//! What the program says of itself with `-v`, `-vv`, `-vvv` and `RUST_LOG`, and what it never says: a row's value.

use crate::support::{self, Bluegreen, Cluster, Finished};

/// In rows, in keys, and in the changes that come while the run is under way.
const SENTINEL: &str = "Zyxomma-4711";

const PLAN: &str = "
version: 1
name: quiet
settings: {workers: 2, chunk_size: 64KiB, max_snapshot_age: 10ms}
tables:
  - table: public.patients
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], default: true}
    primary_key: [name, at]
    columns: {age: {type: smallint}, code: {type: integer, using: 'code::integer', back: 'code::text'}}
    indexes: [create index patients_note on public.patients (note)]
";

async fn stage() -> (Cluster, tokio_postgres::Client, Bluegreen) {
    let cluster = Cluster::start();
    let blue = format!(
        "create table public.patients (name text primary key, at date not null, note text, age integer, code text);
         insert into public.patients select '{SENTINEL} ' || g, date '2026-01-01' + g % 80, '{SENTINEL}', g % 99, g
           from generate_series(1, 5000) g;
         analyze public.patients;"
    );
    let (client, program) = support::stage(&cluster, &blue, PLAN).await;
    (cluster, client, program)
}

fn expect_silence(finished: &Finished) {
    for text in [&finished.stdout, &finished.stderr] {
        assert!(!text.contains("Zyxomma"), "{:?}", text.lines().find(|line| line.contains("Zyxomma")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_v_says_more_and_none_says_a_value() {
    let (_cluster, client, program) = stage().await;
    let quiet = program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
    assert_eq!(quiet.stderr, "");

    let info = program.execute(&["-v", "--yes", "--until", "copy"]).expect_code(0);
    for said in ["run taken over", "phase begins", "slot made", "round begins", "round ends", "phase ends"] {
        assert!(info.stderr.contains(said), "-v does not say `{said}`:\n{}", info.stderr);
    }
    assert!(!info.stderr.contains("DEBUG"), "{}", info.stderr);

    let changes = format!(
        "update public.patients set note = '{SENTINEL} again' where age < 50;
         delete from public.patients where age = 98;
         insert into public.patients select '{SENTINEL} later ' || g, '2026-02-02', null, 7, '1' from generate_series(1, 500) g"
    );
    client.batch_execute(&changes).await.unwrap();
    let debug = program.execute(&["-vv", "--yes", "--until", "verify"]).expect_code(0);
    for said in ["connected", "fact written", "batch applied", "index statement done", "both sides held"] {
        assert!(debug.stderr.contains(said), "-vv does not say `{said}`:\n{}", debug.stderr);
    }
    assert!(!debug.stderr.contains('\x1b'), "colours, and it is no terminal");

    let all = program.execute(&["-vvv", "--yes"]).expect_code(0);
    assert!(all.stderr.contains("swapped") && all.stderr.contains("slot dropped"), "{}", all.stderr);
    for finished in [&info, &debug, &all] {
        expect_silence(finished);
    }
    let facts = "select count(*) from projh_bluegreen.fact f, projh_bluegreen.run r \
                 where (f.*)::text || (r.*)::text like '%Zyxomma%'";
    assert_eq!(client.query_one(facts, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_log_has_the_last_word_and_does_not_open_what_libraries_log_of_values() {
    let (cluster, client, program) = stage().await;
    program.execute(&["--until", "copy"]).expect_code(0);
    client.batch_execute(&format!("update public.patients set note = '{SENTINEL}'")).await.unwrap();
    let program = program.env("RUST_LOG", "trace");
    let traced = program.execute(&["--yes"]).expect_code(0);
    assert!(traced.stderr.contains("batch applied"), "{}", traced.stderr);
    expect_silence(&traced);
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_with_values_in_the_servers_words_is_told_without_them() {
    let (_cluster, client, program) = stage().await;
    program.execute(&["--until", "index"]).expect_code(0);
    // A value that green's type does not take: the server's own message has it in it.
    let sql = format!("insert into public.patients values ('new', '2026-02-02', null, 7, '{SENTINEL}')");
    client.batch_execute(&sql).await.unwrap();
    let failed = program.execute(&["-vvv", "--yes"]).expect_code(1);
    assert!(failed.error().contains("22P02"), "{}", failed.error());
    expect_silence(&failed);
}
