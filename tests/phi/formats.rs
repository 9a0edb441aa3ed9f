//! What the program writes, pgcrypto and gpg read; what pgcrypto writes, with any of its options, the program reads.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use projh_bluegreen::testing::phi::{
    Codec, Format, Identity, Key, KeyId, Keyring, Opener, Refused, Sealer, blind_index, label, pgp,
};
use tokio_postgres::Client;

use super::base64;
use crate::support::Cluster;

fn key() -> (Key, String) {
    let (id, text) = Key::generate().unwrap();
    (Key::from_base64(id, &text).unwrap(), text.to_string())
}

/// How many values each writer and each reader is tried with.
pub(super) const VALUES: usize = 10_000;

/// Values of every length around the edges, in several alphabets, without NUL, which no text has.
pub(super) fn values(count: usize) -> Vec<String> {
    let alphabet: Vec<char> = "aZ09 \n\r\t'\"\\%$äßé€漢字😀\u{7f}\u{1}".chars().collect();
    let edges =
        [0, 1, 2, 15, 16, 17, 31, 32, 183, 184, 185, 186, 190, 191, 192, 193, 8_300, 8_383, 8_384, 20_000];
    let one = |at: usize| {
        let length = edges.get(at).copied().unwrap_or_else(|| fastrand::usize(..120));
        (0..length).map(|_| alphabet[fastrand::usize(..alphabet.len())]).collect()
    };
    let ascii = edges.iter().map(|length| "x".repeat(*length));
    (0..count).map(one).chain(ascii).collect()
}

