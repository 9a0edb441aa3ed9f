//! Views of the old shape, for clients that have not changed yet: made in the swap and dropped when it is undone, as a step of
//! the plan is, and dropped by `finish`.
//!
//! Invariants: a view is read and written with the rights of whoever uses it, where the server can do so. The trigger of a view
//! changes a row only while that is what the statement has seen, because it cannot ask for the statement's condition again; otherwise
//! it fails with serialization_failure. Whatever they call or compare is found in pg_catalog only, or is qualified, with arguments of
//! exactly its types: otherwise whoever can create functions and operators in a schema of the path would get values.

mod computed;
mod key;
mod notes;

use serde::{Deserialize, Serialize};

use super::columns::{Column, Identity};
use super::shape::{Green, GreenColumn, Source, without_length};
use crate::pg::{Ident, Literal, QName, list};
use crate::phi::{KeyId, sql_text};
use crate::plan::{OF_COMPATIBILITY, Script, ScriptStatement, Step, StepTime};

/// The view that a table gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compatibility {
    /// The schema that it is in.
    pub schema: Ident,
    /// Whether the server checks the rights of whoever uses it (PostgreSQL 15 and later), and not of its owner.
    pub security_invoker: bool,
    /// Roles whose privileges on columns only do not reach for it, quoted, and those privileges.
    #[serde(default)]
    pub denied: Vec<(String, String)>,
    /// Roles to which default privileges grant something, quoted: nothing of the view.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_default: Vec<String>,
    /// Columns of the key whose type is none of pg_catalog, with the operator of equality that a unique index uses, qualified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub equals: Vec<(Ident, String)>,
}

/// A column of the old shape.
struct Shown<'a> {
    column: &'a Column,
    /// SQL for its value over the new table, `t`.
    read: String,
    /// What becomes of a value that is written: columns of the new table, each with SQL over a row of the old shape.
    written: Vec<(&'a Ident, String)>,
    is_same: bool,
    /// Whether an expression of the plan gives it, which can read other columns, too.
    is_expression: bool,
}

/// The steps that make and drop the views of these tables; none if the plan asks for none.
pub fn steps<'a>(greens: impl Iterator<Item = &'a Green>) -> Vec<Step> {
    let greens: Vec<(&Green, &Compatibility)> =
        greens.filter_map(|green| Some((green, green.compatibility.as_ref()?))).collect();
    if greens.is_empty() {
        return Vec::new();
    }
    let mut schemas: Vec<(&Ident, &Ident)> = Vec::new();
    for (green, of) in &greens {
        if !schemas.iter().any(|(schema, _)| **schema == of.schema) {
            schemas.push((&of.schema, &green.blue.table.owner));
        }
    }
    let path = "SET LOCAL search_path = pg_catalog".to_owned();
    let begin = schemas.iter().flat_map(|(schema, owner)| {
        [
            format!("CREATE SCHEMA {schema} AUTHORIZATION {owner}"),
            format!("GRANT USAGE ON SCHEMA {schema} TO PUBLIC"),
        ]
    });
    let up: Vec<String> = std::iter::once(path)
        .chain(begin)
        .chain(greens.iter().flat_map(|(green, of)| green.make_view(of)))
        .collect();
    let drops = greens.iter().rev().flat_map(|(green, of)| green.drop_view(of));
    let end = schemas.iter().map(|(schema, _)| format!("DROP SCHEMA {schema}"));
    let down: Vec<String> = drops.chain(end).collect();
    let made = Step {
        name: OF_COMPATIBILITY[0].to_owned(),
        when: StepTime::InSwap,
        up: script(&up),
        down: Some(script(&down)),
        transactional: true,
    };
    let dropped = Step {
        name: OF_COMPATIBILITY[1].to_owned(),
        when: StepTime::Finish,
        up: script(&down),
        down: None,
        transactional: true,
    };
    vec![made, dropped]
}

fn script(texts: &[String]) -> Script {
    let statement = |sql: &String| ScriptStatement { line: 1, column: 1, sql: sql.clone() };
    Script { file: None, statements: texts.iter().map(statement).collect() }
}

/// What the view calls to decrypt a value.
fn decrypt(value: &str) -> String {
    format!("public.decrypt_phi({value}, NULL::pg_catalog.uuid)")
}

/// What it calls with a text and a key.
fn with_key(function: &str, text: &str, key: KeyId) -> String {
    format!("public.{function}({text}, '{key}'::pg_catalog.uuid)")
}

