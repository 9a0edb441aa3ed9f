//! Objects that depend on a table, and properties of it, that this version does not carry through a swap.
//!
//! Invariant: nothing is lost silently. Whatever `pg_depend` says depends on the table and no file of this module
//! carries is reported here, at least as [`BlockerKind::Unknown`].

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::Error;
use super::row_functions::without_it;
use crate::pg::{Ident, Literal, Planned, QName, RunObjects};

const DEPENDENTS: Planned = Planned {
    name: "projh_dependents",
    sql: concat!(
        include_str!("../../sql/catalog/bound.sql"),
        include_str!("../../sql/catalog/dependents.sql")
    ),
};
const REFUSALS: Planned =
    Planned { name: "projh_refusals", sql: include_str!("../../sql/catalog/refusals.sql") };

/// One reason why a table cannot be swapped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Blocker {
    /// The kind of object or property.
    pub kind: BlockerKind,
    /// Its qualified name.
    pub object: String,
    /// What to do about it.
    pub hint: String,
}

/// The kinds of objects and properties that prevent a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockerKind {
    /// A temporary view that reads the table: only its session can replace it.
    View,
    /// A function with an SQL body that writes the table, or that names it in a default.
    Function,
    /// A function with its row type in the signature, which belongs to an extension, has a security label, or whose SQL
    /// body writes it or groups by its key.
    FunctionOfRows,
    /// An aggregate over its rows.
    AggregateOfRows,
    /// A constraint, trigger or index of the table that calls a function with its row type.
    CallsFunctionOfRows,
    /// A column, domain or type that uses its row type.
    RowType,
    /// The array type of its rows has an unusual name, which a swap could meet again.
    RowTypeName,
    /// A trigger of another table that names it.
    Trigger,
    /// The publication of a run.
    Publication,
    /// The row filter that a publication has for another table names it.
    FilterElsewhere,
    /// A publication of the schema in which its partitions would be.
    LeafSchemaPublication,
    /// A publication FOR ALL TABLES: its subscribers stop when green gets a row.
    AllTablesPublication,
    /// A subscription that writes to the table.
    Subscription,
    /// A partition that is, or has, what its parent does not give it.
    Partition,
    /// A partition whose replica identity is not that of its parent.
    PartitionIdentity,
    /// A partition for which a trigger of its parent has another state: a swap sets the state for all partitions at once.
    TriggerState,
    /// A constraint whose triggers, which are the server's own, do not fire as usual: what a swap makes anew is enforced.
    ConstraintState,
    /// An inheritance parent or child, or the table is a partition.
    Inheritance,
    /// The table is a member of an extension, or the sequence of an identity column is.
    Extension,
    /// A security label on the table.
    SecurityLabel,
    /// A default of a temporary relation that names it, or uses its sequence: only its session can alter it.
    DefaultElsewhere,
    /// A generated column of another table that names it.
    GeneratedElsewhere,
    /// A CHECK of another table that names it.
    CheckElsewhere,
    /// The default of a domain names it, or uses the sequence of an identity column.
    DomainDefault,
    /// The table is unlogged or temporary.
    NotPermanent,
    /// An index that is not valid.
    InvalidIndex,
    /// The relation is not an ordinary table (it is foreign, or of a composite type).
    NotPlainTable,
    /// A dependent object of a kind that this version does not know.
    Unknown,
}

impl BlockerKind {
    /// Whether green cannot even be created while this exists.
    #[must_use]
    pub fn stops_green(self) -> bool {
        matches!(self, Self::NotPlainTable)
    }
}

impl std::fmt::Display for BlockerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::View => "a temporary view reads it",
            Self::Function => "a function writes it in its SQL body, or names it in a default",
            Self::FunctionOfRows => "a function has its row type in its signature",
            Self::AggregateOfRows => "an aggregate has its row type in its signature",
            Self::CallsFunctionOfRows => "something of it calls a function with its row type",
            Self::RowType => "something uses its row type",
            Self::RowTypeName => "the array type of its rows has an unusual name",
            Self::Trigger => "a trigger of another table names it",
            Self::Publication => "a publication",
            Self::FilterElsewhere => "the row filter that a publication has for another table names it",
            Self::LeafSchemaPublication => "a publication of the schema of its partitions",
            Self::AllTablesPublication => "a publication for all tables",
            Self::Subscription => "a subscription writes it",
            Self::Partition => "one of its partitions is, or has, what its parent does not give it",
            Self::PartitionIdentity => "a partition has another replica identity than its parent",
            Self::TriggerState => "a trigger has another state on a partition than on its parent",
            Self::ConstraintState => "a constraint is not enforced as usual, and would be after a swap",
            Self::Inheritance => "an inheritance parent or child, or it is a partition",
            Self::Extension => "it belongs to an extension",
            Self::SecurityLabel => "a security label",
            Self::DefaultElsewhere => "a default of a temporary table names it, or uses its sequence",
            Self::GeneratedElsewhere => "a generated column of another table names it",
            Self::CheckElsewhere => "a CHECK of another table names it",
            Self::DomainDefault => {
                "the default of a domain names it, or uses the sequence of its identity column"
            }
            Self::NotPermanent => "it is unlogged",
            Self::InvalidIndex => "an index that is not valid",
            Self::NotPlainTable => "it is not an ordinary table",
            Self::Unknown => "something that this version does not know",
        })
    }
}

