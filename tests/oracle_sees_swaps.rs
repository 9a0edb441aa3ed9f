//! Two migrations by hand, without the program: one that holds every client off while it copies, and
//! one that forgets what is written between its copy and its swap. The oracle must find nothing in
//! the first, with all that a swap does to clients (new tables under prepared statements, wider keys,
//! rows that move between partitions), and the lost writes of the second.

use std::str::FromStr as _;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

use crate::oracle::{Findings, Kind, Load, own};
use crate::support::Cluster;

const DB: &str = "postgres";

/// Gives up before a client could become a deadlock's victim: without it the oracle finds 40P01.
const LOCK: &str = "set local lock_timeout = '300ms'; lock table oracle.by_uuid, oracle.by_identity, oracle.by_tenant in access exclusive mode;";

const COPY: &str = "
create schema green;
create table green.by_uuid (like oracle.by_uuid including defaults) partition by range (at);
create table green.by_uuid_h1 partition of green.by_uuid for values from ('2025-01-01') to ('2025-07-01');
create table green.by_uuid_h2 partition of green.by_uuid for values from ('2025-07-01') to ('2026-01-01');
create table green.by_uuid_rest partition of green.by_uuid default;
insert into green.by_uuid select * from oracle.by_uuid;
alter table green.by_uuid add constraint by_uuid_pkey primary key (id, at);
create table green.by_identity (like oracle.by_identity including defaults including identity);
insert into green.by_identity select * from oracle.by_identity;
alter table green.by_identity add constraint by_identity_pkey primary key (id);
select setval(pg_get_serial_sequence('green.by_identity', 'id'), 1000000);
create table green.by_tenant (like oracle.by_tenant including defaults) partition by hash (tenant);
create table green.by_tenant_0 partition of green.by_tenant for values with (modulus 2, remainder 0);
create table green.by_tenant_1 partition of green.by_tenant for values with (modulus 2, remainder 1);
insert into green.by_tenant select * from oracle.by_tenant;
alter table green.by_tenant add constraint by_tenant_pkey primary key (tenant, number);
alter table green.by_tenant add constraint by_tenant_ref unique (tenant, ref);
";

const SWAP: &str = "
create schema blue;
alter table oracle.by_uuid set schema blue; alter table green.by_uuid set schema oracle;
alter table oracle.by_identity set schema blue; alter table green.by_identity set schema oracle;
alter table oracle.by_tenant set schema blue; alter table green.by_tenant set schema oracle;
";

/// Copies at one moment and swaps at a later one, with clients writing before, between and after.
async fn migrate_by_hand(copy: &str, swap: &str) -> Findings {
    let cluster = Cluster::start();
    let client: Client = cluster.client(DB).await;
    own::create(&client, 300).await.unwrap();
    let config = Config::from_str(&cluster.url(DB)).unwrap();
    let load = Load::new(&config, own::tables()).clients(6).pause(Duration::from_millis(1));
    let running = load.start(&client).await.unwrap();
    running.answers(1_500).await;
    client.batch_execute(copy).await.unwrap();
    running.answers(300).await;
    while let Err(error) = client.batch_execute(swap).await {
        assert_eq!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE), "{error}");
        client.batch_execute("rollback").await.unwrap();
        running.answers(50).await;
    }
    running.answers(1_500).await;
    let outcome = running.stop().await;
    let kinds = "select string_agg(relkind::text, '' order by relname) from pg_class
                 where oid in ('oracle.by_uuid'::regclass, 'oracle.by_identity'::regclass, 'oracle.by_tenant'::regclass)";
    assert_eq!(client.query_one(kinds, &[]).await.unwrap().get::<_, String>(0), "rpp");
    outcome.check(&client).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_holds_the_clients_off_is_not_noticed() {
    let all = format!("begin; {LOCK} {COPY} {SWAP} commit");
    migrate_by_hand("select 1", &all).await.expect_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_forgets_what_was_written_meanwhile_is_found_out() {
    let copy = format!("begin; {COPY} commit");
    let swap = format!("begin; {LOCK} {SWAP} commit");
    let findings = migrate_by_hand(&copy, &swap).await;
    for kind in [Kind::Lost, Kind::Changed, Kind::Returned] {
        assert!(findings.count(kind) > 0, "{kind:?}: {findings}");
    }
    // A row whose deletion was forgotten is in the way of one that is written anew under its key; no
    // other statement fails.
    let mut failed = findings.list.iter().filter(|finding| finding.kind == Kind::Failed);
    assert!(failed.all(|finding| finding.detail.starts_with("23505")), "{findings}");
}