/// SQL over the old or the new row of a trigger, in which it is `r`.
fn of_row(sql: &str, row: &str) -> String {
    format!("(SELECT {sql} FROM (SELECT {row}.*) r)")
}

/// INSERT of a row of the old shape. Without a value for an identity column, the server gives it one. A trigger of the table may leave
/// the row out.
fn insert(live: &QName, shown: &[Shown<'_>], returned: &str) -> String {
    let insert = |without: Option<&Ident>| {
        let written =
            shown.iter().filter(|one| Some(&one.column.name) != without).flat_map(|one| &one.written);
        let (names, values): (Vec<_>, Vec<_>) =
            written.map(|(name, sql)| (name.to_string(), of_row(sql, "NEW"))).unzip();
        format!(
            "INSERT INTO {live} AS t ({}) VALUES ({}) RETURNING {returned} INTO NEW; IF NOT FOUND THEN RETURN NULL; END IF; ",
            list(names),
            list(values)
        )
    };
    match shown.iter().find(|one| one.column.identity.is_some()) {
        Some(Shown { column, .. }) => format!(
            "IF NEW.{name} IS NULL THEN {}ELSE {}END IF; ",
            insert(Some(&column.name)),
            insert(None),
            name = column.name
        ),
        None => insert(None),
    }
}

impl Shown<'_> {
    /// Whether UPDATE can set it.
    fn is_settable(&self) -> bool {
        self.column.identity != Some(Identity::Always)
    }

    /// SQL for whether UPDATE leaves it as it was.
    fn is_kept(&self) -> String {
        format!("pg_catalog.record_image_eq(ROW(NEW.{of}), ROW(OLD.{of}))", of = self.column.name)
    }

    /// What UPDATE sets. What does not change stays: of a random cipher, a new value would always differ.
    fn sets(&self) -> Vec<String> {
        let set = |(name, sql): &(&Ident, String)| {
            let (new, old) = (of_row(sql, "NEW"), of_row(sql, "OLD"));
            let is_same = match self.is_expression {
                true => format!("pg_catalog.record_image_eq(ROW({new}), ROW({old}))"),
                false => self.is_kept(),
            };
            format!("{name} = CASE WHEN {is_same} THEN t.{name} ELSE {new} END")
        };
        self.written.iter().map(set).collect()
    }
}

impl Green {
    fn view(&self, of: &Compatibility) -> QName {
        QName { schema: of.schema.clone(), name: self.live().name.clone() }
    }

    fn function(&self, of: &Compatibility) -> QName {
        QName { schema: of.schema.clone(), name: Ident(format!("{}_write", self.live().name.as_str())) }
    }

    /// Whether the column of blue has plaintext.
    pub(crate) fn is_plain(&self, blue: &Ident) -> bool {
        self.blue.column(blue).is_some_and(|column| !column.base_type.ends_with("bytea"))
    }

    /// Without a computed column, the server itself can write to the view.
    pub(crate) fn has_trigger(&self) -> bool {
        self.columns.iter().any(|column| match &column.source {
            Source::Expression { .. } => true,
            Source::Encrypted(how) => self.is_plain(&how.blue),
            _ => false,
        })
    }