impl Blocker {
    /// The run of ours that the publication belongs to.
    #[must_use]
    pub fn run(&self) -> Option<&str> {
        let run = RunObjects::run_of(&self.object);
        run.filter(|_| self.kind == BlockerKind::Publication)
    }
}

#[derive(Deserialize)]
struct BlockerRow {
    kind: BlockerKind,
    object: String,
    /// The publication contains a whole schema.
    #[serde(default)]
    schema: Option<String>,
    /// What to do about it, if that is not made of `object`.
    #[serde(default)]
    hint: Option<String>,
}

/// What surrounds a table without being part of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// The schema that its partitions will be in.
    pub leaves: Option<&'a Ident>,
    /// What the names of the schemas in which the run has created green begin with.
    pub green: Option<&'a Ident>,
    /// The publication of the run.
    pub publication: Option<&'a Ident>,
}

/// Everything that prevents a swap of `table`, sorted, except what its run has created.
///
/// # Errors
/// If there is no such table, or the catalog cannot be read.
pub async fn blockers(client: &Client, table: &QName, around: &Around<'_>) -> Result<Vec<Blocker>, Error> {
    let oid = super::oid_of(client, table).await?;
    super::with_bare_path(client, async {
        // So many joins take longer to plan than to execute; they are written in a good order.
        let limit = |value: &str| format!("SET join_collapse_limit = {value}");
        let failed = |source| Error::Catalog { what: "dependent objects", source };
        client.batch_execute(&limit("1")).await.map_err(failed)?;
        let oid = oid.to_string();
        let mut found = Vec::new();
        for (what, query, schema) in [
            ("its dependents", DEPENDENTS, around.green),
            ("what a swap cannot carry", REFUSALS, around.leaves),
        ] {
            let failed = |source| Error::Catalog { what, source };
            let schema = schema.map_or("NULL".to_owned(), |schema| Literal(schema.as_str()).to_string());
            let answer = query.json(client, &[&oid, &schema]).await.map_err(failed)?;
            let some: Vec<BlockerRow> =
                serde_json::from_value(answer).map_err(|source| Error::Shape { what, source })?;
            found.extend(some);
        }
        client.batch_execute(&limit("DEFAULT")).await.map_err(failed)?;
        let is_ours = |found: &BlockerRow| {
            found.kind == BlockerKind::Publication
                && found.schema.is_none()
                && around.publication.is_some_and(|ours| found.object == ours.as_str())
        };
        let mut blockers: Vec<Blocker> =
            found.into_iter().filter(|found| !is_ours(found)).map(|found| found.explained(table)).collect();
        blockers.sort();
        blockers.dedup();
        Ok(blockers)
    })
    .await
}

impl BlockerRow {
    fn explained(self, table: &QName) -> Blocker {
        let hint = match (self.kind, &self.schema, self.hint) {
            (_, _, Some(hint)) => hint,
            (BlockerKind::LeafSchemaPublication, Some(schema), None) => format!(
                "another `schema` in partition_by; or alter publication {} drop tables in schema {schema}, \
                 and add its tables one by one",
                self.object
            ),
            _ => hint(self.kind, &self.object, &table.plain()),
        };
        Blocker { kind: self.kind, object: self.object, hint }
    }
}

