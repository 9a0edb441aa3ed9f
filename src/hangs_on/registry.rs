//! A key registry: a table of the keys of a partitioned table, for foreign keys that reference them and to keep them
//! unique across partitions.
//!
//! Triggers on the live table maintain it, in the transaction of the client: those of blue from before the swap on, those
//! of green after it. A row of a table that is not live never reaches it, because the triggers of that table are
//! disabled. The functions run with the rights of the table's owner, so that clients need none on the registry, and with
//! `row_security = off`, so that they fail instead of seeing only some rows. They are ENABLE ALWAYS: where
//! `session_replication_role` is `replica`, foreign keys do not fire either, but a key stays unique.
//!
//! An UPDATE that moves a row to another partition fires DELETE and INSERT: the key stays if the row still exists. An
//! UPDATE of the key changes the registry beforehand, so that such a move finds the new key there and its foreign keys
//! carry out ON UPDATE instead of ON DELETE.

mod functions;

use serde::{Deserialize, Serialize};

use super::inbound::InboundKey;
use super::part::{Compared, Conflict, Part};
use super::privileges::seal_routine;
use super::sequences::integer_type;
use super::shape::{Green, Source};
use super::table::comment_on;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Colour, Ident, Literal, MAX_BYTES, QName, list};
use crate::plan::TablePlan;

/// The table of the keys of another table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRegistry {
    /// Its name, in the schema of the table; it has it from prepare on.
    pub name: QName,
    /// The key, by blue's names of its columns.
    pub blue: Vec<Ident>,
    /// The same by green's, which are the registry's own.
    pub columns: Vec<Ident>,
    /// The unique constraint or index of blue, which is named to a client that inserts a key twice.
    pub constraint: Ident,
}

/// The [`Part`] of key registries.
pub(super) struct Registries;

impl Part for Registries {
    fn conflicts(&self, green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        super::widened::conflicts(green)
    }

    fn adorn(&self, green: &Green) -> Vec<Statement> {
        green.widened.registries.iter().flat_map(|registry| registry.create(green)).collect()
    }

    fn complete(&self, green: &Green) -> Vec<Statement> {
        let home = green.at_home();
        let registries = &green.widened.registries;
        let mut made: Vec<Statement> = registries
            .iter()
            .flat_map(|registry| registry.triggers(&home, Colour::Green, &registry.name, &registry.columns))
            .collect();
        if !made.is_empty() {
            let sql = format!("ALTER TABLE {home} DISABLE TRIGGER USER");
            let verb = "disable the triggers of";
            made.push(Statement::on(&home, LockMode::ShareRowExclusive, verb, sql));
        }
        made
    }

    fn archive(&self, green: &Green, _schema: &Ident) -> Vec<Statement> {
        let blue = green.home_of(Colour::Blue);
        green.widened.registries.iter().flat_map(|registry| registry.release(&blue)).collect()
    }

    fn kept(&self, green: &Green) -> Vec<String> {
        let unique = |registry: &KeyRegistry| {
            format!("unique ({}), by table {}", list(&registry.columns), registry.name.plain())
        };
        green.widened.registries.iter().map(unique).collect()
    }

    fn compare(&self, _compared: &mut Compared<'_>) {}
}

impl KeyRegistry {
    /// That of a key of blue.
    pub(super) fn of(green: &Green, key: &[Ident]) -> Self {
        let blue = &green.blue;
        let same = |keys: &[Option<Ident>]| {
            keys.len() == key.len() && keys.iter().flatten().all(|name| key.contains(name))
        };
        let is_primary = blue.primary_key().is_some_and(|index| same(&index.keys));
        let table = blue.table.name.name.as_str();
        let name = match is_primary {
            true => format!("{table}_keys"),
            false => {
                let columns: Vec<&str> = key.iter().map(Ident::as_str).collect();
                format!("{table}_{}_keys", columns.join("_"))
            }
        };
        let index = blue.indexes.iter().find(|index| index.unique && same(&index.keys));
        Self {
            name: QName { schema: blue.table.name.schema.clone(), name: name.into() },
            columns: green.green_names(key),
            constraint: index.map_or_else(|| format!("{table}_pkey").into(), |index| index.name.clone()),
            blue: key.to_vec(),
        }
    }

    /// The columns of one of the tables that its keys are from.
    pub(crate) fn columns_of(&self, who: Colour) -> &[Ident] {
        match who {
            Colour::Blue => &self.blue,
            Colour::Green => &self.columns,
        }
    }

