//! CREATE TABLE and everything that green has before its first row.
//!
//! Green is made under blue's column names, gets its expressions (CHECK, generated columns,
//! policies), and only then has its columns renamed: so the server rewrites the expressions, and
//! no SQL is rewritten here.

use super::{Green, Source};
use crate::hangs_on::columns::Column;
use crate::hangs_on::privileges;
use crate::hangs_on::table::{comment_on, tablespace_clause};
use crate::pg::{Ident, QName};

impl Green {
    /// Makes green in its home, which exists, with its leaves, without an index, a foreign key or
    /// a privilege of anybody but the owner. All in one transaction, or fresh tables are readable
    /// by whom default privileges name.
    #[must_use]
    pub fn create(&self) -> Vec<String> {
        let home = self.at_home();
        let mut sql = self.admit_owner();
        sql.push(self.create_parent(&home));
        for column in self.kept_columns().map(|(column, _)| column) {
            if !self.is_retyped(&column.name) {
                sql.extend(column.storage_settings(&home));
            }
        }
        sql.push(format!("ALTER TABLE {home} ENABLE ROW LEVEL SECURITY"));
        for policy in self.early_policies() {
            sql.extend(policy.create(&home));
        }
        sql.extend(self.renames(&home));
        for added in self.columns.iter().filter(|column| column.source == Source::Added) {
            sql.push(format!("ALTER TABLE {home} ADD COLUMN {} {}", added.name, added.data_type));
        }
        sql.extend(self.create_leaves(&home));
        sql.extend(self.planner_settings(&home));
        sql.extend(self.owners(&home));
        sql.extend(self.comments(&home));
        sql.push(privileges::seal(&self.homes.green));
        sql
    }

    /// Moves the leaves from home to where they stay. Not after the swap: each move would have every client
    /// that uses the table load the partition and plan its statements anew. Nobody but the owner has a
    /// privilege on a leaf, before the swap or after it.
    #[must_use]
    pub fn move_leaves(&self) -> Vec<String> {
        let Some(partition) = &self.partition else { return Vec::new() };
        let leaves = self.leaves_in(&self.homes.green).into_iter();
        let moves = leaves.map(|leaf| format!("ALTER TABLE {leaf} SET SCHEMA {}", partition.schema));
        // An event trigger may give something away again.
        moves.chain([privileges::seal(&self.homes.green)]).collect()
    }

    /// Those that hold its rows while it is made.
    fn row_holders_at_home(&self) -> Vec<QName> {
        match &self.partition {
            Some(_) => self.leaves_in(&self.homes.green),
            None => vec![self.at_home()],
        }
    }

    /// The owner needs the homes: to own a table there, and because foreign keys act as the owner.
    fn admit_owner(&self) -> Vec<String> {
        let owner = &self.blue.table.owner;
        let admit = |home: &Ident| format!("GRANT USAGE, CREATE ON SCHEMA {home} TO {owner}");
        vec![admit(&self.homes.blue), admit(&self.homes.green)]
    }

    fn create_parent(&self, home: &QName) -> String {
        let partitioned = self.partition.is_some();
        let columns = self.kept_columns().map(|(column, data_type)| {
            let retyped = self.is_retyped(&column.name);
            let identity = self.blue.sequence_of(&column.name).filter(|sequence| sequence.identity);
            let identity = identity.map(|sequence| {
                sequence.identity_clause(&sequence.name.in_schema(&self.homes.green), retyped)
            });
            column.sql(retyped.then_some(data_type), identity.as_deref())
        });
        let checks = self.blue.checks.iter().filter_map(|check| check.clause(partitioned));
        let body: Vec<String> = columns.chain(checks).collect();
        let tail = match &self.partition {
            Some(partition) => {
                let key = self.blue_name_of(&partition.column);
                let space = tablespace_clause(self.blue.table.tablespace.as_ref());
                format!(" PARTITION BY {} ({key}){space}", partition.strategy)
            }
            None => self.blue.table.storage_clause(),
        };
        format!("CREATE TABLE {home} ({}){tail}", body.join(", "))
    }

    fn create_leaves(&self, home: &QName) -> Vec<String> {
        let Some(partition) = &self.partition else { return Vec::new() };
        let storage = self.blue.table.storage_clause();
        let leaves = partition.leaves.iter().flat_map(|leaf| {
            let name = QName { schema: self.homes.green.clone(), name: leaf.name.clone() };
            [
                format!("CREATE TABLE {name} PARTITION OF {home} {}{storage}", leaf.bound),
                format!("ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"),
            ]
        });
        leaves.collect()
    }

    /// Statistics targets and column options: each relation has its own.
    fn planner_settings(&self, home: &QName) -> Vec<String> {
        let parent = self.partition.as_ref().map(|_| home.clone());
        let relations: Vec<QName> = self.row_holders_at_home().into_iter().chain(parent).collect();
        let mut sql = Vec::new();
        for (column, _) in self.kept_columns() {
            let Some(name) = self.name_of(&column.name) else { continue };
            sql.extend(relations.iter().flat_map(|relation| column.planner_settings(relation, name)));
        }
        sql
    }

    fn owners(&self, home: &QName) -> Vec<String> {
        let parent = self.partition.as_ref().map(|_| home.clone());
        let owner = &self.blue.table.owner;
        self.row_holders_at_home()
            .into_iter()
            .chain(parent)
            .map(|relation| format!("ALTER TABLE {relation} OWNER TO {owner}"))
            .collect()
    }

    fn comments(&self, home: &QName) -> Vec<String> {
        let mut sql: Vec<String> =
            comment_on(&format!("TABLE {home}"), self.blue.table.comment.as_ref()).into_iter().collect();
        for (column, _) in self.kept_columns() {
            let Some(name) = self.name_of(&column.name) else { continue };
            sql.extend(comment_on(&format!("COLUMN {home}.{name}"), column.comment.as_ref()));
            if let Some(constraint) = &column.not_null_name {
                let what = format!("CONSTRAINT {constraint} ON {home}");
                sql.extend(comment_on(&what, column.not_null_comment.as_ref()));
            }
        }
        for check in self.blue.checks.iter().filter(|check| check.validated) {
            sql.extend(comment_on(&format!("CONSTRAINT {} ON {home}", check.name), check.comment.as_ref()));
        }
        for sequence in self.blue.sequences.iter().filter(|sequence| sequence.identity) {
            if self.name_of(&sequence.column).is_some() {
                let name = sequence.name.in_schema(&self.homes.green);
                sql.extend(comment_on(&format!("SEQUENCE {name}"), sequence.comment.as_ref()));
            }
        }
        sql
    }

    fn renames(&self, home: &QName) -> Vec<String> {
        let renamed = self.columns.iter().filter_map(|column| {
            let blue = column.blue().filter(|blue| **blue != column.name)?;
            Some(format!("ALTER TABLE {home} RENAME COLUMN {blue} TO {}", column.name))
        });
        renamed.collect()
    }

    /// Blue's columns that green has, each with green's type.
    fn kept_columns(&self) -> impl Iterator<Item = (&Column, &str)> {
        self.columns.iter().filter_map(|column| {
            let blue = self.blue.column(column.blue()?)?;
            Some((blue, column.data_type.as_str()))
        })
    }

    /// Blue's name for a column of green.
    fn blue_name_of<'a>(&'a self, green: &'a Ident) -> &'a Ident {
        self.columns
            .iter()
            .find(|column| column.name == *green)
            .and_then(|column| column.blue())
            .unwrap_or(green)
    }
}
