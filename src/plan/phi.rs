//! `keys` of a plan, and `encrypt` of a column: the keys' ids and where the keys come from, never a key.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::keys::{NAME, TEXT, key, required};
use super::problem::Collected;
use super::shape::{MapShape, Shape};
use super::yaml::{Node, Word};
use super::{ColumnChange, gates, sql, value};
use crate::pg::{Ident, MAX_BYTES, QName};
use crate::phi::{Format, KeyId, KeysPlan, Provider};

const KEY_ID: Shape = Shape::Text {
    pattern: Some(r"^\s*[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\s*$"),
};
const FORMAT: Shape = Shape::Word(&["pgp", "aes-gcm"]);
const WORDS: Shape = Shape::List { of: &TEXT, min: 1 };
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) static KEYS: MapShape = MapShape {
    what: "`keys`",
    keys: &[
        required("provider", Shape::Map(&PROVIDER), "is where the keys come from"),
        required("active", KEY_ID, "is the id of the key that encrypts"),
        key("blind_index", KEY_ID, "is the id of the key of blind indexes, which must be another one"),
        key("tag", KEY_ID, "is the id of the key of tags, which must be a third one"),
        key(
            "decrypt_only",
            Shape::List { of: &KEY_ID, min: 1 },
            "are the ids of more keys to ask a `function` for; the other providers give all that they have",
        ),
        key(
            "unwrap",
            WORDS,
            "is a program with its arguments that turns a wrapped key, on its standard input, into a key",
        ),
        key(
            "timeout",
            Shape::Duration { min: Duration::from_millis(100), max: Duration::from_secs(600) },
            "is how long a command may take (10s)",
        ),
    ],
    later: &[],
    rules: &[],
};

static PROVIDER: MapShape = MapShape {
    what: "`provider`",
    keys: &[
        key("file", TEXT, "is a file that nobody else can read, its path from the plan's directory"),
        key("env", TEXT, "is a variable of the environment"),
        key("command", WORDS, "is a program with its arguments, such as a client of a KMS or a vault"),
        key("function", TEXT, "is a function in the database that gives a key's text for its id (uuid)"),
    ],
    later: &[],
    rules: &[
        r#"{"oneOf": [{"required": ["file"]}, {"required": ["env"]}, {"required": ["command"]}, {"required": ["function"]}]}"#,
    ],
};

pub(super) static ENCRYPT: MapShape = MapShape {
    what: "`encrypt`",
    keys: &[
        key("into", NAME, "is the encrypted column's name (the column's own)"),
        key(
            "format",
            FORMAT,
            "is how values are encrypted: pgp, which pgcrypto reads, or aes-gcm, bound to row and column (pgp)",
        ),
        key("key", KEY_ID, "is the id of the key that encrypts (the active one)"),
        key(
            "previous",
            KEY_ID,
            "is the key that a column of encrypted values (bytea) has now: on the way back, values are encrypted with it",
        ),
        key("previous_format", FORMAT, "is the format of those values (that of `format`)"),
        key(
            "bound_to",
            Shape::List { of: &NAME, min: 1 },
            "are the key's columns that aes-gcm values are bound to: those that the key had before it was widened (all)",
        ),
        key(
            "blind_index",
            TEXT,
            "adds a column <name>_blind_index for equality look-ups: `true`, or the column's name (false)",
        ),
        key(
            "tag",
            TEXT,
            "adds a column <encrypted column>_tag that binds values of the format pgp to row and column: `true`, or the column's name (false)",
        ),
    ],
    later: &[],
    rules: &[],
};

