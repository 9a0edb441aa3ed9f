//! What cannot be encrypted, and keys that cannot be used: refused by name before anything is changed.

use std::os::unix::fs::PermissionsExt as _;

use projh_bluegreen::testing::phi::KeyId;

use super::Keys;
use crate::support::bluegreen::tells;
use crate::support::{Bluegreen, Cluster};

/// What is changed in the key file, its mode, the provider, and what is said of it.
fn of_keys(keys: &Keys) -> Vec<(String, u32, &'static str, &'static str)> {
    let good = keys.document();
    let without = format!("keys:\n  {}: {{key: \"{}\"}}", KeyId::new_v4(), keys.text);
    let passphrase = format!("keys:\n  {}: {{passphrase: sesame}}", keys.active);
    let short = format!("keys:\n  {}: {{key: c2VzYW1l}}", keys.active);
    let wrapped = format!("keys:\n  {}: {{wrapped: sesame}}", keys.active);
    vec![
        (good.clone(), 0o644, "file: keys.yaml", "its mode is 644: others can read it"),
        (good.clone(), 0o600, "file: none.yaml", "none.yaml cannot be used: entity not found"),
        (without, 0o600, "file: keys.yaml", "the key provider did not give key"),
        (passphrase, 0o600, "file: keys.yaml", "is a passphrase: it can decrypt, and not encrypt"),
        (short, 0o600, "file: keys.yaml", "it is not 32 bytes in base64 (44 characters)"),
        (wrapped, 0o600, "file: keys.yaml", "is wrapped, and the plan has no `unwrap` command"),
        ("sesame".to_owned(), 0o600, "file: keys.yaml", "keys.yaml gave cannot be read: line 1"),
        (
            good.clone(),
            0o600,
            "env: PROJH_NO_SUCH_KEYS",
            "PROJH_NO_SUCH_KEYS, which has the keys, is not set",
        ),
        (
            good.clone(),
            0o600,
            "command: [sh, -c, 'sleep 60 & sleep 60']",
            "the key command sh did not end within 0.3 s",
        ),
        (
            good.clone(),
            0o600,
            "command: [sh, -c, 'echo sesame >&2; exit 3']",
            "the key command sh failed: exit status: 3",
        ),
        (good.clone(), 0o600, "command: [echo, sesame]", "that the command echo gave cannot be read: line 1"),
        (good.clone(), 0o600, "command: [no-such-program]", "could not be started: entity not found"),
        (good.clone(), 0o600, "file: pipe", "pipe cannot be used: it is not a file"),
        (good, 0o600, "function: public.no_key", "the key function public.no_key gave no key"),
    ]
}

