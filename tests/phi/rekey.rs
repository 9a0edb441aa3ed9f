//! `phi rekey`: values under other keys are encrypted again in place, while clients write, and after a kill in mid-way.

use std::os::unix::fs::PermissionsExt as _;

use projh_bluegreen::testing::phi::{Format, Identity, Key, KeyId, Keyring, Opener, Sealer, label};
use tokio_postgres::Client;

use crate::support::waiting::eventually;
use crate::support::{Bluegreen, Cluster, Finished, stage};

mod beside;

const ROWS: i64 = 4_000;

const TABLE: &str = "create extension pgcrypto; create role owner; create schema app authorization owner; set role owner;
    create table app.people (id bigint, region text collate \"C\", n int not null default 0, ssn bytea, note bytea, primary key (region, id));
    create table app.audit (region text, id bigint);
    create function app.audited() returns trigger language plpgsql as 'begin insert into app.audit values (new.region, new.id); return null; end';
    create trigger audited after update on app.people for each row execute function app.audited(); reset role";

struct Stage {
    client: Client,
    program: Bluegreen,
    /// The new key, and the old one.
    keys: [(KeyId, String); 2],
    keyring: Keyring,
}

impl Stage {
    /// Values of all kinds: under the old key and the new one, with and without its id, of a passphrase, NULL, in both formats.
    async fn set(cluster: &Cluster) -> Self {
        let keys = [0, 1].map(|_| Key::generate().unwrap()).map(|(id, text)| (id, text.to_string()));
        let passphrase = KeyId::new_v4();
        let ring = keys.iter().map(|(id, text)| Key::from_base64(*id, text).unwrap());
        let keyring = Keyring::new(ring.chain([Key::from_passphrase(passphrase, "sesame").unwrap()]));
        let (client, program) = stage(cluster, TABLE, &plan(keys[0].0, "")).await;
        let document = format!(
            "keys: {{{}: {{key: \"{}\"}}, {}: {{key: \"{}\"}}, {passphrase}: {{passphrase: sesame}}}}",
            keys[0].0, keys[0].1, keys[1].0, keys[1].1
        );
        let path = program.folder().join("keys.yaml");
        std::fs::write(&path, document).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let stage = Self { client, program, keys, keyring };
        stage.fill().await;
        stage
    }

    async fn fill(&self) {
        let [mut new, mut old] = [0, 1].map(|at| self.sealer(Format::Pgp, at));
        let mut bound = self.sealer(Format::AesGcm, 1);
        let (mut ids, mut regions, mut ssns, mut notes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for id in 1..=ROWS {
            let region = format!("region {}", id % 3);
            let sealer = if id % 10 == 0 { &mut new } else { &mut old };
            ssns.push((id % 7 > 0).then(|| sealed(sealer, &ssn(id), &Identity::default())));
            notes.push(
                (id % 5 > 0).then(|| sealed(&mut bound, &format!("note {id}"), &identity(&region, id))),
            );
            ids.push(id);
            regions.push(region);
        }
        let insert = "insert into app.people (id, region, ssn, note) select * from unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[])";
        self.client.execute(insert, &[&ids, &regions, &ssns, &notes]).await.unwrap();
        let by_sql = format!(
            "update app.people set ssn = pgp_sym_encrypt('ssn ' || id, case id % 2 when 0 then '{}' else 'sesame' end) where id % 70 = 1;
             truncate app.audit",
            self.keys[1].1
        );
        self.client.batch_execute(&by_sql).await.unwrap();
    }

    fn sealer(&self, format: Format, at: usize) -> Sealer {
        Sealer::new(format, self.keyring.get(self.keys[at].0).unwrap())
    }

    /// How many values of each column are under the new key; every one has its row's text.
    async fn under_new(&self) -> [usize; 2] {
        let rows = self.client.query("select id, region, ssn, note, n from app.people", &[]).await.unwrap();
        let mut opener = Opener::new(&self.keyring);
        let mut new = [0, 0];
        for row in &rows {
            let (id, region): (i64, &str) = (row.get(0), row.get(1));
            let ssn = if row.get::<_, i32>(4) > 0 { format!("of client {id}") } else { ssn(id) };
            for (at, text) in [ssn, format!("note {id}")].iter().enumerate() {
                let Some(value) = row.get::<_, Option<Vec<u8>>>(2 + at) else { continue };
                let mut opened = Vec::new();
                opener.open(&value, &identity(region, id), &mut opened).unwrap();
                assert_eq!(&opened, text.as_bytes(), "{id}");
                new[at] += usize::from(label(&value).unwrap().key == Some(self.keys[0].0));
            }
        }
        assert_eq!(rows.len(), usize::try_from(ROWS).unwrap());
        new
    }

    fn rekey(&self, args: &[&str]) -> Finished {
        self.program.say(&[&["phi", "rekey", "plan.yaml", "--json"], args].concat())
    }

    async fn count(&self, what: &str) -> usize {
        let row = self.client.query_one(&format!("select count({what}) from app.people"), &[]).await.unwrap();
        usize::try_from(row.get::<_, i64>(0)).unwrap()
    }
}

fn ssn(id: i64) -> String {
    format!("ssn {id}")
}

fn identity(region: &str, id: i64) -> Identity {
    let mut identity = Identity::of_column("app.people", "note");
    identity.of_row([region.as_bytes(), id.to_string().as_bytes()]);
    identity
}

fn sealed(sealer: &mut Sealer, text: &str, identity: &Identity) -> Vec<u8> {
    let mut out = Vec::new();
    sealer.seal(text.as_bytes(), identity, &mut out).unwrap();
    out
}

fn plan(active: KeyId, throttle: &str) -> String {
    format!(
        "version: 1\nname: people\nsettings: {{workers: 2, chunk_size: 64KiB{throttle}}}\n\
         keys: {{provider: {{file: keys.yaml}}, active: {active}}}\ntables:\n  - table: app.people\n    replica_identity: full\n    columns:\n      \
         ssn: {{encrypt: {{}}, one_way: true}}\n      note: {{encrypt: {{format: aes-gcm}}, one_way: true}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_encrypted_again_in_place_beside_clients_and_after_a_kill() {
    let cluster = Cluster::start();
    let stage = Stage::set(&cluster).await;
    let (ssns, notes) = (stage.count("ssn").await, stage.count("note").await);
    let before = stage.under_new().await;
    assert!(before[0] > 300 && before[1] == 0, "{before:?}");

    // What would be done: nothing is.
    let tried = stage.rekey(&["--dry-run"]).expect_code(0);
    let estimate = tried.events_of("rekey_estimate")[0];
    assert_eq!(estimate["values"], ssns + notes - before[0]);
    let rows_to_do = estimate["rows"].as_u64().unwrap();
    assert!(
        estimate["seconds"].as_f64().unwrap() > 0.0 && estimate["sampled"].as_u64().unwrap() > 0,
        "{estimate}"
    );
    assert_eq!(stage.under_new().await, before);
    let said = stage.program.say(&["phi", "rekey", "plan.yaml", "--dry-run"]).expect_code(0);
    said.expect_words(&[
        "values in",
        "are not under their column's key: about",
        "audited",
        "nothing was changed",
    ]);

    // A client holds a row; the program is killed while it waits for that row, with other rows behind it.
    let other = cluster.client("postgres").await;
    let mine = format!("of client {}", 3);
    let value = sealed(&mut stage.sealer(Format::Pgp, 1), &mine, &Identity::default());
    other.batch_execute("begin").await.unwrap();
    let write = "update app.people set ssn = $1, n = 1 where id = 3";
    assert_eq!(other.execute(write, &[&value]).await.unwrap(), 1);
    let running = stage.program.spawn_plain(&["phi", "rekey", "plan.yaml", "--json"]);
    eventually(&stage.client, "select exists (select from app.audit)").await;
    running.kill9();
    let half = stage.under_new().await;
    assert!(half[1] > 0 && half[1] < notes, "{half:?}");

    // Executed again, it does the rest; the row of the client has what the client wrote.
    let running = stage.program.spawn_plain(&["phi", "rekey", "plan.yaml", "--json"]);
    let others = rows_to_do - 1;
    eventually(&stage.client, &format!("select count(*) = {others} from app.audit")).await;
    let held = stage.rekey(&[]).expect_code(8);
    assert!(held.error().contains("another `projh-bluegreen phi rekey`"), "{}", held.error());
    other.batch_execute("commit").await.unwrap();
    let done = running.finish().expect_code(0);
    assert_eq!(done.events_of("rekeyed").last().unwrap()["left"], 0);
    assert_eq!(stage.under_new().await, [ssns, notes]);
    let audited =
        stage.client.query_one("select count(*) from app.audit", &[]).await.unwrap().get::<_, i64>(0);
    // Each row once, and the client's own.
    assert!(audited <= ROWS + 1, "{audited}");
    let again = stage.rekey(&[]).expect_code(0);
    assert_eq!(again.events_of("rekeyed")[0]["values"], 0);
    stage.program.say(&["phi", "coverage", "plan.yaml"]).expect_code(0).expect_words(&["100 %: every value"]);

    refused(&stage).await;
}

/// What cannot be opened is left, and said without a value; what a trigger changes is rolled back; a run has the table.
async fn refused(stage: &Stage) {
    let Stage { client, program, keys, .. } = stage;
    let wrong = format!(
        "update app.people set ssn = 'KANARIE' where id = 11; update app.people set ssn = pgp_sym_encrypt('KANARIE', 'nobody''s') where id = 12;
         update app.people set note = (select note from app.people where id = 16) where id = 17;
         update app.people set ssn = pgp_sym_encrypt('ssn 18', '{}') where id = 18",
        keys[1].1
    );
    client.batch_execute(&wrong).await.unwrap();
    let left = stage.rekey(&[]).expect_code(4);
    let last = *left.events_of("rekeyed").last().unwrap();
    assert_eq!((&last["values"], &last["left"]), (&1.into(), &2.into()));
    assert!(!left.stdout.contains("KANARIE"), "{}", left.stdout);
    client.batch_execute("update app.people set ssn = null where id in (11, 12)").await.unwrap();

    let trigger = format!(
        "create function app.bad() returns trigger language plpgsql as 'begin new.ssn = old.ssn; return new; end';
         update app.people set ssn = pgp_sym_encrypt('ssn 18', '{}') where id = 18;
         create trigger bad before update on app.people for each row execute function app.bad()",
        keys[1].1
    );
    client.batch_execute(&trigger).await.unwrap();
    let kept = stage.rekey(&[]).expect_code(4);
    assert!(kept.error().contains("a trigger or a rule changes it"), "{}", kept.error());
    client.batch_execute("drop trigger bad on app.people").await.unwrap();

    let rotation = plan(keys[0].0, "").replace("name: people", "name: others");
    program.write_plan(&rotation);
    program.execute(&["--until", "prepare"]).expect_code(0);
    let refused = stage.rekey(&[]).expect_code(3);
    assert!(refused.refusals()[0]["what"].as_str().unwrap().contains("is under way"), "{}", refused.stdout);
    program.run("rollback", &[]).expect_code(6);
    stage.rekey(&[]).expect_code(0);
    program.write_plan(&plan(keys[0].0, "").replace("ssn: {", "region: {"));
    assert!(
        stage.rekey(&[]).expect_code(3).refusals()[0]["what"]
            .as_str()
            .unwrap()
            .contains("is not encrypted yet")
    );
}
