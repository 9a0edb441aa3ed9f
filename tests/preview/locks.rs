//! The locks that a preview shows are those that PostgreSQL takes: its statements are carried out one by
//! one, and after each the server is asked what is locked.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::Client;

use crate::support::Cluster;

use super::{DB, clinic, previewed};

const RUN: &str = "0123abcd";

/// In the order of their strength.
const MODES: [&str; 7] = [
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "ACCESS EXCLUSIVE",
];

/// The strongest mode for each relation.
type Locks = BTreeMap<String, usize>;

fn add(locks: &mut Locks, relation: String, mode: usize) {
    let held = locks.entry(relation).or_default();
    *held = (*held).max(mode);
}

/// What this transaction holds on tables and sequences that clients can see. A partition that is locked
/// together with its table says nothing new; a mere look at a table that is not of the plan neither.
async fn held(client: &Client, at_home_too: bool) -> Locks {
    let sql = "select format('%I.%I', n.nspname, c.relname), l.mode, n.nspname ~ '^projh_bg_', \
               exists (select from pg_locks p join pg_inherits i on i.inhparent = p.relation \
               where p.pid = l.pid and i.inhrelid = c.oid and p.mode = l.mode) \
               from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace \
               where l.pid = pg_backend_pid() and l.granted and c.relkind in ('r', 'p', 'S') \
               and n.nspname not in ('pg_catalog', 'pg_toast', 'projh_bluegreen')";
    let mut locks = Locks::new();
    for row in client.query(sql, &[]).await.unwrap() {
        let (relation, mode): (String, String) = (row.get(0), row.get(1));
        let (at_home, with_parent): (bool, bool) = (row.get(2), row.get(3));
        let wanted = mode.trim_end_matches("Lock").to_uppercase();
        let mode = MODES.iter().position(|mode| mode.replace(' ', "") == wanted).unwrap();
        if (!at_home || at_home_too) && !with_parent {
            add(&mut locks, relation, mode);
        }
    }
    locks
}

struct Replay {
    client: Client,
    in_transaction: bool,
    promised: Locks,
    compared: usize,
}

impl Replay {
    async fn step(&mut self, step: &Value) {
        let phase = step["phase"].as_str().unwrap();
        for sql in step["sql"].as_str().unwrap().replace("<run>", RUN).split(";\n") {
            if sql.starts_with("BEGIN") {
                self.begin().await;
                continue;
            }
            if sql == "COMMIT" {
                self.end("COMMIT").await;
                continue;
            }
            let alone = !self.in_transaction;
            if alone {
                self.begin().await;
            }
            self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            if !sql.starts_with("SET") {
                for lock in step["locks"].as_array().unwrap() {
                    let mode = MODES.iter().position(|mode| lock["mode"] == *mode).unwrap();
                    add(&mut self.promised, lock["relation"].as_str().unwrap().replace('"', ""), mode);
                }
            }
            self.compare(phase, sql).await;
            if alone {
                self.end("COMMIT").await;
            }
        }
    }

    async fn begin(&mut self) {
        self.client.batch_execute("BEGIN").await.unwrap();
        (self.in_transaction, self.promised) = (true, Locks::new());
    }

    async fn end(&mut self, how: &str) {
        self.client.batch_execute(how).await.unwrap();
        self.in_transaction = false;
    }

    async fn compare(&mut self, phase: &str, sql: &str) {
        let mut held = held(&self.client, phase == "settle").await;
        // What is moved is told by the name that it had.
        let moved = sql.split_once(" SET SCHEMA ").map(|(table, to)| {
            let name = table.rsplit('.').next().unwrap();
            (format!("{to}.{name}").replace('"', ""), table.trim_start_matches("ALTER TABLE ").replace('"', ""))
        });
        if let Some((now, before)) = moved
            && let Some(mode) = held.remove(&now)
        {
            add(&mut held, before, mode);
        }
        if phase == "swap" {
            // The names are exchanged there, and everything at home is nobody's yet.
            held.retain(|relation, mode| self.promised.contains_key(relation) || *mode > 0 && !self.is_new(relation));
        }
        assert_eq!(named(&held), named(&self.promised), "{phase}: {sql}");
        self.compared += held.len();
    }

    /// Green, under the name that was blue's.
    fn is_new(&self, relation: &str) -> bool {
        relation == "clinic.visits" || relation == "clinic.visits_id_seq"
    }
}

fn named(locks: &Locks) -> BTreeMap<&str, &str> {
    locks.iter().map(|(relation, mode)| (relation.as_str(), MODES[*mode])).collect()
}

/// Statements of the data path have parameters, or snapshots that are gone.
fn is_replayed(step: &Value) -> bool {
    let sql = step["sql"].as_str().unwrap();
    let is_data = ["$1", "<snapshot>", "_REPLICATION", "pg_drop_replication_slot"];
    step["phase"] != "rollback" && !sql.starts_with("--") && !is_data.iter().any(|word| sql.contains(word))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_locks_shown_are_the_locks_taken() {
    let cluster = Cluster::start();
    let program = clinic(&cluster);
    let preview = previewed(&program, &[]);
    let mut replay =
        Replay { client: cluster.client(DB).await, in_transaction: false, promised: Locks::new(), compared: 0 };
    for step in preview.events_of("preview_step").into_iter().filter(|step| is_replayed(step)) {
        replay.step(step).await;
    }
    assert!(replay.compared > 30, "only {} locks were compared", replay.compared);
}