    pub(super) fn conflicts(&self, green: &Green) -> Vec<Conflict> {
        let (table, registry) = (&green.blue.table, self.name.plain());
        let mut conflicts = Vec::new();
        let mut refuse = |what: String, hint: &str| {
            conflicts
                .push(Conflict::new(format!("a table of keys, {registry}, cannot be kept: {what}"), hint));
        };
        if self.name.name.as_str().len() > MAX_BYTES - ROOM {
            refuse(
                format!("its name is longer than {} bytes", MAX_BYTES - ROOM),
                "a shorter name of the table",
            );
        }
        if table.force_row_security && !table.owner_acts {
            let what = "row security is forced, and would hide rows from the table's owner".to_owned();
            refuse(what, "alter the owner to BYPASSRLS, or take FORCE ROW LEVEL SECURITY away");
        }
        if table.is_partitioned() {
            let what = "the table is partitioned already, and an UPDATE of the key that moves a row would be a DELETE".to_owned();
            refuse(what, "inbound_foreign_keys: drop");
        }
        for name in &self.blue {
            let Some(column) = green.blue.column(name) else { continue };
            let of_green = green.columns.iter().find(|of_green| of_green.blue() == Some(name));
            let keeps = of_green.is_some_and(|of_green| match &of_green.source {
                Source::Same(_) => true,
                Source::Expression { sql, .. } => {
                    let is_cast = sql.starts_with(&format!("CAST({name} AS "));
                    is_cast
                        && [&column.data_type, &of_green.data_type]
                            .into_iter()
                            .all(|one| integer_type(one).is_some())
                }
                _ => false,
            });
            if !keeps {
                refuse(
                    format!("the plan changes the values of column {name}"),
                    "change them in a plan of its own",
                );
            }
            if !column.not_null {
                refuse(
                    format!("column {name} can be NULL"),
                    "alter table ... alter column ... set not null; or inbound_foreign_keys: drop",
                );
            }
            let base = column.base_type.split_whitespace().next().unwrap_or_default();
            if base.split('(').next().unwrap_or_default().contains('.') {
                refuse(
                    format!(
                        "column {name} has a type of its own, {base}, whose equality is not the server's"
                    ),
                    "inbound_foreign_keys: drop",
                );
            }
        }
        conflicts
    }

    /// The names of its relations: the table and its index.
    pub(crate) fn relations(&self) -> [Ident; 2] {
        [self.name.name.clone(), format!("{}_pkey", self.name.name.as_str()).into()]
    }

    /// The registry where it is until green's partitions are moved.
    fn at_home(&self, green: &Green) -> QName {
        self.name.in_schema(&green.homes.green)
    }

    /// The function of blue's triggers, which stays in the run's schema.
    pub(crate) fn function_of_blue(&self, home: &Ident) -> QName {
        QName { schema: home.clone(), name: format!("{}_of_blue", self.name.name.as_str()).into() }
    }

    /// Makes it, empty, and both functions, in the run's schema.
    fn create(&self, green: &Green) -> Vec<Statement> {
        let (table, owner) = (self.at_home(green), &green.blue.table.owner);
        let columns = list(&self.columns);
        let on = |verb: &str, sql: String| Statement::making(&table, verb, sql);
        let comment = format!(
            "The keys of {}, each once across its partitions; its triggers maintain them.",
            green.live().plain()
        );
        let mut made = vec![
            on(
                "create key registry",
                format!("CREATE TABLE {table} AS SELECT {columns} FROM {} WITH NO DATA", green.at_home()),
            ),
            on("make a primary key of", format!("ALTER TABLE {table} ADD PRIMARY KEY ({columns})")),
            on("set the owner of", format!("ALTER TABLE {table} OWNER TO {owner}")),
        ];
        made.extend(comment_on(&format!("TABLE {table}"), Some(&comment)));
        let of_blue = self.function_of_blue(&green.homes.green);
        for (function, body) in [(table.clone(), self.body_of_green(green)), (of_blue, self.body_of_blue())] {
            let create = format!(
                "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
                 SET search_path = '' SET row_security = off AS {}",
                Literal(&body)
            );
            made.push(Statement::new("create the function of its triggers", create));
            let owned = format!("ALTER FUNCTION {function}() OWNER TO {owner}");
            made.push(Statement::new("set the owner of a function", owned));
            made.push(seal_routine(&format!("{function}()")));
        }
        made
    }

    /// Moves it, empty, to where it stays.
    pub(crate) fn settle_down(&self, green: &Green) -> Vec<Statement> {
        let (table, schema) = (self.at_home(green), &self.name.schema);
        let sql = format!("ALTER TABLE {table} SET SCHEMA {schema}");
        let function = format!("ALTER FUNCTION {table}() SET SCHEMA {schema}");
        vec![
            Statement::on(&table, LockMode::AccessExclusive, "move to another schema:", sql),
            Statement::new("move a function to another schema", function),
        ]
    }

