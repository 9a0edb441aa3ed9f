//! The server, and databases with the table that everything is measured with.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::support::Cluster;

/// A running server.
#[derive(Debug)]
pub struct Stage {
    pub cluster: Cluster,
    templates: RefCell<BTreeSet<String>>,
}

/// Ten columns, in the order in which visits are booked: each for a day up to two months ahead.
const TABLE: &str = "
create table visits (
  visit_id bigint primary key,
  patient_id bigint not null,
  provider_id integer not null,
  start_time timestamptz not null,
  end_time timestamptz not null,
  status text not null,
  kind text not null,
  notes text,
  fee numeric(10,2) not null,
  created_at timestamptz not null
);
select setseed(0.5);
insert into visits
select n, 1 + (random() * 200000)::int, 1 + (random() * 500)::int, start_time, start_time + interval '50 minutes',
  (array['scheduled', 'completed', 'completed', 'completed', 'cancelled'])[1 + (random() * 4)::int],
  (array['in-person', 'telehealth', 'group'])[1 + (random() * 2)::int],
  case when random() < 0.4 then md5(n::text) || ' ' || md5((n + 1)::text) end,
  (random() * 200)::numeric(10,2), booked
from generate_series(1, :rows) as n,
  lateral (select timestamptz '2024-01-01' + n * (interval '700 days' / :rows) as booked offset 0) as b,
  lateral (select booked + random() * interval '60 days' as start_time offset 0) as s;
";

/// Three indexes beside the key.
const INDEXES: &str = "
create index visits_provider on visits (provider_id, start_time);
create index visits_patient on visits (patient_id);
create index visits_open on visits (status, start_time);
";

impl Stage {
    /// Starts the server. Vacuums would come at times of their own, amid whatever is measured.
    pub fn set() -> Self {
        let cluster = Cluster::builder()
            .setting("fsync", "on")
            .setting("jit", "on")
            .setting("shared_buffers", "1GB")
            .setting("max_wal_size", "16GB")
            .setting("min_wal_size", "4GB")
            .setting("checkpoint_timeout", "1h")
            .setting("maintenance_work_mem", "128MB")
            .setting("autovacuum", "off")
            .start();
        Self { cluster, templates: RefCell::default() }
    }

    /// A fresh database `db` with so many rows in `visits`; with the three indexes, or without.
    pub fn fresh(&self, db: &str, rows: u64, indexed: bool) {
        let template = format!("visits_{rows}_{}", if indexed { "indexed" } else { "bare" });
        if self.templates.borrow_mut().insert(template.clone()) {
            self.cluster.create_db(&template);
            let sql = TABLE.replace(":rows", &rows.to_string()) + if indexed { INDEXES } else { "" };
            self.cluster.psql(&template, &sql);
            self.cluster.psql(&template, "vacuum (freeze, analyze)");
        }
        self.cluster.psql("postgres", &format!("drop database if exists {db}"));
        self.cluster
            .psql("postgres", &format!("create database {db} template {template} strategy file_copy"));
        self.cluster.psql("postgres", "checkpoint");
        // What follows finds the table in memory, whoever comes first.
        self.cluster.psql(db, "select count(*) from visits where notes = ''");
    }

    /// Does not need it any more.
    pub fn drop(&self, db: &str) {
        self.cluster.psql("postgres", &format!("drop database if exists {db} with (force)"));
    }

    /// Seconds that some SQL takes, each text in a session of its own, all at once.
    pub fn seconds(&self, db: &str, sessions: &[&str]) -> f64 {
        let (cluster, begun) = (&self.cluster, Instant::now());
        std::thread::scope(|scope| {
            for sql in sessions {
                scope.spawn(move || cluster.psql(db, sql));
            }
        });
        begun.elapsed().as_secs_f64()
    }

    /// Waits for some SQL to answer `t`.
    pub fn wait_for(&self, db: &str, sql: &str) {
        while self.cluster.psql(db, sql).trim() != "t" {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The first days of 25 months and of the one after them.
fn months() -> Vec<String> {
    (0..26).map(|month| format!("{}-{:02}-01", 2024 + month / 12, month % 12 + 1)).collect()
}

/// A plan for `visits` that leaves it in one piece, with one index more.
pub fn plain_plan() -> String {
    "version: 1\nname: bench\ntables:\n  - table: public.visits\n    \
     indexes: [create index visits_created on visits (created_at)]\n"
        .to_owned()
}

/// A plan for `visits`: 25 monthly partitions.
pub fn plan(settings: &str) -> String {
    format!(
        "version: 1\nname: bench\nsettings: {settings}\ntables:\n  - table: public.visits\n    \
         partition_by: {{range: start_time, bounds: [{}], default: false}}\n    \
         primary_key: [visit_id, start_time]\n",
        months().join(", ")
    )
}

/// The same partitions by hand: `green`, without an index.
pub fn green_by_hand() -> String {
    let mut sql = "create table green (like visits) partition by range (start_time);".to_owned();
    for (number, month) in months().windows(2).enumerate() {
        let (from, to) = (&month[0], &month[1]);
        let _ = write!(
            sql,
            "create table green_{number} partition of green for values from ('{from}') to ('{to}');"
        );
    }
    sql
}