    /// The functions of the database that the view calls, and that are not the plan's own: name and types.
    pub(crate) fn functions_of_view(&self) -> Vec<&'static str> {
        let is_made = |green: &&GreenColumn| matches!(&green.source, Source::Encrypted(how) if self.is_plain(&how.blue));
        let mut columns = self.columns.iter().filter(is_made).peekable();
        if self.compatibility.is_none() || columns.peek().is_none() {
            return Vec::new();
        }
        let has_index = self.columns.iter().any(|green| matches!(green.source, Source::BlindIndex(_)));
        let index = has_index.then_some("phi_blind_index(text, uuid)");
        ["encrypt_phi(text, uuid)", "decrypt_phi(bytea, uuid)"].into_iter().chain(index).collect()
    }

    /// Calls of those functions that succeed if they know the keys, each once.
    pub(crate) fn calls_of_view(&self) -> Vec<String> {
        let mut calls: Vec<String> = Vec::new();
        for green in self.columns.iter().filter(|_| self.compatibility.is_some()) {
            let call = match &green.source {
                Source::Encrypted(how) if self.is_plain(&how.blue) => {
                    decrypt(&with_key("encrypt_phi", "'x'::pg_catalog.text", how.key))
                }
                Source::BlindIndex(index) if self.is_plain(&index.of) => {
                    with_key("phi_blind_index", "'x'::pg_catalog.text", index.key)
                }
                _ => continue,
            };
            if !calls.contains(&call) {
                calls.push(call);
            }
        }
        calls
    }

    fn shown<'a>(&'a self, of: &Compatibility, column: &'a Column) -> Shown<'a> {
        let of_blue = |green: &&GreenColumn| green.blue() == Some(&column.name);
        // With its length and its collation: prepared statements of before the swap check both.
        let collate = column.collation.as_ref().map_or_else(String::new, |name| format!(" COLLATE {name}"));
        let data_type = format!("{}{collate}", column.data_type);
        let same = |green: &'a GreenColumn| {
            let written = match &green.source {
                Source::Generated(_) => Vec::new(),
                _ => vec![(&green.name, format!("r.{}", column.name))],
            };
            Shown { column, read: format!("t.{}", green.name), written, is_same: true, is_expression: false }
        };
        let Some(green) = self.columns.iter().find(of_blue) else {
            return Shown {
                column,
                read: format!("NULL::{data_type}"),
                written: Vec::new(),
                is_same: false,
                is_expression: false,
            };
        };
        match &green.source {
            Source::Expression { sql, back: Some(back), .. } => {
                let (read, written) = match self.computed(&of.schema, green) {
                    Some([read, written]) => (read.of("t"), written.of("r")),
                    None => (format!("({back})"), format!("({sql})")),
                };
                let written = format!("{written}::{}", without_length(&green.data_type));
                let read = format!("{read}::{data_type}");
                Shown {
                    column,
                    read,
                    written: vec![(&green.name, written)],
                    is_same: false,
                    is_expression: true,
                }
            }
            Source::Encrypted(how) if self.is_plain(&how.blue) => {
                let text = sql_text(&column.base_type, &format!("r.{}", column.name));
                let mut written = vec![(&green.name, with_key("encrypt_phi", &text, how.key))];
                written.extend(self.columns.iter().filter_map(|other| match &other.source {
                    Source::BlindIndex(index) if index.of == column.name => {
                        Some((&other.name, with_key("phi_blind_index", &text, index.key)))
                    }
                    _ => None,
                }));
                let read = match self.opened(&of.schema, green) {
                    Some(opened) => format!("{}::{data_type}", opened.of(&green.name)),
                    None => format!("{}::{data_type}", decrypt(&format!("t.{}", green.name))),
                };
                Shown { column, read, written, is_same: false, is_expression: false }
            }
            _ => same(green),
        }
    }

    fn make_view(&self, of: &Compatibility) -> Vec<String> {
        let (view, live, owner) = (self.view(of), self.live(), &self.blue.table.owner);
        let shown: Vec<Shown<'_>> = self.blue.columns.iter().map(|column| self.shown(of, column)).collect();
        let columns = list(shown.iter().map(|one| format!("{} AS {}", one.read, one.column.name)));
        let invoker = if of.security_invoker { " WITH (security_invoker = true)" } else { "" };
        let mut texts: Vec<String> = self.all_computed(of).flat_map(|computed| computed.make()).collect();
        texts.extend(self.all_opened(of).flat_map(|opened| opened.make()));
        texts.push(format!("CREATE VIEW {view}{invoker} AS SELECT {columns} FROM {live} t"));
        if !of.by_default.is_empty() {
            texts.push(format!("REVOKE ALL ON {view} FROM {}", list(&of.by_default)));
        }
        texts.extend(shown.iter().filter_map(|one| {
            let default = one.column.default.as_ref().filter(|_| !one.written.is_empty())?;
            Some(format!("ALTER VIEW {view} ALTER COLUMN {} SET DEFAULT {default}", one.column.name))
        }));
        if self.has_trigger() {
            let function = self.function(of);
            let body = Literal(&self.body(of, &shown)).to_string();
            texts.push(format!(
                "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}"
            ));
            texts.push(format!(
                "CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON {view} FOR EACH ROW EXECUTE FUNCTION {function}()"
            ));
        }
        texts.push(format!(
            "COMMENT ON VIEW {view} IS 'The old shape of {}, until the run is finished.'",
            live.plain().replace('\'', "''")
        ));
        texts.extend(
            self.blue.grants.by_owner().give(&view, owner).into_iter().map(|statement| statement.sql),
        );
        for column in &self.blue.columns {
            texts.extend(
                column.grants.iter().map(|grant| grant.by_owner().column_statement(&view, &column.name).sql),
            );
        }
        texts.push(format!("GRANT CREATE ON SCHEMA {} TO {owner}", of.schema));
        texts.push(format!("ALTER VIEW {view} OWNER TO {owner}"));
        texts
    }

    fn drop_view(&self, of: &Compatibility) -> Vec<String> {
        let function = self.has_trigger().then(|| format!("DROP FUNCTION {}()", self.function(of)));
        let computed = self.all_computed(of).map(|computed| computed.drop());
        let computed = computed.chain(self.all_opened(of).map(|opened| opened.drop()));
        std::iter::once(format!("DROP VIEW {}", self.view(of))).chain(function).chain(computed).collect()
    }

    /// The body of the trigger's function.
    fn body(&self, of: &Compatibility, shown: &[Shown<'_>]) -> String {
        let (view, live) = (self.view(of), self.live());
        let returned = list(shown.iter().map(|one| &one.read));
        let dropped = shown.iter().filter(|one| one.written.is_empty() && one.column.generated.is_none());
        let refused = dropped.map(|one| {
            format!(
                "IF TG_OP <> 'DELETE' AND NEW.{name} IS NOT NULL THEN RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', \
                 MESSAGE = {message}; END IF; ",
                name = one.column.name,
                message = Literal(&format!("column {} of {} was dropped", one.column.name, live.plain()))
            )
        });
        let generated = shown.iter().filter(|one| one.column.generated.is_some()).map(|one| {
            format!(
                "IF TG_OP = 'INSERT' AND NEW.{name} IS NOT NULL OR TG_OP = 'UPDATE' AND NOT {same} THEN \
                 RAISE EXCEPTION USING ERRCODE = 'generated_always', MESSAGE = {message}; END IF; ",
                name = one.column.name,
                same = one.is_kept(),
                message =
                    Literal(&format!("column {} is generated, and can only be DEFAULT", one.column.name))
            )
        });
        let refused = refused.chain(generated);
        let (refused, inserted) = (refused.collect::<String>(), insert(live, shown, &returned));
        let always = shown.iter().filter(|one| !one.is_settable()).map(|one| {
            format!(
                "IF NOT {same} THEN RAISE EXCEPTION USING ERRCODE = 'generated_always', MESSAGE = {message}; END IF; ",
                same = one.is_kept(),
                message = Literal(&format!("column {} can only be updated to DEFAULT", one.column.name))
            )
        });
        let always: String = always.collect();
        let sets = list(shown.iter().filter(|one| one.is_settable()).flat_map(Shown::sets));
        let (key, seen) = (self.key_of_view(of), self.as_seen(shown));
        // A row that is there as it was seen has been left alone by a policy or a trigger, as it would be without the view.
        let vanished = format!(
            "IF NOT FOUND THEN IF EXISTS (SELECT FROM {live} t WHERE {key} AND NOT ({seen})) THEN RAISE EXCEPTION USING ERRCODE = 'serialization_failure', \
             MESSAGE = {}; END IF; RETURN NULL; END IF; ",
            Literal(&format!("a row of {} was changed by another transaction: try again", view.plain()))
        );
        format!(
            "BEGIN {refused}IF TG_OP = 'INSERT' THEN {inserted}RETURN NEW; \
             ELSIF TG_OP = 'UPDATE' THEN {always}UPDATE {live} AS t SET {sets} WHERE {key} AND {seen} RETURNING {returned} INTO NEW; \
             {vanished}RETURN NEW; \
             ELSE DELETE FROM {live} AS t WHERE {key} AND {seen}; {vanished}RETURN OLD; END IF; END"
        )
    }

    /// SQL for whether a row is as the statement has seen it.
    fn as_seen(&self, shown: &[Shown<'_>]) -> String {
        let (same, computed): (Vec<&Shown<'_>>, Vec<&Shown<'_>>) = shown.iter().partition(|one| one.is_same);
        let now = list(same.iter().map(|one| &one.read));
        let then = list(same.iter().map(|one| format!("OLD.{}", one.column.name)));
        let image =
            (!same.is_empty()).then(|| format!("pg_catalog.record_image_eq(ROW({now}), ROW({then}))"));
        let computed = computed.iter().filter(|one| !one.written.is_empty()).map(|one| {
            format!("pg_catalog.record_image_eq(ROW({}), ROW(OLD.{}))", one.read, one.column.name)
        });
        image.into_iter().chain(computed).collect::<Vec<_>>().join(" AND ")
    }
}