/// What the table has, how the plan encrypts, and what is said of it.
const OF_COLUMNS: [(&str, &str, &str); 22] = [
    ("", "id: {encrypt: {}}", "column \"id\" is in the primary key, by which rows are found"),
    (
        "alter table t alter ssn set default 'none'",
        "ssn: {encrypt: {}}",
        "has a default, which would be plaintext",
    ),
    ("alter table t add check (ssn <> 'z')", "ssn: {encrypt: {}}", "is about the content of column \"ssn\""),
    ("create index by_ssn on t (ssn)", "ssn: {encrypt: {}}", "index \"by_ssn\" is on column \"ssn\""),
    ("alter table t add unique (ssn)", "ssn: {encrypt: {}}", "of which the new table has only ciphertext"),
    ("create statistics s on ssn, note from t", "ssn: {encrypt: {}}", "statistics public.s are of column"),
    ("create policy p on t using (ssn = 'x')", "ssn: {encrypt: {}}", "policy \"p\" reads column \"ssn\""),
    (
        "alter table t add g text generated always as (upper(ssn)) stored",
        "ssn: {encrypt: {}}",
        "generated column \"g\" reads",
    ),
    ("", "g: {encrypt: {}}", "has no column"),
    (
        "alter table t add f float8",
        "f: {encrypt: {}}",
        "column \"f\" of type double precision cannot be encrypted",
    ),
    ("alter table t add b bytea", "b: {encrypt: {}}", "is bytea, so its values are encrypted already"),
    (
        "",
        "ssn: {encrypt: {previous: 6f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f11}}",
        "so its values have no previous key",
    ),
    ("", "ssn: {encrypt: {format: aes-gcm}}", "aes-gcm, or a tag, binds values to the row's key"),
    (
        "",
        "{ssn: {encrypt: {tag: true}}}, replica_identity: full, compatibility: view",
        "cannot show column \"ssn\": its triggers write no tags",
    ),
    ("", "ssn: {encrypt: {tag: true}}", "aes-gcm, or a tag, binds values to the row's key"),
    (
        "",
        "{note: {type: text, using: 'left(ssn, 3)', one_way: true}, ssn: {encrypt: {}}}",
        "`using` of column \"note\" reads column",
    ),
    (
        "",
        "{ssn: {encrypt: {into: sealed}}}, compatibility: view",
        "calls encrypt_phi(text, uuid), decrypt_phi(bytea, uuid), which schema public has not",
    ),
    // What a domain adds to its type, at any depth.
    (
        "create domain pending as text default 'PENDING'; alter table t alter ssn type pending",
        "ssn: {encrypt: {into: sealed}}",
        "column \"ssn\" has the default of its domain public.pending",
    ),
    (
        "create domain given as text not null; create domain mrn as given; alter table t alter ssn type mrn",
        "ssn: {encrypt: {}}",
        "column \"ssn\" is NOT NULL only by domain public.given",
    ),
    (
        "create domain present as varchar(9) constraint is_some check (value <> ''); create domain code as present;
         alter table t alter ssn type code",
        "ssn: {encrypt: {}}",
        "CHECK is_some of domain public.present is about the content of column \"ssn\"",
    ),
    (
        "create domain sealed as bytea constraint long check (octet_length(value) > 60); alter table t add b sealed",
        "b: {encrypt: {previous: 6f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f11}}",
        "CHECK long of domain public.sealed is about the content of column \"b\"",
    ),
    (
        "create domain filled as bytea not null; alter table t add b filled default ''; alter table t alter b drop default",
        "b: {encrypt: {previous: 6f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f11}}",
        "column \"b\" is NOT NULL only by domain public.filled",
    ),
];

