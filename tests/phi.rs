//! Encryption on the way: formats, keys, and what a run does with encrypted columns.

use std::os::unix::fs::PermissionsExt as _;

use projh_bluegreen::testing::phi::{Key, KeyId};

use crate::support::Bluegreen;

mod bound_to;
mod clients;
mod compatibility;
mod compatibility_settings;
mod coverage;
mod differences;
mod elsewhere;
mod environment;
#[cfg(feature = "fips")]
mod fips;
mod formats;
mod leaks;
mod overloads;
mod project_h;
mod refused;
mod registry;
mod rejected;
mod rekey;
mod rotation;
mod run;
mod sql;
mod strangers;
mod under_load;
mod writers;

/// A table with values of several kinds: short, none, empty, and so large that they are stored out of line.
const BLUE: &str = "create extension pgcrypto;
    create table patients (id bigint primary key, ssn varchar(40), history text, info jsonb, born date not null);
    insert into patients select n, case n % 7 when 0 then null when 1 then '' else '123-45-' || n end,
      case when n % 50 = 0 then repeat(md5(n::text), 400) when n % 3 > 0 then 'history of ' || n end,
      jsonb_build_object('n', n, 'ä', null), date '1950-01-01' + n
      from generate_series(1, 3000) n;
    analyze patients";

/// The keys of a test, in a file beside the plan.
struct Keys {
    active: KeyId,
    text: String,
    index: KeyId,
    index_text: String,
    tag: KeyId,
    tag_text: String,
}

impl Keys {
    fn new() -> Self {
        let [(active, text), (index, index_text), (tag, tag_text)] =
            [0; 3].map(|_| Key::generate().unwrap()).map(|(id, text)| (id, text.to_string()));
        Self { active, text, index, index_text, tag, tag_text }
    }

    /// Gives the functions of phi.sql the keys.
    async fn load(&self, client: &tokio_postgres::Client) {
        for (id, secret) in [(self.active, &self.text), (self.index, &self.index_text)] {
            let sql = "insert into phi.keys (key_id, secret) values ($1, $2)";
            client.execute(sql, &[&id, secret]).await.unwrap();
        }
    }

    /// Of a plan: settings, keys, and `public.patients` with columns that are encrypted, renamed and retyped; more of that table
    /// may follow.
    fn patients(&self) -> String {
        let Self { active, index, .. } = self;
        format!(
            "settings: {{workers: 2, soak: 1h}}
keys: {{provider: {{file: keys.yaml}}, active: {active}, blind_index: {index}}}
tables:
  - table: public.patients
    columns:
      ssn: {{encrypt: {{into: ssn_encrypted, blind_index: true}}}}
      info: {{encrypt: {{}}}}
      minutes: {{rename: seconds, type: integer, using: minutes * 60, back: seconds / 60.0}}
      name: {{rename: full_name}}
"
        )
    }

    fn document(&self) -> String {
        let Self { active, text, index, index_text, tag, tag_text } = self;
        format!(
            "keys:\n  {active}: {{key: \"{text}\"}}\n  {index}: {{key: \"{index_text}\"}}\n  {tag}: {{key: \"{tag_text}\"}}\n"
        )
    }

    /// SQL for the tag of a text in `ssn_encrypted` of `public.patients`.
    fn tag_of(&self, text: &str) -> String {
        let part = |text: &str| {
            format!("int4send(octet_length(convert_to({text}, 'UTF8'))) || convert_to({text}, 'UTF8')")
        };
        let parts = ["'public.patients'", "'ssn_encrypted'", "id::text", text].map(part).join(" || ");
        format!("hmac({parts}, '{}', 'sha256')", self.tag_text)
    }

    fn write(&self, program: &Bluegreen) {
        Self::write_document(program, &self.document());
    }

    /// Adds a key, which is a new one, to those of the file; its id and its text.
    fn write_new(&self, program: &Bluegreen) -> (KeyId, String) {
        let (new, text) = Key::generate().unwrap();
        Self::write_document(program, &format!("{}  {new}: {{key: \"{}\"}}\n", self.document(), *text));
        (new, text.to_string())
    }

    fn write_document(program: &Bluegreen, document: &str) {
        let path = program.folder().join("keys.yaml");
        std::fs::write(&path, document).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Encrypts into another column, in place, and bound to the row.
fn plan(keys: &Keys, soak: &str) -> String {
    format!(
        "version: 1
name: phi
settings: {{workers: 2, soak: {soak}, chunk_size: 64KiB}}
keys:
  provider: {{file: keys.yaml}}
  active: {active}
  blind_index: {index}
  tag: {tag}
tables:
  - table: public.patients
    replica_identity: full
    columns:
      ssn: {{encrypt: {{into: ssn_encrypted, blind_index: true, tag: true}}}}
      history: {{encrypt: {{}}}}
      info: {{encrypt: {{into: info_encrypted, format: aes-gcm}}}}
",
        active = keys.active,
        index = keys.index,
        tag = keys.tag,
    )
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let number =
            three.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        out.extend((0..4).map(|at| DIGITS[(number >> (18 - 6 * at) & 63) as usize] as char));
    }
    let padding = (3 - bytes.len() % 3) % 3;
    out.truncate(out.len() - padding);
    out + &"=".repeat(padding)
}
