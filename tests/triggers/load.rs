//! Clients whose every acknowledged change is audited once, by each trigger, while the program copies, follows, swaps and
//! swaps back.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Config, NoTls};

use crate::support::waiting::until;
use crate::support::{Bluegreen, Cluster};

use super::{DB, count};

const SCHEMA: &str = "
create schema app; create table app.audit (name text, op text);
create table app.plain (id bigint primary key, n int not null default 0);
create table app.parted (id bigint primary key, n int not null default 0);
insert into app.plain select generate_series(1, 20000); insert into app.parted select generate_series(1, 20000);
create function app.audit() returns trigger language plpgsql as $$ begin
  insert into app.audit values (tg_argv[0], tg_op); return case when tg_op = 'DELETE' then old else new end; end $$;
create function app.audit_rows() returns trigger language plpgsql as $$ begin
  insert into app.audit select tg_argv[0], tg_op from changed; return null; end $$;
do $$ declare t text; begin foreach t in array array['plain', 'parted'] loop execute replace('
  create trigger b before insert or update or delete on app.T for each row execute function app.audit(''T before'');
  create trigger a after insert or update or delete on app.T for each row execute function app.audit(''T after'');
  create trigger always after insert or update or delete on app.T for each row execute function app.audit(''T always'');
  create trigger i after insert on app.T referencing new table as changed for each statement execute function app.audit_rows(''T rows'');
  create trigger u after update on app.T referencing new table as changed for each statement execute function app.audit_rows(''T rows'');
  create trigger d after delete on app.T referencing old table as changed for each statement execute function app.audit_rows(''T rows'');
  create constraint trigger c after insert or update or delete on app.T deferrable initially deferred
    for each row execute function app.audit(''T deferred'');
  create trigger replica after insert or update or delete on app.T for each row execute function app.audit(''T replica'');
  create trigger off after insert or update or delete on app.T for each row execute function app.audit(''T off'');
  alter table app.T enable always trigger always, enable replica trigger replica, disable trigger off;', 'T', t); end loop; end $$;
";

const PLAN: &str = "
version: 1
name: audited
settings: {workers: 2, soak: 1h, throttle: {rest_percent: 0}}
tables:
  - table: app.plain
    add_columns: [seen text]
  - table: app.parted
    partition_by: {hash: id, partitions: 4}
";

const FIRING: [&str; 5] = ["before", "after", "always", "rows", "deferred"];
const TABLES: [&str; 2] = ["plain", "parted"];
const VERBS: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];

/// Acknowledged row changes, by table and verb.
type Acknowledged = [[AtomicI64; 3]; 2];

struct Clients {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Acknowledged>,
    tasks: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(config: &Config) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Acknowledged::default()));
        let tasks = (0..6).map(|number| {
            let (config, stop, acknowledged) = (config.clone(), Arc::clone(&stop), Arc::clone(&acknowledged));
            tokio::spawn(async move { client(number, &config, &stop, &acknowledged).await })
        });
        let tasks = tasks.collect();
        Self { stop, acknowledged, tasks }
    }

    fn changes(&self) -> i64 {
        self.acknowledged.iter().flatten().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    async fn go_on(&self, changes: i64) {
        let wanted = self.changes() + changes;
        until("clients have changed more rows", async || self.changes() >= wanted).await;
    }

    async fn stop(self) -> Arc<Acknowledged> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.acknowledged
    }
}

/// Each has keys of its own. No statement may fail.
async fn client(number: i64, config: &Config, stop: &AtomicBool, acknowledged: &Acknowledged) {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut rng = fastrand::Rng::new();
    let mut next = (number + 1) * 1_000_000;
    while !stop.load(Ordering::Relaxed) {
        let (table, verb) = (rng.usize(0..2), rng.usize(0..3));
        let name = TABLES[table];
        let some = next - rng.i64(0..40);
        let sql = match verb {
            0 => format!("insert into app.{name} (id) values ({next}), ({})", next + 1),
            1 => format!(
                "update app.{name} set n = n + 1 where id in ({some}, {}, {})",
                some + 1,
                1 + number * 1000 + rng.i64(0..1000)
            ),
            _ => format!("delete from app.{name} where id = {some}"),
        };
        next += if verb == 0 { 2 } else { 0 };
        let rows = client.execute(&sql, &[]).await.unwrap();
        acknowledged[table][verb].fetch_add(i64::try_from(rows).unwrap(), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_change_is_audited_exactly_once() {
    let cluster = Cluster::start();
    cluster.psql(DB, SCHEMA);
    let client = cluster.client(DB).await;
    let program = Bluegreen::new(&cluster, DB).plan(PLAN);
    let clients = Clients::start(&Config::from_str(&cluster.url(DB)).unwrap());
    clients.go_on(300).await;
    for _ in 0..2 {
        let running = program.spawn("execute", &["--yes"]);
        running.wait_for("soaking");
        clients.go_on(500).await;
        running.terminate();
        running.finish().expect_code(7);
        program.run("rollback", &[]).expect_code(6);
        clients.go_on(300).await;
    }
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    clients.go_on(300).await;
    let acknowledged = clients.stop().await;
    for (table, verbs) in TABLES.iter().zip(acknowledged.iter()) {
        for (verb, rows) in VERBS.iter().zip(verbs) {
            let rows = rows.load(Ordering::Relaxed);
            assert!(rows > 20, "{verb} on {table}: {rows}");
            for name in FIRING {
                let audited = format!("app.audit where name = '{table} {name}' and op = '{verb}'");
                assert_eq!(count(&client, &audited).await, rows, "{table} {name} {verb}");
            }
            println!("{verb} on {table}: {rows} rows");
        }
    }
    assert_eq!(count(&client, "app.audit where name ~ 'off|replica'").await, 0);
}
