//! The SQL side, sql/project-h/phi.sql: what it encrypts the program reads, and the other way round; who may do what, and
//! what is left of it.

use projh_bluegreen::testing::phi::{
    Format, Identity, Key, Keyring, Opener, Sealer, blind_index, label, tag,
};
use tokio_postgres::Client;

use super::formats::{VALUES, values};
use crate::support::{Cluster, stage};

const UP: &str = include_str!("../../sql/project-h/phi.sql");
const DOWN: &str = include_str!("../../sql/project-h/phi.down.sql");

async fn code(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let error = error.as_db_error().unwrap();
    format!("{}: {}", error.code().code(), error.message())
}

async fn text(client: &Client, sql: &str) -> Option<String> {
    client.query_one(&format!("select ({sql})::text"), &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn sql_and_the_program_read_each_other() {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    client.batch_execute(UP).await.unwrap();
    let (id, secret) = Key::generate().unwrap();
    let keyring = Keyring::new([Key::from_base64(id, &secret).unwrap()]);
    client.execute("insert into phi.keys (key_id, secret) values ($1, $2)", &[&id, &*secret]).await.unwrap();
    let (mut sealer, mut opener) =
        (Sealer::new(Format::Pgp, keyring.get(id).unwrap()), Opener::new(&keyring));
    let nobody = Identity::default();
    let mut plain: Vec<Option<String>> = values(VALUES).into_iter().map(Some).collect();
    plain.extend([None, Some("long ".repeat(300_000))]);

    // What SQL has written; each with the blind index of it, and its tag in a row.
    let mut row_of = Identity::of_column("public.t", "v");
    let row_of = row_of.of_row([&b"7"[..], "ä".as_bytes()]);
    let sql = "select encrypt_phi(v, $2), phi_blind_index(v, $2), phi_tag(v, $2, 'public.t', 'v', '7', 'ä') from unnest($1::text[]) with ordinality u(v, n) order by n";
    let rows = client.query(sql, &[&plain, &id]).await.unwrap();
    assert_eq!(rows.len(), plain.len());
    for (row, plain) in rows.iter().zip(&plain) {
        let [value, index, tagged]: [Option<Vec<u8>>; 3] = [0, 1, 2].map(|at| row.get(at));
        let Some(plain) = plain else {
            assert_eq!((value, index, tagged), (None, None, None));
            continue;
        };
        assert_eq!(tagged.unwrap(), tag(keyring.get(id).unwrap(), row_of, plain.as_bytes()).unwrap());
        let (value, mut opened) = (value.unwrap(), Vec::new());
        assert_eq!(label(&value).unwrap().key, Some(id));
        opener.open(&value, &nobody, &mut opened).unwrap();
        assert!(opened == plain.as_bytes(), "a text of {} bytes", plain.len());
        assert_eq!(index.unwrap(), blind_index(keyring.get(id).unwrap(), plain.as_bytes()).unwrap());
    }

    // What the program has written.
    let seal = |plain: &String| {
        let mut out = Vec::new();
        sealer.seal(plain.as_bytes(), &nobody, &mut out).unwrap();
        out
    };
    let mut seal = seal;
    let sealed: Vec<Option<Vec<u8>>> = plain.iter().map(|plain| plain.as_ref().map(&mut seal)).collect();
    let sql = "select decrypt_phi(v, $2) from unnest($1::bytea[]) with ordinality u(v, n) order by n";
    let rows = client.query(sql, &[&sealed, &id]).await.unwrap();
    let read: Vec<Option<String>> = rows.iter().map(|row| row.get(0)).collect();
    assert!(read == plain);
    // The key that a value names counts, whichever is given: a rotation under way strands no row.
    let sql = "select decrypt_phi($1, gen_random_uuid()), decrypt_phi($1)";
    let row = client.query_one(sql, &[&sealed[7]]).await.unwrap();
    assert_eq!([row.get::<_, Option<String>>(0), row.get(1)], [plain[7].clone(), plain[7].clone()]);
}

#[tokio::test]
async fn keys_are_for_one_role_and_each_use_is_noted_without_a_value() {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    let before = inventory(&client).await;
    client.batch_execute(UP).await.unwrap();
    let [(id, secret), (other, of_session)] = [Key::generate().unwrap(), Key::generate().unwrap()];
    let old = uuid::Uuid::new_v4();
    let keys = "insert into phi.keys (key_id, state, secret) values ($1, 'active', $2), ($3, 'active', $4), ($5, 'decrypt-only', 'passphrase')";
    client.execute(keys, &[&id, &*secret, &other, &*of_session, &old]).await.unwrap();
    client
        .batch_execute(
            "create role reader; create role stranger; grant phi_user to reader; create table log (v bytea);
            grant all on log to reader",
        )
        .await
        .unwrap();

    // Who may call what.
    client.batch_execute("set role stranger").await.unwrap();
    assert_eq!(
        code(&client, "select encrypt_phi('x', null)").await,
        "42501: permission denied for function encrypt_phi"
    );
    assert_eq!(
        code(&client, "select phi_blind_index('x', null)").await,
        "42501: permission denied for function phi_blind_index"
    );
    client.batch_execute("set role reader").await.unwrap();
    for sql in ["table phi.keys", "table phi.audit", "select phi.open('', '')"] {
        assert_eq!(code(&client, sql).await, "42501: permission denied for schema phi", "{sql}");
    }
    let get = format!("select get_encryption_key('{id}')");
    assert_eq!(code(&client, &get).await, "42501: permission denied for function get_encryption_key");
    // A function of another name before pgcrypto's in the path is not called.
    client
        .batch_execute(&format!(
            "reset role; create schema trap; create function trap.pgp_sym_decrypt(bytea, text) returns text return 'trapped';
             grant usage on schema trap to reader; set role reader; set search_path = trap, public;
             insert into log select encrypt_phi('a value', '{id}') from generate_series(1, 3)"
        ))
        .await
        .unwrap();
    assert_eq!(text(&client, "select min(decrypt_phi(v)) || count(*) from log").await.unwrap(), "a value3");

    // What has to be refused.
    let unknown = uuid::Uuid::nil();
    for (sql, expected) in [
        (
            format!("select encrypt_phi('x', '{unknown}')"),
            format!("22023: key {unknown} is not in the key registry"),
        ),
        (format!("select encrypt_phi('x', '{old}')"), format!("22023: key {old} only decrypts")),
        (
            "select decrypt_phi('plain')".to_owned(),
            "22023: the value names no key, and none is given".to_owned(),
        ),
        (format!("select decrypt_phi('plain', '{id}')"), "39000: Wrong key or corrupt data".to_owned()),
        (
            "select decrypt_phi('\\x5048490100')".to_owned(),
            "0A000: pgcrypto cannot read values of the format aes-gcm".to_owned(),
        ),
    ] {
        assert_eq!(code(&client, &sql).await, expected);
    }
    // A passphrase only decrypts, whatever the registry says.
    client.batch_execute("reset role; reset search_path").await.unwrap();
    client.execute("update phi.keys set state = 'active' where key_id = $1", &[&old]).await.unwrap();
    let passphrase = format!("22023: key {old} is not 32 bytes in base64, so it only decrypts");
    assert_eq!(code(&client, &format!("select encrypt_phi('x', '{old}')")).await, passphrase);
    let by_passphrase = format!("select decrypt_phi(pgp_sym_encrypt('old', 'passphrase'), '{old}')");
    assert_eq!(text(&client, &by_passphrase).await.unwrap(), "old");

    // A key that the session gives.
    client.execute("update phi.keys set secret = null where key_id = $1", &[&other]).await.unwrap();
    let both = format!("select decrypt_phi(encrypt_phi('x', '{other}'))");
    assert_eq!(code(&client, &both).await, format!("55000: the session has to give key {other}"));
    let set = |secret: &str| format!("set phi.key_{} = '{secret}'", other.to_string().replace('-', "_"));
    client.batch_execute(&set(&secret)).await.unwrap();
    assert_eq!(
        code(&client, &both).await,
        format!("22023: what the session gives as key {other} is another key")
    );
    client.batch_execute(&set(&of_session)).await.unwrap();
    assert_eq!(text(&client, &both).await.unwrap(), "x");

    // What is noted: once a transaction, by role and key.
    let audit = format!(
        "select string_agg(action || ' ' || session_role || ' ' || acting_role, ', ' order by action desc) from phi.audit \
         where key_id = '{id}' and acting_role = 'reader'"
    );
    assert_eq!(text(&client, &audit).await.unwrap(), "encrypt postgres reader, decrypt postgres reader");
    let rolled_back = "begin; select decrypt_phi(v) from log; rollback; begin read only; select decrypt_phi(v) from log; commit";
    client.batch_execute(rolled_back).await.unwrap();
    let noted = cluster.log().matches(&format!("phi: decrypt with key {id}")).count();
    assert_eq!(
        noted, 6,
        "one that failed, one that is gone, and one for each value of one that may not write"
    );
    assert!(!cluster.log().contains(secret.as_str()));

    // A key that was destroyed stays so. While another one is there, the registry is not dropped.
    client.execute("update phi.keys set state = 'destroyed' where key_id = $1", &[&id]).await.unwrap();
    assert_eq!(
        code(&client, "select decrypt_phi(v) from log").await,
        format!("22023: key {id} was destroyed")
    );
    let revived = format!("update phi.keys set state = 'active' where key_id = '{id}'");
    assert_eq!(code(&client, &revived).await, format!("55000: key {id} was destroyed"));
    client.batch_execute(&format!("drop schema trap cascade; drop table log; {DOWN}; {UP}")).await.unwrap();
    assert_eq!(
        text(&client, "select count(secret) || ' of ' || count(*) from phi.keys").await.unwrap(),
        "1 of 3"
    );
    client.batch_execute(&format!("update phi.keys set state = 'destroyed'; {DOWN}")).await.unwrap();
    assert_eq!(inventory(&client).await, before);
}

/// What there is, for a comparison on servers that are newer than pg_dump.
async fn inventory(client: &Client) -> String {
    let sql = "select string_agg(what, e'\\n' order by what) from (
        select format('schema %s %s', nspname, nspacl) from pg_namespace where nspname !~ '^(pg_|projh_bluegreen)'
        union all select format('function %s', oid::regprocedure) from pg_proc where pronamespace = 'public'::regnamespace
        union all select format('relation %s', oid::regclass) from pg_class where relnamespace = 'public'::regnamespace
        union all select format('extension %s', extname) from pg_extension
        union all select format('role %s', rolname) from pg_roles where rolname ~ '^phi_') of(what)";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// As a step of a plan, by a role that is no superuser, there and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_a_step_of_a_plan_with_its_way_back() {
    let cluster = Cluster::start();
    let plan = "
version: 1
name: phi-step
settings: {workers: 1}
tables:
  - table: public.t
    partition_by: {hash: id, partitions: 2}
steps:
  - {name: phi functions, when: prepare, up: {file: phi.sql}, down: {file: phi.down.sql}}
";
    let (client, program) =
        stage(&cluster, "create table t (id bigint primary key); insert into t values (1)", plan).await;
    for (name, text) in [("phi.sql", UP), ("phi.down.sql", DOWN)] {
        std::fs::write(program.folder().join(name), text).unwrap();
    }
    let before = inventory(&client).await;
    program.run("check", &[]).expect_code(0);
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    assert_eq!(
        text(&client, "select to_regprocedure('decrypt_phi(bytea, uuid)') is not null").await.unwrap(),
        "true"
    );
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(inventory(&client).await, before);
    let plain = "create role installer createrole; grant create on database postgres to installer; grant create on schema public to installer with grant option; set role installer";
    client.batch_execute(&format!("{plain}; {UP}")).await.unwrap();
    assert_eq!(code(&client, "table phi.keys").await, "42501: permission denied for schema phi");
    client.batch_execute(DOWN).await.unwrap();
}

/// As in each project of Supabase.
#[tokio::test]
async fn default_privileges_open_nothing() {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    let roles = "create role anon; create role phi_friend; alter default privileges in schema public grant all on functions to anon;
        alter default privileges grant all on functions to anon; alter default privileges grant all on tables to anon, phi_friend;
        alter default privileges grant all on schemas to anon, phi_friend";
    client.batch_execute(roles).await.unwrap();
    let reached = "select string_agg(what, ', ') from (
        select format('%s may use %s', r.rolname, p.oid::regprocedure) from pg_roles r, pg_proc p
          where r.rolname in ('anon', 'phi_friend') and (p.pronamespace = 'phi'::regnamespace or p.proname ~ '^(phi_|encrypt_phi|decrypt_phi|get_enc)')
            and has_function_privilege(r.oid, p.oid, 'execute')
        union all select format('%s may read %s', r.rolname, c.oid::regclass) from pg_roles r, pg_class c
          where r.rolname in ('anon', 'phi_friend') and c.relnamespace = 'phi'::regnamespace and c.relkind = 'r'
            and has_table_privilege(r.oid, c.oid, 'select, insert, update, delete')
        union all select format('%s may use the schema', r.rolname) from pg_roles r
          where r.rolname in ('anon', 'phi_friend') and has_schema_privilege(r.oid, 'phi', 'usage')) of(what)";
    for _ in 0..2 {
        client.batch_execute(UP).await.unwrap();
        assert_eq!(client.query_one(reached, &[]).await.unwrap().get::<_, Option<String>>(0), None);
    }
    let (id, secret) = Key::generate().unwrap();
    client.execute("insert into phi.keys (key_id, secret) values ($1, $2)", &[&id, &*secret]).await.unwrap();
    client.batch_execute("grant phi_user to phi_friend; set role phi_friend").await.unwrap();
    assert_eq!(text(&client, &format!("decrypt_phi(encrypt_phi('x', '{id}'))")).await.as_deref(), Some("x"));
}

/// Two plans have it as a step; one of them is undone.
#[tokio::test]
async fn what_another_plan_uses_stays() {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    let is_there =
        "to_regprocedure('decrypt_phi(bytea, uuid)') is not null and to_regrole('phi_user') is not null";
    // The second time as an earlier version left it, which did not count.
    for made_before in ["", "drop table phi.installed"] {
        client.batch_execute(&format!("{UP}; {made_before}")).await.unwrap();
        client.batch_execute(&format!("{UP} {DOWN}")).await.unwrap();
        assert_eq!(text(&client, is_there).await.as_deref(), Some("true"));
        client.batch_execute(DOWN).await.unwrap();
        assert_eq!(text(&client, is_there).await.as_deref(), Some("false"));
    }
}
