//! A column that is encrypted on the way, against the server's own encryption, and against the same table without it.

use std::fmt::Write as _;

use serde_json::json;

use crate::figure::Figure;
use crate::program;
use crate::stage::Stage;

const KEY: &str = "6f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f11";
/// 32 bytes in base64.
const SECRET: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";

/// Thirty bytes a value, and a key that the database gives.
const COLUMN: &str = "create extension pgcrypto;
    alter table visits alter kind type text using rpad(kind, 30, md5(visit_id::text));
    create function get_encryption_key(id uuid) returns text language sql as $$ select 'SECRET' $$;
    create table green (like visits); alter table green alter kind type bytea using null";

fn plan(encrypts: bool) -> String {
    let mut plan = format!(
        "version: 1\nname: bench\nsettings: {{workers: 2}}\n\
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

/// Rows a second from the first chunk to the last.
fn ours(stage: &Stage, rows: u64, encrypts: bool) -> f64 {
    fresh(stage, "ours", rows);
    let told = program::execute(stage, "ours", &plan(encrypts), &["--until", "copy"]);
    rows as f64 / told.seconds(&json!({"type": "round"}), &json!({"type": "round_ended"}))
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
    for _ in 0..pairs {
        let encrypting = ours(stage, rows, true);
        by_default.push((encrypting, in_server(stage, rows / 50, rows, "cipher-algo=aes256")));
        quick.push((encrypting, in_server(stage, rows / 5, rows, "cipher-algo=aes256, s2k-mode=1")));
        plain.push((encrypting, ours(stage, rows, false)));
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
    ]
}