/// What the server makes of each value, which it gets by its place in an array.
async fn asked(client: &Client, sql: &str, values: &[Vec<u8>], password: &str) -> Vec<Option<Vec<u8>>> {
    let rows = client.query(sql, &[&values, &password]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn pgcrypto_and_the_program_read_each_other() {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    client.batch_execute("create extension pgcrypto").await.unwrap();
    let (key, text) = key();
    let id = key.id;
    let keyring = Keyring::new([key]);
    let mut sealer = Sealer::new(Format::Pgp, keyring.get(id).unwrap());
    let mut opener = Opener::new(&keyring);
    let nobody = Identity::default();
    let plain = values(VALUES);

    let mut sealed = Vec::new();
    for value in &plain {
        let mut out = Vec::new();
        sealer.seal(value.as_bytes(), &nobody, &mut out).unwrap();
        assert_eq!(label(&out).unwrap().key, Some(id));
        let mut opened = Vec::new();
        opener.open(&out, &nobody, &mut opened).unwrap();
        assert_eq!(opened, value.as_bytes());
        sealed.push(out);
    }
    let read = "select convert_to(pgp_sym_decrypt(v, $2), 'UTF8') from unnest($1::bytea[]) with ordinality u(v, n) order by n";
    let read = asked(&client, read, &sealed, &text).await;
    assert!(read.iter().zip(&plain).all(|(read, plain)| read.as_deref() == Some(plain.as_bytes())));
    assert_eq!(read.len(), plain.len());
    // As the literal is a text, gpg ends its lines as the system does.
    let some = sealed.iter().zip(&plain).filter(|(_, value)| !value.contains('\r')).take(300);
    gpg_reads(&some.collect::<Vec<_>>(), &text);
    gpg_writes(&text, &mut opener);

    let bytes: Vec<Vec<u8>> = plain.iter().map(|value| value.as_bytes().to_vec()).collect();
    let mut combinations = 0;
    for cipher in ["aes128", "aes192", "aes256"] {
        for s2k in [
            "s2k-mode=0",
            "s2k-mode=1",
            "s2k-mode=3, s2k-count=1024",
            "s2k-digest-algo=md5",
            "s2k-digest-algo=sha256",
        ] {
            for more in [
                "",
                ", compress-algo=1",
                ", compress-algo=2, compress-level=9",
                ", sess-key=1",
                ", disable-mdc=1",
                ", unicode-mode=1",
            ] {
                let options = format!("cipher-algo={cipher}, {s2k}{more}");
                // Each value once.
                let some: Vec<Vec<u8>> = bytes.iter().skip(combinations).step_by(90).cloned().collect();
                let write = format!(
                    "select pgp_sym_encrypt(convert_from(v, 'UTF8'), $2, '{options}') from unnest($1::bytea[]) with ordinality u(v, n) order by n"
                );
                for (written, plain) in asked(&client, &write, &some, &text).await.iter().zip(&some) {
                    let mut opened = Vec::new();
                    let label = opener.open(written.as_deref().unwrap(), &nobody, &mut opened).unwrap();
                    assert_eq!((&opened, label.key), (plain, Some(id)), "{options}");
                }
                combinations += 1;
            }
        }
    }
    assert_eq!(combinations, 90);
    what_is_not_accepted(&client, &text, &mut opener).await;
    sql_names_the_key_too(&client, (id, &text), &mut opener).await;
    let of = format!(
        "select hmac(convert_to(lower(btrim(v) collate \"C\"), 'UTF8'), convert_to('{text}', 'UTF8'), 'sha256') \
                      from unnest(array[' Ab C ', 'äÖ', '']) v"
    );
    let indexed: Vec<Vec<u8>> = client.query(&of, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let ours =
        [" Ab C ", "äÖ", ""].map(|v| blind_index(keyring.get(id).unwrap(), v.as_bytes()).unwrap().to_vec());
    assert_eq!(indexed, ours);
}

/// gpg, with a home of its own; `None` where there is none.
fn gpg(home: &Path, password: &str, args: &[&str]) -> Option<()> {
    let mut gpg = Command::new("gpg");
    gpg.args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", password]).args(args);
    let status = gpg.env("GNUPGHOME", home).current_dir(home).stderr(Stdio::null()).status().ok()?;
    assert!(status.success(), "gpg {args:?}");
    Some(())
}

/// gpg knows a marker packet only as the specification has it, so it gets the messages after ours.
fn gpg_reads(sealed: &[(&Vec<u8>, &String)], password: &str) {
    let home = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..sealed.len()).map(|at| format!("{at}.gpg")).collect();
    for (name, (value, _)) in names.iter().zip(sealed) {
        std::fs::write(home.path().join(name), &value[pgp::KEY_MARKER_BYTES..]).unwrap();
    }
    let args: Vec<&str> = ["--decrypt-files"].into_iter().chain(names.iter().map(String::as_str)).collect();
    if gpg(home.path(), password, &args).is_none() {
        return;
    }
    for (at, (_, plain)) in sealed.iter().enumerate() {
        let read = std::fs::read(home.path().join(at.to_string())).unwrap();
        assert!(read == plain.as_bytes(), "a text of {} bytes", plain.len());
    }
}

/// What gpg writes as text, the program reads.
fn gpg_writes(password: &str, opener: &mut Opener) {
    let home = tempfile::tempdir().unwrap();
    let plain = "123-45-6789 ä漢".repeat(20);
    std::fs::write(home.path().join("plain"), &plain).unwrap();
    for more in [
        ["--compress-algo", "none"],
        ["--compress-algo", "zip"],
        ["--compress-algo", "zlib"],
        ["--s2k-mode", "1"],
    ] {
        let args = ["--yes", "--textmode", "--cipher-algo", "AES256", "--s2k-count", "65536", "-o", "sealed"];
        if gpg(home.path(), password, &[&args, &more[..], &["--symmetric", "plain"]].concat()).is_none() {
            return;
        }
        let mut opened = Vec::new();
        opener
            .open(&std::fs::read(home.path().join("sealed")).unwrap(), &Identity::default(), &mut opened)
            .unwrap();
        assert_eq!(opened, plain.as_bytes(), "{more:?}");
    }
}

async fn what_is_not_accepted(client: &Client, text: &str, opener: &mut Opener) {
    let nobody = Identity::default();
    for (cipher, named) in [("bf", "bf (Blowfish)"), ("cast5", "cast5"), ("3des", "3des")] {
        let write = format!("select pgp_sym_encrypt('x', $1, 'cipher-algo={cipher}')");
        // Without OpenSSL's legacy algorithms the server does not write them either.
        let Ok(row) = client.query_one(&write, &[&text]).await else { continue };
        let value: Vec<u8> = row.get(0);
        assert_eq!(opener.open(&value, &nobody, &mut Vec::new()), Err(Refused::Algorithm(named)));
        assert_eq!(label(&value), Err(Refused::Algorithm(named)));
    }
    let foreign = "select pgp_sym_encrypt('x', 'another'), pgp_sym_encrypt_bytea('\\x00ff', $1)";
    let row = client.query_one(foreign, &[&text]).await.unwrap();
    let opened = [0, 1].map(|at| opener.open(&row.get::<_, Vec<u8>>(at), &nobody, &mut Vec::new()));
    assert_eq!(opened, [Err(Refused::NoKey), Err(Refused::NotText)]);
}

async fn sql_names_the_key_too(client: &Client, (id, text): (KeyId, &str), opener: &mut Opener) {
    let sql = format!(
        "select '\\xca13504750'::bytea || uuid_send('{id}') || pgp_sym_encrypt('named', $1, 'cipher-algo=aes256')"
    );
    let value: Vec<u8> = client.query_one(&sql, &[&text]).await.unwrap().get(0);
    assert_eq!(value[..21], pgp::key_marker(id));
    let mut opened = Vec::new();
    let label = opener.open(&value, &Identity::default(), &mut opened).unwrap();
    assert_eq!((label.key, &opened[..]), (Some(id), &b"named"[..]));
    let sql = "select pgp_sym_decrypt($1::bytea, $2)";
    let read: String = client.query_one(sql, &[&value, &text]).await.unwrap().get(0);
    assert_eq!(read, "named");
}

/// The stream has values in their binary form; their text has to be the server's.
#[tokio::test]
async fn the_text_of_binary_values_is_that_of_a_cast() {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    client
        .batch_execute("create extension citext; set timezone = 'UTC'; set extra_float_digits = 1")
        .await
        .unwrap();
    let cases: [(&str, &str, &str); 14] = [
        ("text", "textsend", "select chr(40 + n) || 'ä' from generate_series(1, 50) n"),
        ("citext", "citextsend", "select 'AbC' || n from generate_series(1, 5) n"),
        ("character(5)", "bpcharsend", "select rpad('ä', n) from generate_series(1, 5) n union select ''"),
        ("json", "json_send", "select '{\"a\":  1 }'"),
        ("jsonb", "jsonb_send", "select '{\"a\":  1, \"b\": [null, \"x\"]}'"),
        ("boolean", "boolsend", "select 'true' union select 'false'"),
        ("smallint", "int2send", "select n::text from generate_series(-32768, 32767, 771) n"),
        ("integer", "int4send", "select (n * 1000003)::text from generate_series(-2000, 2000) n"),
        ("bigint", "int8send", "select (n * 4611686018427387)::text from generate_series(-2000, 2000) n"),
        ("uuid", "uuid_send", "select gen_random_uuid()::text from generate_series(1, 50)"),
        (
            "date",
            "date_send",
            "select (date '4713-01-01 BC' + n * 1237)::text from generate_series(0, 4000) n \
             union select unnest(array['infinity', '-infinity', '5874897-12-31', '2000-02-29', '0001-01-01', '0001-12-31 BC'])",
        ),
        (
            "timestamp without time zone",
            "timestamp_send",
            "select (timestamp '4713-01-01 BC' + n * interval '1237 days 17:01:03.120456')::text from generate_series(0, 4000) n \
             union select unnest(array['infinity', '-infinity', '1999-12-31 23:59:59.999999', '2024-01-01 00:00:00.5'])",
        ),
        (
            "timestamp with time zone",
            "timestamptz_send",
            "select (timestamptz '2000-01-01' + n * interval '-37 days 17:01:03.1')::text from generate_series(0, 2000) n",
        ),
        (
            "numeric",
            "numeric_send",
            "select (((random() - 0.5) * 10 ^ (n % 40 - 20))::numeric)::text from generate_series(1, 4000) n \
             union select unnest(array['NaN', 'Infinity', '-Infinity', '0', '0.000', '-0.0001', '10000', '100000000', '1e30', \
               '1.10', '123456789012345678901234567890.00000', '0.00001234', '-99999.9999'])",
        ),
    ];
    for (name, send, sql) in cases {
        let sql = format!("select {send}(v::{name}), convert_to(v::{name}::text, 'UTF8') from ({sql}) s(v)");
        let codec = Codec::of(name).unwrap();
        let rows = client.query(&sql, &[]).await.unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            let (binary, text): (Vec<u8>, Vec<u8>) = (row.get(0), row.get(1));
            assert_eq!(codec.text(&binary), Some(text), "{name}");
        }
    }
}

/// The clients of examples/phi and the program read each other's values.
#[test]
fn clients_in_python_and_javascript_read_and_write_envelopes() {
    let raw: String = (0..32).map(|_| format!("{:02x}", fastrand::u8(..))).collect();
    let bytes: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&raw[2 * at..2 * at + 2], 16).unwrap()).collect();
    let id = KeyId::new_v4();
    let keyring = Keyring::new([Key::from_base64(id, &base64(&bytes)).unwrap()]);
    let mut identity = Identity::of_column("public.patients", "ssn_encrypted");
    identity.of_row([&b"4711"[..]]);
    let text = "123-45-6789 ä漢";
    let mut sealed = Vec::new();
    Sealer::new(Format::AesGcm, keyring.get(id).unwrap())
        .seal(text.as_bytes(), &identity, &mut sealed)
        .unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/phi/");
    for (program, file) in [("python3", "aes_gcm.py"), ("node", "aes_gcm.mjs")] {
        let says = |what: &str, given: &str| {
            let arguments = [
                &format!("{folder}{file}"),
                what,
                &id.to_string(),
                &raw,
                "public.patients",
                "ssn_encrypted",
                "4711",
            ];
            let mut client = Command::new(program);
            client.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut client = client.spawn().ok()?;
            client.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
            let output = client.wait_with_output().unwrap();
            let missing = String::from_utf8_lossy(&output.stderr).contains("No module named 'cryptography'");
            assert!(output.status.success() || missing, "{program}: {output:?}");
            (!missing).then(|| String::from_utf8(output.stdout).unwrap())
        };
        // Where there is no such program, there is nothing to test.
        let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
        let Some(read) = says("decrypt", &hex) else { continue };
        assert_eq!(read, text, "{program}");
        let written = says("encrypt", text).unwrap();
        let written: Vec<u8> = (0..written.len() / 2)
            .map(|at| u8::from_str_radix(&written[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let mut opened = Vec::new();
        Opener::new(&keyring).open(&written, &identity, &mut opened).unwrap();
        assert_eq!(opened, text.as_bytes(), "{program}");
    }
}
