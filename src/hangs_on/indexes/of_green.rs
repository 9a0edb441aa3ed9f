//! Green's indexes: how each is built on the relations that hold rows, and then on the parent.

use serde::{Deserialize, Serialize};

use super::rename::columns_in;
use super::{Index, IndexConstraint, StatisticsTarget};
use crate::hangs_on::ReplicaIdentityKind;
use crate::hangs_on::shape::Green;
use crate::hangs_on::table::{comment_on, comment_on_constraint, depends_on, option_sql, tablespace_clause};
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Ident, MAX_BYTES, QName, list};
use crate::plan::NewIndex;

/// An index of green, as designed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GreenIndex {
    /// Its final name, on the parent.
    pub name: Ident,
    /// Whether it is the primary key's.
    pub primary: bool,
    /// Whether it is unique.
    pub unique: bool,
    /// Whether it implements a constraint (primary key, unique or exclusion).
    pub constraint: bool,
    /// Whether that constraint is DEFERRABLE.
    #[serde(default)]
    pub deferrable: bool,
    /// Its plain key columns by green's names; `None` if one is an expression or unknown.
    pub keys: Option<Vec<Ident>>,
    /// What follows the relation's name: `PRIMARY KEY (...) ...` for a constraint, otherwise `USING ... (...) ...`.
    pub definition: String,
    /// Whether it is the replica identity.
    pub replica_identity: bool,
    /// Whether CLUSTER uses it.
    pub clustered: bool,
    /// The text of COMMENT ON INDEX.
    pub comment: Option<String>,
    /// The text of COMMENT ON CONSTRAINT.
    pub constraint_comment: Option<String>,
    /// The statistics targets of its expressions.
    pub statistics_targets: Vec<StatisticsTarget>,
    /// The extensions that it depends on.
    #[serde(default)]
    pub extensions: Vec<Ident>,
}

/// How one index is built. The parent's statement finds the leaves' indexes and attaches them; it builds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexBuild {
    /// The index's final name, on the parent.
    pub name: Ident,
    /// Whether it is the primary key's.
    pub primary: bool,
    /// Whether it is unique.
    pub unique: bool,
    /// One for each relation that holds rows: these do the work, in parallel.
    pub on_row_holders: Vec<Statement>,
    /// Executed after all of those; `None` if green is not partitioned.
    pub on_parent: Option<Statement>,
}

