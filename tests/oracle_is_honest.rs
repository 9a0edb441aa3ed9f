//! The oracle finds nothing where nothing is wrong, and names each wrong that is done behind its back.

use std::str::FromStr as _;
use std::time::Duration;

use tokio_postgres::{Client, Config};

use crate::oracle::{Findings, Kind, Load, Mode, Outcome, own};
use crate::support::Cluster;

const DB: &str = "postgres";

/// One row of the clients', of each table.
const ONE_UUID: &str =
    "(select id from oracle.by_uuid where id > '00000001-0000-0000-0000-000000000000' limit 1)";
const ONE_IDENTITY: &str = "(select id from oracle.by_identity where owner > 0 limit 1)";

async fn with_tables() -> (Cluster, Client) {
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    own::create(&client, 500).await.unwrap();
    (cluster, client)
}

fn load(cluster: &Cluster) -> Load {
    let config = Config::from_str(&cluster.url(DB)).unwrap();
    Load::new(&config, own::tables()).clients(6)
}

/// A load that is over and found in order, but for one wrong that is done then.
async fn after_the_wrong(sql: &str) -> Findings {
    let (cluster, client) = with_tables().await;
    let running = load(&cluster).start(&client).await.unwrap();
    running.answers(3_000).await;
    let outcome = running.stop().await;
    outcome.check(&client).await.unwrap().expect_clean();
    client.batch_execute(sql).await.unwrap();
    outcome.check(&client).await.unwrap()
}

