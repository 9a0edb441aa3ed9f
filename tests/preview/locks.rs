//! The locks that a preview shows are those that PostgreSQL takes: its statements are carried out one by
//! one, and after each the server is asked what is locked.

use std::collections::{BTreeMap, BTreeSet};

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

/// The strongest mode for each relation, by oid: names change hands in the swap.
type Locks = BTreeMap<u32, usize>;

fn add(locks: &mut Locks, relation: u32, mode: usize) {
    let held = locks.entry(relation).or_default();
    *held = (*held).max(mode);
}

struct Replay {
    client: Client,
    in_transaction: bool,
    /// What the steps of this transaction promised.
    promised: Locks,
    /// What nobody but the run could reach when it began.
    hidden: BTreeSet<u32>,
    compared: usize,
}

impl Replay {
    async fn step(&mut self, step: &Value) {
        let phase = step["phase"].as_str().unwrap();
        for sql in step["sql"].as_str().unwrap().replace("<run>", RUN).split(";\n") {
            match sql {
                _ if sql.starts_with("BEGIN") => self.begin().await,
                "COMMIT" => self.end().await,
                _ => self.statement(phase, sql, step["locks"].as_array().unwrap()).await,
            }
        }
    }

    async fn statement(&mut self, phase: &str, sql: &str, locks: &[Value]) {
        let alone = !self.in_transaction;
        if alone {
            self.begin().await;
        }
        for lock in locks {
            let mode = MODES.iter().position(|mode| lock["mode"] == *mode).unwrap();
            let relation = lock["relation"].as_str().unwrap().replace("<run>", RUN);
            let row = self.client.query_one("select to_regclass($1)::oid", &[&relation]).await.unwrap();
            add(&mut self.promised, row.get(0), mode);
        }
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let mut held = self.held(phase == "settle").await;
        // A mere look (at a default's sequence, at what a policy reads) is in nobody's way.
        held.retain(|relation, mode| *mode > 0 || self.promised.contains_key(relation));
        let (held, promised) = (self.named(&held).await, self.named(&self.promised).await);
        assert_eq!(held, promised, "{phase}: {sql}");
        self.compared += held.len();
        if alone {
            self.end().await;
        }
    }

    async fn begin(&mut self) {
        self.client.batch_execute("BEGIN").await.unwrap();
        let sql = "select c.oid from pg_class c left join pg_inherits i on i.inhrelid = c.oid \
                   left join pg_class p on p.oid = i.inhparent \
                   where coalesce(p.relnamespace, c.relnamespace) in (select oid from pg_namespace where nspname ~ '^projh_bg_')";
        let rows = self.client.query(sql, &[]).await.unwrap();
        self.hidden = rows.iter().map(|row| row.get(0)).collect();
        (self.in_transaction, self.promised) = (true, Locks::new());
    }

    async fn end(&mut self) {
        self.client.batch_execute("COMMIT").await.unwrap();
        self.in_transaction = false;
    }

    /// What this transaction holds on tables and sequences that clients can see. A partition that is
    /// locked together with its table says nothing new.
    async fn held(&self, hidden_too: bool) -> Locks {
        let sql = "select l.relation, l.mode, (n.nspname ~ '^projh_bg_' or c.relispartition) and c.xmin::text::bigint = txid_current() % 4294967296, \
                   exists (select from pg_locks p join pg_inherits i on i.inhparent = p.relation \
                   where p.pid = l.pid and i.inhrelid = c.oid and p.mode = l.mode) \
                   from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace \
                   where l.pid = pg_backend_pid() and l.granted and c.relkind in ('r', 'p', 'S') \
                   and n.nspname not in ('pg_catalog', 'pg_toast', 'projh_bluegreen')";
        let mut locks = Locks::new();
        for row in self.client.query(sql, &[]).await.unwrap() {
            let (relation, mode): (u32, String) = (row.get(0), row.get(1));
            let (is_new, with_parent): (bool, bool) = (row.get(2), row.get(3));
            let wanted = mode.trim_end_matches("Lock").to_uppercase();
            let mode = MODES.iter().position(|mode| mode.replace(' ', "") == wanted).unwrap();
            let is_hidden =
                self.hidden.contains(&relation) || is_new && !self.promised.contains_key(&relation);
            if (!is_hidden || hidden_too) && !with_parent {
                add(&mut locks, relation, mode);
            }
        }
        locks
    }

    async fn named(&self, locks: &Locks) -> BTreeMap<String, &'static str> {
        let mut named = BTreeMap::new();
        for (relation, mode) in locks {
            let row = self.client.query_one("select $1::oid::regclass::text", &[relation]).await.unwrap();
            named.insert(row.get(0), MODES[*mode]);
        }
        named
    }
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
    let mut replay = Replay {
        client: cluster.client(DB).await,
        in_transaction: false,
        promised: Locks::new(),
        hidden: BTreeSet::new(),
        compared: 0,
    };
    let mut has_all_locks = false;
    for step in preview.events_of("preview_step").into_iter().filter(|step| is_replayed(step)) {
        replay.step(step).await;
        // Once the swap has its locks, nothing that it does can wait for a client.
        has_all_locks = step["phase"] == "swap" && (has_all_locks || step["what"] == "set the time-outs");
        assert!(!has_all_locks || step["locks"].as_array().unwrap().is_empty(), "{step}");
    }
    assert!(replay.compared > 30, "only {} locks were compared", replay.compared);
}