impl GreenIndex {
    pub(crate) fn primary_key(name: Ident, columns: &[Ident]) -> Self {
        Self {
            name,
            primary: true,
            unique: true,
            constraint: true,
            deferrable: false,
            keys: Some(columns.to_vec()),
            definition: format!("PRIMARY KEY ({})", list(columns)),
            replica_identity: false,
            clustered: false,
            comment: None,
            constraint_comment: None,
            statistics_targets: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// Blue's primary key with all its properties, over these columns of green.
    pub(crate) fn primary_key_like(green: &Green, index: &Index, columns: &[Ident]) -> Self {
        let included = green.green_names(&index.included);
        let included: Vec<Ident> = included.into_iter().filter(|name| !columns.contains(name)).collect();
        let definition = format!("PRIMARY KEY ({}){}", list(columns), constraint_tail(index, &included));
        let mut key = Self { definition, ..Self::primary_key(index.name.clone(), columns) };
        let without_overlaps =
            Self::like(green, index).filter(|like| index.exclusion && like.has_keys(columns));
        if let Some(like) = without_overlaps {
            key.definition = like.definition;
        }
        key.take_settings(green, index);
        key
    }

    /// An index of blue on green; `None` if its text is not understood (which is a conflict).
    pub(crate) fn like(green: &Green, index: &Index) -> Option<Self> {
        let name_of = |blue: &str| {
            let blue = Ident::from(blue);
            green.name_of(&blue).filter(|name| **name != blue).cloned()
        };
        let keys = index.plain_keys().map(|keys| green.green_names(&keys));
        let definition = if let Some(constraint) = index.constraint.as_ref().filter(|_| index.exclusion) {
            let text = constraint.with_tablespace(index);
            if index.has_expressions { text } else { columns_in(&text, name_of) }
        } else if index.constraint.is_some() {
            let nulls = if index.nulls_not_distinct() { "NULLS NOT DISTINCT " } else { "" };
            let columns = keys.clone().unwrap_or_default();
            format!(
                "UNIQUE {nulls}({}){}",
                list(&columns),
                constraint_tail(index, &green.green_names(&index.included))
            )
        } else {
            let body = index.body.as_deref()?;
            let plain = !index.has_expressions && index.predicate.is_none();
            let body = if plain { columns_in(body, name_of) } else { body.to_owned() };
            let predicate = index.predicate.as_ref().map(|sql| format!(" WHERE {sql}")).unwrap_or_default();
            format!("{body}{}{predicate}", tablespace_clause(index.tablespace.as_ref()))
        };
        let mut like = Self {
            primary: false,
            unique: index.unique,
            constraint: index.constraint.is_some(),
            keys,
            definition,
            ..Self::primary_key(index.name.clone(), &[])
        };
        like.take_settings(green, index);
        Some(like)
    }

    pub(crate) fn new_in_plan(new: &NewIndex) -> Self {
        Self {
            primary: false,
            unique: new.unique,
            constraint: false,
            keys: None,
            definition: new.rest.clone(),
            ..Self::primary_key(new.name.clone(), &[])
        }
    }

    fn has_keys(&self, columns: &[Ident]) -> bool {
        self.keys.as_deref() == Some(columns)
    }

    fn take_settings(&mut self, green: &Green, index: &Index) {
        let identity = &green.blue.table.replica_identity;
        self.replica_identity =
            identity.kind == ReplicaIdentityKind::Index && identity.index.as_ref() == Some(&index.name);
        self.clustered = index.clustered;
        self.deferrable = index.constraint.as_ref().is_some_and(|constraint| constraint.deferrable);
        self.comment.clone_from(&index.comment);
        self.constraint_comment = index.constraint.as_ref().and_then(|constraint| constraint.comment.clone());
        self.statistics_targets.clone_from(&index.statistics_targets);
        self.extensions.clone_from(&index.extensions);
    }

    /// Builds it on a relation and, if that is a parent, on the leaves that lack it.
    pub(crate) fn build(&self, relation: &QName, name: Option<&Ident>) -> Statement {
        self.statement(relation, name, "")
    }

    /// With `only` = `ONLY `, a parent's index is not built on its leaves.
    fn statement(&self, relation: &QName, name: Option<&Ident>, only: &str) -> Statement {
        if self.constraint {
            let name = name.map(|name| format!("CONSTRAINT {name} ")).unwrap_or_default();
            let sql = format!("ALTER TABLE {only}{relation} ADD {name}{}", self.definition);
            Statement::on(relation, LockMode::AccessExclusive, "build a key on", sql)
        } else {
            let name = name.map(|name| format!("{name} ")).unwrap_or_default();
            let unique = if self.unique { "UNIQUE " } else { "" };
            let sql = format!("CREATE {unique}INDEX {name}ON {only}{relation} {}", self.definition);
            Statement::on(relation, LockMode::Share, "build an index on", sql)
        }
    }

    /// Builds it on an empty parent alone, and drops it again.
    pub(in crate::hangs_on) fn rehearse(&self, relation: &QName) -> [Statement; 2] {
        let name = &self.name;
        let kind = if self.constraint { "a key" } else { "an index" };
        let build = self.statement(relation, Some(name), "ONLY ");
        let build =
            Statement::on(relation, LockMode::AccessExclusive, &format!("rehearse {kind} on"), build.sql);
        let undo = if self.constraint {
            let sql = format!("ALTER TABLE ONLY {relation} DROP CONSTRAINT {name}");
            Statement::on(relation, LockMode::AccessExclusive, "undo the rehearsal of a key on", sql)
        } else {
            let index = QName { schema: relation.schema.clone(), name: name.clone() };
            Statement::making(&index, "undo the rehearsal of index", format!("DROP INDEX {index}"))
        };
        [build, undo]
    }

    /// Whether it may contain more than plain columns: an expression has parentheses of its own, or a function's.
    pub(crate) fn may_compute(&self) -> bool {
        self.keys.is_none() && self.definition.matches('(').count() > 1
    }

    /// Whether the leaves' indexes have to be named later, by a setting. All others get their names from the server,
    /// which knows which are free.
    fn names_leaf_indexes(&self) -> bool {
        self.replica_identity || self.clustered || !self.statistics_targets.is_empty()
    }

    /// Its name on the leaf with this number; `None` if the server names it.
    fn leaf_index(&self, green: &Green, leaf: usize, relation: &QName) -> Option<Ident> {
        if green.partition.is_none() {
            return Some(self.name.clone());
        }
        let number = green.indexes.iter().position(|index| index.name == self.name)?;
        self.names_leaf_indexes().then(|| name_on_leaf(relation, leaf, &format!("_i{number}")))
    }
}

/// The leaf's name and `suffix`, shortened if it would be too long, and then made distinct by the leaf's number.
pub(in crate::hangs_on) fn name_on_leaf(leaf: &QName, leaf_number: usize, suffix: &str) -> Ident {
    let name = leaf.name.as_str();
    if name.len() + suffix.len() <= MAX_BYTES {
        return Ident::from(format!("{name}{suffix}"));
    }
    let suffix = format!("_{leaf_number}{suffix}");
    let mut end = MAX_BYTES - suffix.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    Ident::from(format!("{}{suffix}", &name[..end]))
}

fn constraint_tail(index: &Index, included: &[Ident]) -> String {
    let include = if included.is_empty() { String::new() } else { format!(" INCLUDE ({})", list(included)) };
    let options: Vec<String> = index.options.iter().map(|option| option_sql("", option)).collect();
    let with = if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) };
    let space =
        index.tablespace.as_ref().map(|name| format!(" USING INDEX TABLESPACE {name}")).unwrap_or_default();
    let deferred = index.constraint.as_ref().map_or("", IndexConstraint::deferral);
    format!("{include}{with}{space}{deferred}")
}