/// A multi-table transaction whose last word is partly undone is torn as well; whether the row was
/// one of those is left to the dice.
fn only(findings: &Findings, kind: Kind, table: &str) {
    assert_eq!(findings.count(kind), 1, "{findings}");
    let rest = findings.list.iter().filter(|finding| finding.kind != Kind::Torn).count();
    assert_eq!(rest, 1, "{findings}");
    let finding = findings.list.iter().find(|finding| finding.kind == kind).unwrap();
    assert_eq!(finding.table, table);
    assert_eq!(finding.key.len(), if kind == Kind::OthersChanged { 0 } else { 12 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_migration_nothing_is_found_in_any_mode() {
    let (cluster, client) = with_tables().await;
    for mode in [Mode::Simple, Mode::Extended, Mode::Prepared, Mode::Mixed] {
        let running = load(&cluster).mode(mode).start(&client).await.unwrap();
        running.answers(4_000).await;
        let outcome = running.stop().await;
        let findings = outcome.check(&client).await.unwrap();
        findings.expect_clean();
        assert!(findings.checked_rows > 200 && findings.other_rows >= 1500, "{findings}");
        assert!(outcome.transactions() > 1_000);
        assert!(
            outcome.latency(0.5) <= outcome.latency(0.99) && outcome.latency(0.99) <= outcome.longest_stall()
        );
        assert_eq!(outcome.connections_lost(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_row_is_named() {
    let findings = after_the_wrong(&format!("delete from oracle.by_uuid where id = {ONE_UUID}")).await;
    only(&findings, Kind::Lost, "oracle.by_uuid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_only_a_user_can_see_is_named() {
    let findings = after_the_wrong(
        "update oracle.by_uuid set amount = 1.000 where id =
           (select id from oracle.by_uuid where amount::text = '1.00' and id > '00000001-0000-0000-0000-000000000000'
            limit 1)",
    )
    .await;
    only(&findings, Kind::Changed, "oracle.by_uuid");
    assert!(findings.list.iter().any(|finding| finding.detail == "amount"), "{findings}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_value_that_differs_in_its_last_byte_is_named() {
    let sql = "update oracle.by_identity set body = left(body, -1) || '?' where id =";
    let findings = after_the_wrong(&format!("{sql} {ONE_IDENTITY}")).await;
    only(&findings, Kind::Changed, "oracle.by_identity");
    assert!(findings.list.iter().any(|finding| finding.detail == "body"), "{findings}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubled_row_is_named() {
    // A copy without the key, swapped in: as a migration that copied a row twice would leave it.
    let findings = after_the_wrong(&format!(
        "create table oracle.copy as select * from oracle.by_uuid;
         insert into oracle.copy select * from oracle.by_uuid where id = {ONE_UUID};
         drop table oracle.by_uuid; alter table oracle.copy rename to by_uuid"
    ))
    .await;
    only(&findings, Kind::Doubled, "oracle.by_uuid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extra_row_is_named() {
    let findings = after_the_wrong(
        "insert into oracle.by_tenant (tenant, number, status, body)
         select max(tenant) / 10 * 10, -1, 'open', '' from oracle.by_tenant",
    )
    .await;
    only(&findings, Kind::Unexpected, "oracle.by_tenant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_row_that_is_back_is_named() {
    let (cluster, client) = with_tables().await;
    client
        .batch_execute(
            "create table oracle.bin (like oracle.by_identity);
             create function oracle.keep() returns trigger language plpgsql as
               'begin insert into oracle.bin select old.*; return old; end';
             create trigger keep after delete on oracle.by_identity for each row execute function oracle.keep()",
        )
        .await
        .unwrap();
    let running = load(&cluster).start(&client).await.unwrap();
    running.answers(3_000).await;
    let outcome = running.stop().await;
    outcome.check(&client).await.unwrap().expect_clean();
    client.batch_execute("insert into oracle.by_identity select * from oracle.bin limit 1").await.unwrap();
    only(&outcome.check(&client).await.unwrap(), Kind::Returned, "oracle.by_identity");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_before_the_load_that_changed_is_noticed() {
    let findings = after_the_wrong(
        "update oracle.by_uuid set note = 'x' where id = (select id from oracle.by_uuid order by id limit 1)",
    );
    only(&findings.await, Kind::OthersChanged, "oracle.by_uuid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_transaction_over_several_tables_is_named() {
    // One table's rows are lost as a whole: nearly every multi-table transaction is then half there.
    let findings = after_the_wrong("delete from oracle.by_identity where owner > 0").await;
    assert!(findings.count(Kind::Torn) > 5, "{findings}");
    assert!(findings.count(Kind::Lost) > findings.count(Kind::Torn), "{findings}");
    assert!(findings.list.iter().all(|finding| finding.table == "oracle.by_identity"), "{findings}");
}

/// Something is wrong for a moment while clients write, and is repaired before the check.
async fn during_a_load(load: Load, client: &Client, wrong: &str, repaired: &str) -> (Outcome, Findings) {
    let running = load.start(client).await.unwrap();
    running.answers(1_000).await;
    client.batch_execute(wrong).await.unwrap();
    running.answers(200).await;
    client.batch_execute(repaired).await.unwrap();
    running.answers(1_000).await;
    let outcome = running.stop().await;
    let findings = outcome.check(client).await.unwrap();
    (outcome, findings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_fails_is_named_in_every_mode() {
    let (cluster, client) = with_tables().await;
    for mode in [Mode::Simple, Mode::Extended, Mode::Prepared] {
        let (away, back) = (
            "alter table oracle.by_uuid rename to by_uuid_away",
            "alter table oracle.by_uuid_away rename to by_uuid",
        );
        let (_, findings) = during_a_load(load(&cluster).mode(mode), &client, away, back).await;
        assert!(findings.count(Kind::Failed) > 10, "{mode:?}: {findings}");
        // A failed statement is no reason to call anything else wrong.
        assert_eq!(findings.count(Kind::Failed), findings.list.len(), "{mode:?}: {findings}");
        assert!(findings.list.iter().all(|f| f.detail.starts_with("42P01")), "{mode:?}: {findings}");
        assert!(
            findings.list.iter().all(|f| f.detail.contains(&format!("{mode:?}"))),
            "{mode:?}: {findings}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_empty_for_a_moment_is_noticed() {
    let (cluster, client) = with_tables().await;
    let (away, back) = (
        "begin; alter table oracle.by_uuid set schema public; create table oracle.by_uuid (like public.by_uuid);
         alter table oracle.by_uuid add constraint by_uuid_key primary key (id); commit",
        "begin; lock table oracle.by_uuid; drop table oracle.by_uuid;
         alter table public.by_uuid set schema oracle; commit",
    );
    let (_, findings) = during_a_load(load(&cluster), &client, away, back).await;
    for kind in [Kind::Misread, Kind::Miscounted, Kind::Lost] {
        assert!(findings.count(kind) > 0, "{kind:?}: {findings}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_waits_shows_as_the_longest_stall() {
    let (cluster, client) = with_tables().await;
    let lock = "begin; lock table oracle.by_uuid; select pg_sleep(0.4); commit";
    let (outcome, findings) = during_a_load(load(&cluster), &client, lock, "select 1").await;
    findings.expect_clean();
    let stall = outcome.longest_stall();
    assert!(stall > Duration::from_millis(300) && stall < Duration::from_secs(60), "{stall:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_without_an_answer_are_looked_up_when_the_server_is_back() {
    let (mut cluster, client) = with_tables().await;
    let running = load(&cluster).clients(12).outages_expected().start(&client).await.unwrap();
    for _ in 0..3 {
        running.answers(1_500).await;
        cluster.kill9();
        cluster.restart();
    }
    running.answers(1_500).await;
    assert!(running.is_alive());
    let outcome = running.stop().await;
    assert!(outcome.connections_lost() >= 3 * 6, "{}", outcome.connections_lost());
    let client = cluster.client(DB).await;
    outcome.check(&client).await.unwrap().expect_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_ended_is_a_failure_unless_it_was_expected() {
    let (cluster, client) = with_tables().await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'oracle'";
    let (_, findings) = during_a_load(load(&cluster), &client, end, "select 1").await;
    assert!(findings.count(Kind::Failed) >= 6, "{findings}");
    assert_eq!(findings.count(Kind::Failed), findings.list.len(), "{findings}");
    let (outcome, findings) =
        during_a_load(load(&cluster).outages_expected(), &client, end, "select 1").await;
    findings.expect_clean();
    assert!(outcome.connections_lost() >= 6);
}