/// Reads `keys` of a plan whose shape has been checked; `file` is the plan's.
pub(super) fn read(plan: &Node, file: &str, found: &mut Collected) -> Option<KeysPlan> {
    let node = plan.get("keys")?;
    let provider = node.get("provider").and_then(|provider| self::provider(provider, file, found));
    let active = node.get("active").and_then(|id| key_id(id, "active", found));
    let blind_index = node.get("blind_index").and_then(|id| key_id(id, "blind_index", found));
    if let Some(id) = node.get("blind_index").filter(|_| blind_index.is_some() && blind_index == active) {
        found.add(id.at, "`blind_index` is the active key, and has to be another one");
    }
    let tag = node.get("tag").and_then(|id| key_id(id, "tag", found));
    if let Some(id) = node.get("tag").filter(|_| tag.is_some() && (tag == active || tag == blind_index)) {
        found.add(id.at, "`tag` is the key of something else, and has to be another one");
    }
    let decrypt_only = node.get("decrypt_only").map_or(&[][..], Node::items);
    let decrypt_only = decrypt_only.iter().filter_map(|id| key_id(id, "decrypt_only", found)).collect();
    let unwrap = node.get("unwrap").map(|node| command(node, file));
    let timeout = node.get("timeout").and_then(|node| value::duration(&node.scalar()?.text));
    let timeout = timeout.unwrap_or(TIMEOUT);
    Some(KeysPlan { provider: provider?, active: active?, blind_index, tag, decrypt_only, unwrap, timeout })
}

fn provider(node: &Node, file: &str, found: &mut Collected) -> Option<Provider> {
    let [(Word { text, .. }, value)] = node.entries() else {
        let hint = "one of `file`, `env`, `command` and `function`".to_owned();
        found.add_with_hint(node.at, "`provider` is one place where the keys come from", hint);
        return None;
    };
    let word = || value.scalar().map(|scalar| scalar.text.clone());
    match text.as_str() {
        "file" => Some(Provider::File(beside(file, &word()?))),
        "env" => Some(Provider::Env(word()?.into())),
        "command" => Some(Provider::Command(command(value, file))),
        "function" => sql::take(value, "function", function, found).map(Provider::Function),
        _ => None,
    }
}

/// A path from the directory of a plan, absolute: the journal keeps it for commands that are executed in other directories.
fn beside(plan: &str, path: &str) -> PathBuf {
    let folder = Path::new(plan).parent().unwrap_or(Path::new(""));
    // A symbolic link to the directory may be changed on purpose; one before `..` leads elsewhere without it.
    let has_parents = folder.components().any(|part| part == Component::ParentDir);
    let resolved = if has_parents { folder.canonicalize() } else { std::path::absolute(folder.join(".")) };
    resolved.unwrap_or_else(|_| folder.to_owned()).join(path).components().collect()
}

/// A program and its arguments. A program without a slash is sought in PATH.
fn command(node: &Node, plan: &str) -> Vec<String> {
    let mut words = gates::words(node);
    if let Some(program) = words.first_mut().filter(|program| program.contains('/'))
        && let Some(path) = beside(plan, program).to_str()
    {
        path.clone_into(program);
    }
    words
}

fn function(text: &str) -> Result<QName, sql::SqlProblem> {
    sql::qname(text)
}

fn key_id(node: &Node, name: &str, found: &mut Collected) -> Option<KeyId> {
    let scalar = node.scalar()?;
    let id = KeyId::try_parse(scalar.text.trim()).ok();
    if id.is_none() {
        found.add(node.at, format!("`{name}: {}` is not a key's id, which is a UUID", scalar.shown()));
    }
    id
}

/// The column that `blind_index` or `tag` of a column names: `true` is `<column>_<name>`.
fn code(node: &Node, name: &str, column: &Ident, found: &mut Collected) -> Option<Ident> {
    let value = node.get(name)?;
    match value.scalar()?.as_bool() {
        Some(is_wanted) => {
            let named = Ident::from(format!("{}_{name}", column.as_str()));
            let bytes = named.as_str().len();
            if is_wanted && bytes > MAX_BYTES {
                let message = format!(
                    "`{name}: true`: the name {named} has {bytes} bytes, and PostgreSQL keeps {MAX_BYTES}"
                );
                found.add_with_hint(value.at, message, format!("give a shorter one: `{name}: <name>`"));
            }
            is_wanted.then_some(named)
        }
        None => sql::take(value, name, column_name, found),
    }
}

