//! A column that is encrypted on the way, against the server's own encryption, and against the same table without it.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::figure::Figure;
use crate::program::{self, Told};
use crate::stage::Stage;
use crate::stream;

const KEY: &str = "6f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f11";
/// 32 bytes in base64.
const SECRET: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";

/// Thirty bytes a value, and a key that the database gives.
const COLUMN: &str = "create extension pgcrypto;
    alter table visits alter kind type text using rpad(kind, 30, md5(visit_id::text));
    create function get_encryption_key(id uuid) returns text language sql as $$ select 'SECRET' $$;
    create table green (like visits); alter table green alter kind type bytea using null";

fn plan(encrypts: bool, workers: usize) -> String {
    let mut plan = format!(
        "version: 1\nname: bench\nsettings: {{workers: {workers}}}\n\
         keys: {{provider: {{function: get_encryption_key}}, active: {KEY}}}\ntables:\n  - table: public.visits\n"
    );
    if encrypts {
        let _ = writeln!(plan, "    columns: {{kind: {{encrypt: {{}}}}}}");
    }
    plan
}

fn fresh(stage: &Stage, db: &str, rows: u64) {
    stage.fresh(db, rows, false);
    stage.cluster.psql(db, &COLUMN.replace("SECRET", SECRET));
    stage.cluster.psql(db, "vacuum (freeze, analyze) visits");
    stage.cluster.psql("postgres", "checkpoint");
    stage.cluster.psql(db, "select count(*) from visits where notes = ''");
}

/// Rows a second of our copy, from the first chunk to the last; and of our verification, if it encrypts.
fn ours(stage: &Stage, rows: u64, encrypts: bool, workers: usize) -> (f64, f64) {
    let plan = plan(encrypts, workers);
    fresh(stage, "ours", rows);
    let told = program::execute(stage, "ours", &plan, &["--until", "copy"]);
    let copied = rows as f64 / told.seconds(&json!({"type": "round"}), &json!({"type": "round_ended"}));
    if !encrypts {
        return (copied, 0.0);
    }
    program::execute(stage, "ours", &plan, &["--until", "index"]);
    let told = program::execute(stage, "ours", &plan, &["--until", "verify"]);
    (copied, rows as f64 / phase(&told, "verify"))
}

fn phase(told: &Told, name: &str) -> f64 {
    let event = |kind: &str| json!({"type": kind, "phase": name});
    told.seconds(&event("phase_started"), &event("phase_done"))
}

/// Rows a second of two pairs of sessions, COPY out of one and into the other, with nothing between: what no program that rows
/// pass through is faster than.
fn passed_through(stage: &Stage, rows: u64) -> f64 {
    fresh(stage, "peer", rows);
    let psql = stage.cluster.client_path("psql");
    let half = |condition: &str| {
        let psql = format!("{} -X -q -v ON_ERROR_STOP=1", psql.display());
        format!(
            "set -o pipefail; {psql} -c \"copy (select * from visits where {condition}) to stdout (format binary)\" \
             | {psql} -c \"copy green from stdin (format binary)\""
        )
    };
    let halves = [format!("visit_id <= {}", rows / 2), format!("visit_id > {}", rows / 2)];
    let begun = Instant::now();
    let running: Vec<_> = halves
        .iter()
        .map(|condition| {
            let mut shell = Command::new("bash");
            shell.arg("-c").arg(half(condition)).envs(stage.cluster.env("peer")).spawn().unwrap()
        })
        .collect();
    for mut one in running {
        assert!(one.wait().unwrap().success());
    }
    rows as f64 / begun.elapsed().as_secs_f64()
}

/// Changes a second, from the start of catching up to its end.
fn drained(stage: &Stage, encrypts: bool) -> f64 {
    fresh(stage, "ours", stream::ROWS);
    program::execute(stage, "ours", &plan(encrypts, 2), &["--until", "catch_up"]);
    stage.cluster.psql("ours", stream::CHANGE);
    let told = program::execute(stage, "ours", &plan(encrypts, 2), &["--until", "catch_up"]);
    let sql = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = 'ours'";
    stage.cluster.psql("ours", sql);
    stream::CHANGES as f64 / phase(&told, "catch_up")
}

/// Rows a second of two sessions that encrypt in the server, measured on the first of so many rows.
fn in_server(stage: &Stage, rows: u64, of: u64, options: &str) -> f64 {
    fresh(stage, "peer", of);
    let columns = "visit_id, patient_id, provider_id, start_time, end_time, status, \
                   pgp_sym_encrypt(kind, 'SECRET', 'OPTIONS'), notes, fee, created_at";
    let columns = columns.replace("SECRET", SECRET).replace("OPTIONS", options);
    let part = |from: u64, to: u64| {
        format!("insert into green select {columns} from visits where visit_id > {from} and visit_id <= {to}")
    };
    let seconds = stage.seconds("peer", &[&part(0, rows / 2), &part(rows / 2, rows)]);
    rows as f64 / seconds
}

pub fn copy(stage: &Stage, rows: u64, pairs: usize) -> Vec<Figure> {
    let (mut by_default, mut quick, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let (mut alone, mut through, mut verified, mut drain) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let (encrypting, verifying) = ours(stage, rows, true, 2);
        by_default.push((encrypting, in_server(stage, rows / 50, rows, "cipher-algo=aes256")));
        quick.push((encrypting, in_server(stage, rows / 5, rows, "cipher-algo=aes256, s2k-mode=1")));
        plain.push((encrypting, ours(stage, rows, false, 2).0));
        alone.push((ours(stage, rows, true, 1).0, ours(stage, rows, false, 1).0));
        through.push((encrypting, passed_through(stage, rows)));
        verified.push((verifying, encrypting));
        drain.push((drained(stage, true), drained(stage, false)));
    }
    vec![
        Figure::of(
            "encrypting copy / insert ... select pgp_sym_encrypt(...)",
            "rows/s",
            ">= 20x",
            &by_default,
        ),
        Figure::of("encrypting copy / the same with s2k-mode=1", "rows/s", ">= 2.0x", &quick),
        Figure::of("encrypting copy / our copy without encryption", "rows/s", ">= 0.7x", &plain),
        Figure::of("encrypting copy / without encryption, one worker each", "rows/s", "", &alone),
        Figure::of("encrypting copy / psql, COPY out | COPY in", "rows/s", "", &through),
        Figure::of("verification with decryption / encrypting copy", "rows/s", ">= 1.0x", &verified),
        Figure::of("drain of an encrypted table / of the same table", "changes/s", ">= 0.9x", &drain),
    ]
}