fn plan(keys: &Keys, provider: &str, columns: &str) -> String {
    let columns = if columns.starts_with('{') { columns.to_owned() } else { format!("{{{columns}}}") };
    let tag = if columns.contains("tag") { format!(", tag: {}", keys.tag) } else { String::new() };
    format!(
        "version: 1\nname: phi\nkeys: {{provider: {{{provider}}}, active: {}, timeout: 0.3s{tag}}}\n\
         tables: [{{table: public.t, columns: {columns}}}]\n",
        keys.active
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_encrypted_is_refused_by_name() {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    let keys = Keys::new();
    let mut program = Bluegreen::new(&cluster, "postgres");
    let table = "drop table if exists t; create table t (id bigint primary key, ssn text, note text); insert into t values (1, 'x', 'y')";
    client.batch_execute(table).await.unwrap();
    client
        .batch_execute("create function no_key(id uuid) returns text language sql as 'select null::text'")
        .await
        .unwrap();
    let refused = |program: &Bluegreen, words: &str| {
        let checked = program.run("check", &[]).expect_code(3);
        let said = checked.refusals().iter().any(|finding| finding["what"].as_str().unwrap().contains(words));
        assert!(said, "lacks {words}: {:?}", checked.refusals());
        assert!(
            !checked.stdout.contains("sesame") && !checked.stdout.contains(&keys.text),
            "{}",
            checked.stdout
        );
    };
    let made = std::process::Command::new("mkfifo").arg(program.folder().join("pipe")).status().unwrap();
    assert!(made.success());
    for (document, mode, provider, words) in of_keys(&keys) {
        program = program.plan(&plan(&keys, provider, "ssn: {encrypt: {}}"));
        let path = program.folder().join("keys.yaml");
        std::fs::write(&path, document).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        refused(&program, words);
    }
    keys.write(&program);
    for (ddl, columns, words) in OF_COLUMNS {
        client.batch_execute(table).await.unwrap();
        client.batch_execute(ddl).await.unwrap();
        program = program.plan(&plan(&keys, "file: keys.yaml", columns));
        refused(&program, words);
    }
    // A column that is NOT NULL itself loses nothing.
    client.batch_execute(table).await.unwrap();
    client.batch_execute("alter table t alter ssn type mrn, alter ssn set not null").await.unwrap();
    program = program.plan(&plan(&keys, "file: keys.yaml", "ssn: {encrypt: {}}"));
    program.run("check", &[]).expect_code(0);
    client.batch_execute(table).await.unwrap();
    // A step may make what a view calls.
    let view = plan(&keys, "file: keys.yaml", "{ssn: {encrypt: {into: sealed}}}, compatibility: view");
    let made = |when: &str| {
        format!(
            "{view}steps: [{{name: f, when: {when}, one_way: true, \
             up: \"create function encrypt_phi(text, uuid) ...; create function decrypt_phi(bytea, uuid) ...\"}}]\n"
        )
    };
    program = program.plan(&made("after_swap"));
    refused(&program, "which schema public has not");
    program = program.plan(&made("in_swap"));
    assert!(!program.run("check", &[]).stdout.contains("which schema public has not"));
    // Each provider, where it works.
    let function = format!(
        "create function get_encryption_key(id uuid) returns text language sql as $$ select '{}' $$",
        keys.text
    );
    client.batch_execute(&function).await.unwrap();
    let wrapped = format!(
        "keys: {{{}: {{wrapped: \"{}\"}}}}",
        keys.active,
        keys.text.chars().rev().collect::<String>()
    );
    std::fs::write(program.folder().join("wrapped.yaml"), wrapped).unwrap();
    std::fs::set_permissions(program.folder().join("wrapped.yaml"), std::fs::Permissions::from_mode(0o400))
        .unwrap();
    program = program.env("PROJH_KEYS", &keys.document());
    for provider in
        ["file: keys.yaml", "env: PROJH_KEYS", "command: [cat, keys.yaml]", "function: get_encryption_key"]
    {
        program = program.plan(&plan(&keys, provider, "ssn: {encrypt: {}}"));
        program.run("check", &[]).expect_code(0);
    }
    let unwrap =
        plan(&keys, "file: wrapped.yaml", "ssn: {encrypt: {}}").replace("timeout", "unwrap: [rev], timeout");
    let program = program.plan(&unwrap);
    program.run("check", &[]).expect_code(0);
    // A new key, as it is printed, is a document with keys.
    for words in [&["phi", "keygen", "--json"][..], &["phi", "keygen"]] {
        let made =
            std::process::Command::new(env!("CARGO_BIN_EXE_projh-bluegreen")).args(words).output().unwrap();
        let made = String::from_utf8(made.stdout).unwrap();
        std::fs::write(program.folder().join("made.yaml"), &made).unwrap();
        std::fs::set_permissions(program.folder().join("made.yaml"), std::fs::Permissions::from_mode(0o400))
            .unwrap();
        let id = made.split(['"', ' ', ':']).find(|word| word.len() == 36).unwrap();
        program.write_plan(
            &plan(&keys, "file: made.yaml", "ssn: {encrypt: {}}").replace(&keys.active.to_string(), id),
        );
        program.run("check", &[]).expect_code(0);
        std::fs::remove_file(program.folder().join("made.yaml")).unwrap();
    }
}

/// A table may have 1,600 columns, and rows with encrypted columns pass through tables that need some more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_columns_are_refused_with_their_number() {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    let keys = Keys::new();
    let wide = |columns: usize| {
        let others: String = (0..columns - 2).map(|number| format!(", c{number} int")).collect();
        format!("drop table if exists t; create table t (id int primary key, ssn text{others})")
    };
    let mut program = Bluegreen::new(&cluster, "postgres");
    keys.write(&program);
    for (columns, change, said) in [
        (
            1599,
            "ssn: {encrypt: {into: sealed, blind_index: true}}",
            "the new one would have 1600, and rows with encrypted",
        ),
        (
            1598,
            "ssn: {encrypt: {into: sealed}}",
            "the table has 1598 columns and the new one would have 1598, and rows",
        ),
        (
            1600,
            "{ssn: {rename: a}}, add_columns: [b int]",
            "the table has 1600 columns and the new one would have 1601; drop some",
        ),
    ] {
        client.batch_execute(&wide(columns)).await.unwrap();
        let of_plan = plan(&keys, "file: keys.yaml", change);
        program = program.plan(&of_plan.replace("timeout", &format!("blind_index: {}, timeout", keys.index)));
        let checked = program.run("check", &[]).expect_code(3);
        let refusals = checked.refusals();
        assert!(
            refusals.iter().any(|refusal| tells(refusal, "1600 columns", said)),
            "{columns}: {refusals:#?}"
        );
    }
}