    /// The names of the triggers of one of the tables. The server fires triggers in the order of their names: a key is
    /// there before any other trigger can insert a row that references it.
    pub(crate) fn trigger_names(&self, who: Colour) -> [Ident; 4] {
        let name = self.name.name.as_str();
        let of = |first: char, event: &str| Ident(format!("{first}{name}_{event}"));
        // Blue's own foreign keys come first while it has them: their names are in errors.
        let delete = of(if who == Colour::Green { '!' } else { '~' }, "delete");
        [of('!', "insert"), delete, of('~', "update"), of('~', "truncate")]
    }

    /// Creates the triggers of one of the tables.
    fn triggers(&self, table: &QName, who: Colour, function: &QName, columns: &[Ident]) -> Vec<Statement> {
        let [insert, delete, update, truncate] = self.trigger_names(who);
        let changed: Vec<String> =
            columns.iter().map(|name| format!("OLD.{name} IS DISTINCT FROM NEW.{name}")).collect();
        let each = format!("FOR EACH ROW EXECUTE FUNCTION {function}()");
        let when = if who == Colour::Green { "BEFORE" } else { "AFTER" };
        let make = |name: &Ident, rest: String| {
            let sql = format!("CREATE OR REPLACE TRIGGER {name} {rest}");
            let verb = format!("create trigger {} on", name.as_str());
            Statement::on(table, LockMode::ShareRowExclusive, &verb, sql)
        };
        vec![
            make(&insert, format!("AFTER INSERT ON {table} {each}")),
            make(&delete, format!("AFTER DELETE ON {table} {each}")),
            make(
                &update,
                format!(
                    "{when} UPDATE ON {table} FOR EACH ROW WHEN ({}) EXECUTE FUNCTION {function}()",
                    changed.join(" OR ")
                ),
            ),
            make(
                &truncate,
                format!("AFTER TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {function}()"),
            ),
        ]
    }

    /// Has blue maintain it from now on; blue is live.
    pub(crate) fn follow_blue(&self, green: &Green) -> Vec<Statement> {
        let live = green.live();
        let function = self.function_of_blue(&green.homes.green);
        let mut made = self.triggers(live, Colour::Blue, &function, &self.blue);
        let always: Vec<String> = self
            .trigger_names(Colour::Blue)
            .iter()
            .map(|name| format!("ENABLE ALWAYS TRIGGER {name}"))
            .collect();
        let sql = format!("ALTER TABLE {live} {}", always.join(", "));
        made.push(Statement::on(live, LockMode::ShareRowExclusive, "enable the triggers of", sql));
        made
    }

    /// Takes blue's triggers away; `blue` is its name at that time.
    pub(crate) fn release(&self, blue: &QName) -> Vec<Statement> {
        let drop = |name: &Ident| {
            let sql = format!("DROP TRIGGER IF EXISTS {name} ON {blue}");
            Statement::on(blue, LockMode::AccessExclusive, "drop a trigger of", sql)
        };
        self.trigger_names(Colour::Blue).iter().map(drop).collect()
    }

    /// Drops it, once no trigger and no foreign key needs it.
    pub(crate) fn drop(&self) -> Vec<Statement> {
        let sql = format!("DROP TABLE IF EXISTS {}", self.name);
        vec![
            Statement::on(&self.name, LockMode::AccessExclusive, "drop", sql),
            Statement::new("drop a function", format!("DROP FUNCTION IF EXISTS {}()", self.name)),
        ]
    }
}

impl Green {
    /// What ENABLE TRIGGER USER has to be followed by for the triggers of the registries, in the same ALTER TABLE.
    pub(super) fn enable_key_triggers(&self, who: Colour) -> String {
        let names = self.widened.registries.iter().flat_map(|registry| registry.trigger_names(who));
        names.map(|name| format!(", ENABLE ALWAYS TRIGGER {name}")).collect()
    }

    /// Whether a trigger of green is one that maintains a registry.
    pub(super) fn is_key_trigger(&self, name: &Ident) -> bool {
        self.widened.registries.iter().any(|registry| registry.trigger_names(Colour::Green).contains(name))
    }

    /// The foreign keys of other tables that will reference a registry, each with its position and its registry.
    pub(crate) fn registered_keys(&self) -> impl Iterator<Item = (usize, &InboundKey, &KeyRegistry)> {
        self.blue.inbound.iter().enumerate().filter_map(|(number, key)| match self.fate_of(&key.referenced) {
            super::Fate::Registered(registry) => Some((number, key, registry)),
            _ => None,
        })
    }
}

/// What is added to the name of a registry for its triggers, its index and its functions.
const ROOM: usize = 12;
