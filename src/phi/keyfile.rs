//! A document with keys: what a file, a variable of the environment or a command gives.
//!
//! ```yaml
//! keys:
//!   6f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f11: {key: "<32 bytes in base64>"}
//!   0b0e7a39-6a5f-4c60-8a5f-0f4c1d1f7a10: {passphrase: "<what pgp_sym_encrypt was given>"}
//!   5a3c9b1e-0d57-4f0e-9a0f-77a4f8d7c001: {wrapped: "<what the plan's unwrap command turns into a key>"}
//! ```
//!
//! Invariant: an error says the line, and no text of the document. JSON is YAML, too.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser};
use zeroize::Zeroizing;

use super::KeyId;

/// Larger than any document with keys.
pub(super) const DOCUMENT_MAX: usize = 1 << 20;

/// A secret as the document has it.
pub(super) enum Entry {
    Key(Zeroizing<String>),
    Passphrase(Zeroizing<String>),
    Wrapped(Zeroizing<String>),
}

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Wrong {
    line: usize,
    what: &'static str,
}

/// Where in the document the next scalar is.
enum At {
    Top,
    /// After `type`, which `phi keygen --json` writes.
    Type,
    /// After `keys`.
    Keys,
    /// Among the ids.
    Ids,
    /// After an id.
    Id(KeyId),
    /// In the map of an id, after the word that says what it is.
    Secret(KeyId, Option<String>),
}

/// Reads the document.
pub(super) fn read(text: &str) -> Result<BTreeMap<KeyId, Entry>, Wrong> {
    const SHAPE: &str =
        "expected `keys:`, and under it `<id>: {key: ...}`, `{passphrase: ...}` or `{wrapped: ...}`";
    let mut keys = BTreeMap::new();
    let mut at = At::Top;
    let options =
        granit_parser::options! { emit_comments: false, block_nesting_limit: 8, flow_nesting_limit: 8 };
    let mut line = 1;
    let wrong = |line, what| Err(Wrong { line, what });
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match next {
            Ok(next) => next,
            Err(error) => return wrong(error.marker().line().max(1), "this is not valid YAML"),
        };
        line = span.start.line().max(1);
        at = match (event, at) {
            (Event::MappingStart(..), At::Top) => At::Top,
            (Event::Scalar(word, ..), At::Top) if word == "keys" => At::Keys,
            (Event::Scalar(word, ..), At::Top) if word == "type" => At::Type,
            (Event::Scalar(word, ..), At::Type) if word == "keys" => At::Top,
            (Event::MappingStart(..), At::Keys) => At::Ids,
            (Event::Scalar(id, ..), At::Ids) => match KeyId::try_parse(&id) {
                Ok(id) if keys.contains_key(&id) => return wrong(line, "this key is there twice"),
                Ok(id) => At::Id(id),
                Err(_) => return wrong(line, "a key's id is not a UUID"),
            },
            (Event::MappingStart(..), At::Id(id)) => At::Secret(id, None),
            (Event::Scalar(word, ..), At::Secret(id, None)) if !keys.contains_key(&id) => {
                At::Secret(id, Some(word.into_owned()))
            }
            (Event::Scalar(secret, ..), At::Secret(id, Some(word))) => {
                let secret = Zeroizing::new(secret.into_owned());
                let entry = match word.as_str() {
                    "key" => Entry::Key(secret),
                    "passphrase" => Entry::Passphrase(secret),
                    "wrapped" => Entry::Wrapped(secret),
                    _ => return wrong(line, "a key is `key`, `passphrase` or `wrapped`"),
                };
                keys.insert(id, entry);
                At::Secret(id, None)
            }
            (Event::MappingEnd, At::Secret(id, None)) if keys.contains_key(&id) => At::Ids,
            (Event::MappingEnd, At::Ids | At::Top) => At::Top,
            (Event::StreamStart | Event::StreamEnd, at) => at,
            (Event::DocumentStart(..) | Event::DocumentEnd, at @ At::Top) => at,
            _ => return wrong(line, SHAPE),
        };
    }
    if keys.is_empty() { wrong(line, SHAPE) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f11";

    #[test]
    fn yaml_and_json_are_read() {
        for text in [
            format!("keys:\n  {ID}: {{key: \"YQ==\"}}\n"),
            format!("{{\"type\":\"keys\",\"keys\": {{\"{ID}\": {{\"key\": \"YQ==\"}}}}}}"),
        ] {
            let keys = read(&text).unwrap();
            assert!(matches!(keys.values().next(), Some(Entry::Key(secret)) if secret.as_str() == "YQ=="));
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_a_secret() {
        for (text, line) in [
            (String::new(), 1),
            ("SECRET".to_owned(), 1),
            ("keys:\n  SECRET: {key: SECRET}".to_owned(), 2),
            (format!("keys:\n  {ID}: SECRET"), 2),
            (format!("keys:\n  {ID}: {{kex: SECRET}}"), 2),
            (format!("type: SECRET\nkeys:\n  {ID}: {{key: SECRET}}"), 1),
            (format!("keys:\n  {ID}: {{}}"), 2),
            (format!("keys:\n  {ID}: {{key: SECRET, passphrase: SECRET}}"), 2),
            (format!("keys:\n  {ID}: {{key: [SECRET]}}"), 2),
            (format!("keys:\n  {ID}: {{key: SECRET}}\n  {ID}: {{key: SECRET}}"), 3),
            (format!("keys:\n  {ID}: {{key: \"SECRET}}"), 2),
            ("keys: {a: {b: {c: {d: {e: {f: {g: {h: {i: SECRET".to_owned(), 1),
        ] {
            let wrong = read(&text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(!wrong.to_string().contains("SECRET"), "{text}: {wrong}");
            assert!(wrong.line >= line.min(2) - 1, "{text}: {wrong}");
        }
    }
}