impl IndexConstraint {
    /// ` DEFERRABLE INITIALLY DEFERRED`, ` DEFERRABLE`, or nothing.
    pub(super) fn deferral(&self) -> &'static str {
        match (self.deferrable, self.definition.ends_with(" INITIALLY DEFERRED")) {
            (false, _) => "",
            (true, false) => " DEFERRABLE",
            (true, true) => " DEFERRABLE INITIALLY DEFERRED",
        }
    }

    /// The definition, which the server prints without the tablespace.
    fn with_tablespace(&self, index: &Index) -> String {
        let Some(space) = &index.tablespace else { return self.definition.clone() };
        let condition = index.predicate.as_ref().map(|sql| format!(" WHERE ({sql})")).unwrap_or_default();
        let tail = format!("{condition}{}", self.deferral());
        let head = self.definition.strip_suffix(&tail).unwrap_or(&self.definition);
        format!("{head} USING INDEX TABLESPACE {space}{tail}")
    }
}

impl GreenIndex {
    /// Its properties once it exists: extensions, comments, statistics targets, replica identity, CLUSTER mark.
    pub(super) fn settings(&self, green: &Green) -> Vec<Statement> {
        let home = green.at_home();
        let own = QName { schema: home.schema.clone(), name: self.name.clone() };
        let mut statements = depends_on(&format!("INDEX {own}"), &self.extensions);
        statements.extend(comment_on(&format!("INDEX {own}"), self.comment.as_ref()));
        statements.extend(comment_on_constraint(&self.name, &home, self.constraint_comment.as_ref()));
        let parent = green.parent_at_home();
        let leaves = green.row_holders().into_iter().enumerate().filter_map(|(number, relation)| {
            let name = self.leaf_index(green, number, &relation)?;
            Some((relation, name))
        });
        for (relation, name) in leaves.chain(parent.clone().map(|parent| (parent, self.name.clone()))) {
            let qualified = QName { schema: relation.schema.clone(), name: name.clone() };
            statements.extend(self.statistics_targets.iter().map(|target| {
                let (column, target) = (target.column, target.target);
                let sql = format!("ALTER INDEX {qualified} ALTER COLUMN {column} SET STATISTICS {target}");
                Statement::new("set the statistics target of an index", sql)
            }));
            if self.replica_identity {
                let sql = format!("ALTER TABLE ONLY {relation} REPLICA IDENTITY USING INDEX {name}");
                let verb = "set the replica identity of";
                statements.push(Statement::on(&relation, LockMode::AccessExclusive, verb, sql));
            }
            if self.clustered && Some(&relation) != parent.as_ref() {
                let sql = format!("ALTER TABLE {relation} CLUSTER ON {name}");
                let verb = "set the CLUSTER index of";
                statements.push(Statement::on(&relation, LockMode::ShareUpdateExclusive, verb, sql));
            }
        }
        statements
    }
}

impl Green {
    /// How to build every index, in the order of [`Green::indexes`](Green).
    #[must_use]
    pub fn index_builds(&self) -> Vec<IndexBuild> {
        let build = |index: &GreenIndex| {
            let on_holder = |(number, relation): (usize, QName)| {
                index.build(&relation, index.leaf_index(self, number, &relation).as_ref())
            };
            let on_parent = |parent: QName| {
                let (index_name, table) = (index.name.as_str(), parent.name.as_str());
                let what = format!("index {index_name} on {table}, which attaches those of its partitions");
                index.build(&parent, Some(&index.name)).called(what)
            };
            IndexBuild {
                name: index.name.clone(),
                primary: index.primary,
                unique: index.unique,
                on_row_holders: self.row_holders().into_iter().enumerate().map(on_holder).collect(),
                on_parent: self.parent_at_home().map(on_parent),
            }
        };
        self.indexes.iter().map(build).collect()
    }

    /// The names that this program gives to indexes of leaves.
    pub(crate) fn named_leaf_indexes(&self) -> Vec<Ident> {
        let holders = self.row_holders();
        let named = self.indexes.iter().filter(|index| index.names_leaf_indexes());
        named
            .flat_map(|index| {
                holders.iter().enumerate().filter_map(|(number, leaf)| index.leaf_index(self, number, leaf))
            })
            .collect()
    }
}
