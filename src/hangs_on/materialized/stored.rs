//! What a materialized view has for itself, as a table has: what is set for its columns, and its indexes.

use serde::{Deserialize, Serialize};

use crate::hangs_on::grant::Grant;
use crate::hangs_on::indexes::StatisticsTarget;
use crate::hangs_on::table::{comment_on, depends_on, option_sql};
use crate::pg::sql::{Statement, lexer};
use crate::pg::{Ident, QName};

/// What can be set for a column of a materialized view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredColumn {
    /// The column's name.
    pub name: Ident,
    /// Its statistics target, if it is not the default.
    pub target: Option<i32>,
    /// Its options (`n_distinct`), as `name=value`.
    pub options: Vec<String>,
    /// What SET STORAGE says, if it is not its type's default.
    pub storage: Option<String>,
    /// What SET COMPRESSION says.
    pub compression: Option<String>,
    /// The text of COMMENT ON COLUMN.
    pub comment: Option<String>,
    /// The privileges on the column.
    pub grants: Vec<Grant>,
}

/// An index of a materialized view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredIndex {
    /// The index's name.
    pub name: Ident,
    /// The whole CREATE INDEX statement.
    pub definition: String,
    /// The tablespace, if it is not the database's default.
    pub tablespace: Option<Ident>,
    /// The text of COMMENT ON INDEX.
    pub comment: Option<String>,
    /// Whether CLUSTER would use it.
    pub clustered: bool,
    /// Whether REFRESH CONCURRENTLY can use it.
    pub identifies_rows: bool,
    /// The statistics targets of its expressions.
    pub statistics_targets: Vec<StatisticsTarget>,
    /// The extensions that it depends on.
    #[serde(default)]
    pub extensions: Vec<Ident>,
}

impl StoredIndex {
    pub(super) fn make(&self, live: &QName, home: &QName) -> Vec<Statement> {
        let index = QName { schema: home.schema.clone(), name: self.name.clone() };
        let create = lexer::renamed(&self.definition, live, home);
        let on = |verb: &str, sql: String| Statement::making(home, verb, sql);
        let mut statements = vec![on("build an index on", create)];
        if let Some(space) = &self.tablespace {
            statements.push(on("move an index of", format!("ALTER INDEX {index} SET TABLESPACE {space}")));
        }
        for StatisticsTarget { column, target } in &self.statistics_targets {
            let sql = format!("ALTER INDEX {index} ALTER COLUMN {column} SET STATISTICS {target}");
            statements.push(on("set a statistics target of an index of", sql));
        }
        if self.clustered {
            let sql = format!("ALTER MATERIALIZED VIEW {home} CLUSTER ON {}", self.name);
            statements.push(on("mark an index for CLUSTER on", sql));
        }
        statements.extend(comment_on(&format!("INDEX {index}"), self.comment.as_ref()));
        statements.extend(depends_on(&format!("INDEX {index}"), &self.extensions));
        statements
    }
}

impl StoredColumn {
    pub(super) fn set(&self, home: &QName) -> Vec<Statement> {
        let options: Vec<String> = self.options.iter().map(|option| option_sql("", option)).collect();
        let actions = [
            self.target.map(|target| format!("SET STATISTICS {target}")),
            (!options.is_empty()).then(|| format!("SET ({})", options.join(", "))),
            self.storage.as_ref().map(|storage| format!("SET STORAGE {storage}")),
            self.compression.as_ref().map(|method| format!("SET COMPRESSION {method}")),
        ];
        let alter = actions.into_iter().flatten().map(|action| {
            let sql = format!("ALTER MATERIALIZED VIEW {home} ALTER COLUMN {} {action}", self.name);
            Statement::making(home, "alter a column of", sql)
        });
        alter.chain(comment_on(&format!("COLUMN {home}.{}", self.name), self.comment.as_ref())).collect()
    }
}