/// A column's name, and none of the words that mean `true` or `false` elsewhere.
fn column_name(text: &str) -> Result<Ident, sql::SqlProblem> {
    if ["true", "false", "yes", "no", "on", "off"].contains(&text.trim().to_lowercase().as_str()) {
        let message = "this is neither `true` or `false` nor a column's name".to_owned();
        return Err(sql::SqlProblem {
            message,
            hint: Some("write `true` or `false`, without quotes".to_owned()),
        });
    }
    sql::ident(text)
}

/// Reads `encrypt` of a column; `keys` are those of the plan.
pub(super) fn encrypt(
    column: &Node,
    blue: &Ident,
    keys: Option<&KeysPlan>,
    found: &mut Collected,
) -> Option<ColumnChange> {
    let node = column.get("encrypt")?;
    let others =
        column.entries().iter().filter(|(word, _)| !matches!(word.text.as_str(), "encrypt" | "one_way"));
    for (word, _) in others {
        found.add(word.at, format!("`{}` does not go with `encrypt`", word.text));
    }
    let Some(keys) = keys else {
        let hint = "give `keys: {provider: {file: ...}, active: <id>}` at the top level".to_owned();
        found.add_with_hint(node.at, "`encrypt` needs keys, and the plan has none", hint);
        return None;
    };
    let into = node.get("into").and_then(|value| sql::take(value, "into", sql::ident, found));
    let format_of = |name: &str| match node.get(name).and_then(|format| Some(format.scalar()?.text.as_str()))
    {
        Some("aes-gcm") => Some(Format::AesGcm),
        word => word.map(|_| Format::Pgp),
    };
    let format = format_of("format").unwrap_or(Format::Pgp);
    let key = node.get("key").and_then(|id| key_id(id, "key", found)).unwrap_or(keys.active);
    let previous = node.get("previous").and_then(|id| key_id(id, "previous", found));
    let previous = previous.map(|id| (format_of("previous_format").unwrap_or(format), id));
    if let Some(word) = node.get("previous_format").filter(|_| node.get("previous").is_none()) {
        found.add(word.at, "`previous_format` goes with `previous`, and there is none");
    }
    let bound_to = node.get("bound_to").map(|list| super::table::names(list, "bound_to", found));
    let one_way = column.get("one_way").and_then(|v| v.scalar()?.as_bool()).unwrap_or(false);
    let encrypted = into.as_ref().unwrap_or(blue);
    let blind_index = code(node, "blind_index", blue, found);
    let tag = code(node, "tag", encrypted, found);
    for (name, code, of_keys) in [("blind_index", &blind_index, keys.blind_index), ("tag", &tag, keys.tag)] {
        if let Some(value) = node.get(name).filter(|_| code.is_some() && of_keys.is_none()) {
            let hint = format!("give `{name}: <id>` under `keys`");
            found.add_with_hint(value.at, format!("`{name}` needs a key of its own"), hint);
        }
    }
    if let Some(value) = node.get("tag").filter(|_| tag.is_some() && format == Format::AesGcm) {
        let hint = "take `tag` out: values of the format aes-gcm are bound to row and column by themselves";
        found.add_with_hint(value.at, "`tag` goes with the format pgp", hint.to_owned());
    }
    if previous.is_some_and(|(_, previous)| previous == key) {
        found.add(node.at, "`previous` is the key that encrypts: nothing would change");
    }
    if previous.is_some() && one_way {
        found.add(node.at, "`one_way: true` says there is no way back, and `previous` gives one");
    }
    let index_key = keys.blind_index.filter(|_| blind_index.is_some());
    let tag = tag.zip(keys.tag);
    Some(ColumnChange::Encrypt {
        into,
        format,
        key,
        previous,
        bound_to,
        blind_index,
        index_key,
        tag,
        one_way,
    })
}