/// What to type, or what to decide.
fn hint(kind: BlockerKind, object: &str, table: &str) -> String {
    use BlockerKind as Kind;
    let again = "and create it again after the swap";
    match kind {
        Kind::View => format!("drop view {object}; {again}"),
        Kind::Function => {
            format!("drop function {object}; {again}, or give it a string body (plpgsql, or AS '...')")
        }
        Kind::FunctionOfRows => without_it(object),
        Kind::AggregateOfRows => format!(
            "save what pg_dump --schema-only prints of it; drop aggregate {object}; after the swap, and after a rollback, execute \
             what was saved"
        ),
        Kind::CallsFunctionOfRows => drop_own(object),
        Kind::RowType => format!("let {object} no longer use the row type of {table}"),
        Kind::RowTypeName => {
            format!("rename the table whose name is {object}, then rename {table} away and back")
        }
        Kind::DefaultElsewhere => alter_column(object, |column| {
            format!("alter column {column} drop default; and set it again after the swap")
        }),
        Kind::GeneratedElsewhere => {
            alter_column(object, |column| format!("drop column {column}; and add it again after the swap"))
        }
        Kind::DomainDefault => {
            format!("alter domain {object} drop default; and set it again after the swap")
        }
        Kind::CheckElsewhere => drop_constraint(object, ", and add it again after the swap"),
        Kind::Trigger => format!("drop trigger {object}; {again}"),
        Kind::Publication | Kind::LeafSchemaPublication => {
            format!("alter publication {object} drop table {table}; and add it again after the swap")
        }
        Kind::FilterElsewhere => match object.rsplit_once(" on ") {
            Some((publication, other)) => format!(
                "alter publication {publication} drop table {other}; and add it again, with its row filter, after the swap"
            ),
            None => format!("alter publication {object} set table ..., with another row filter"),
        },
        Kind::AllTablesPublication => {
            format!(
                "it would publish the new table while that is filled, where its subscribers have no such table and stop: create \
                 publication ... for table ... (or for tables in schema ..., from version 15 on), which lists its tables or their \
                 schemas; once the subscribers have caught up with that, alter subscription ... set publication ... on each; \
                 drop publication {object}"
            )
        }
        Kind::Subscription => {
            format!("take {table} out of the publication that subscription {object} follows, and refresh it")
        }
        Kind::Partition => {
            format!("{object} would stay with the old partition: give it to {table} itself, or drop it")
        }
        Kind::PartitionIdentity => {
            format!("alter table {object} replica identity ..., as that of {table} is")
        }
        Kind::Inheritance => inheritance(object, table),
        Kind::Extension => {
            format!("alter extension {object} drop table {table}; and add it again once the run is finished")
        }
        Kind::SecurityLabel => format!(
            "security label on table {table} is null (provider {object}); label it again after the swap"
        ),
        Kind::NotPermanent => format!("alter table {object} set logged"),
        Kind::InvalidIndex => format!("reindex index concurrently {object}, or drop it"),
        Kind::NotPlainTable => {
            format!("only ordinary tables can be migrated by this version; {object} is none")
        }
        // The catalog's query says it.
        Kind::TriggerState | Kind::ConstraintState => format!("alter table ... enable trigger ...: {object}"),
        Kind::Unknown => format!("this version does not know how to carry it: remove it, {again}"),
    }
}

/// `object` as pg_describe_object writes it.
fn drop_own(object: &str) -> String {
    let object = object.replace(" on table ", " on ").replace("statistics object", "statistics");
    match object.strip_prefix("constraint ") {
        Some(constraint) => drop_constraint(constraint, ", and add it again once the run is finished"),
        None => format!("drop {object}; and create it again once the run is finished"),
    }
}

/// `object` is a child of the table, or `table inherits parent`. A swap cannot make another table the child or the parent: NO
/// INHERIT makes what was inherited the child's own (`attislocal`, `conislocal`), and INHERIT does not make it inherited alone
/// again, so that neither a swap nor a rollback would leave the child as it was.
fn inheritance(object: &str, table: &str) -> String {
    let own = "what was inherited is then its own, too, and stays when the parent's is dropped";
    match object.split_once(" inherits ") {
        Some((child, parent)) if child == table => format!(
            "alter table {child} no inherit {parent}, after which its rows are not read through that; once the run is finished, alter \
             table {child} inherit {parent}, unless {child} becomes partitioned, which cannot inherit: {own}"
        ),
        _ => format!(
            "a row of {object} is read through {table}, and would stay with the old one: alter table {object} no inherit {table}; once \
             the run is finished, alter table {object} inherit {table}: {own}. Or give {table} partitions instead of children first"
        ),
    }
}

/// `object` is `column on table`, both already quoted.
fn alter_column(object: &str, action: impl Fn(&str) -> String) -> String {
    match object.rsplit_once(" on ") {
        Some((column, table)) => format!("alter table {table} {}", action(column)),
        None => action(object),
    }
}

fn drop_constraint(object: &str, then: &str) -> String {
    // `object` is `name on table`, both already quoted; a quoted name may itself contain " on "
    match object.rsplit_once(" on ") {
        Some((name, table)) => format!("alter table {table} drop constraint {name}{then}"),
        None => format!("drop constraint {object}{then}"),
    }
}
