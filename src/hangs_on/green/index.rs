//! Green's indexes: how each is built on the relations that hold rows, and then on the parent.

use serde::{Deserialize, Serialize};

use super::Green;
use super::rename::columns_in;
use crate::hangs_on::ReplicaIdentityKind;
use crate::hangs_on::indexes::{Index, StatisticsTarget};
use crate::hangs_on::table::{comment_on, option_sql, tablespace_clause};
use crate::pg::{Ident, MAX_BYTES, QName, list};
use crate::plan::NewIndex;

/// An index of green.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GreenIndex {
    /// Its final name, on the parent.
    pub name: Ident,
    /// The primary key's.
    pub primary: bool,
    /// Unique.
    pub unique: bool,
    /// It stands under a constraint (primary key or unique).
    pub constraint: bool,
    /// Its plain key columns by green's names; `None` where one is an expression or unknown.
    pub keys: Option<Vec<Ident>>,
    /// For a constraint `PRIMARY KEY (...) ...`, else `USING ... (...) ...`: what follows the
    /// relation's name.
    pub definition: String,
    /// It is the replica identity.
    pub replica_identity: bool,
    /// CLUSTER would use it.
    pub clustered: bool,
    /// COMMENT ON INDEX.
    pub comment: Option<String>,
    /// COMMENT ON CONSTRAINT.
    pub constraint_comment: Option<String>,
    /// SET STATISTICS on its expressions.
    pub statistics_targets: Vec<StatisticsTarget>,
}

/// How one index comes into being. The parent's statement finds the leaves' indexes and attaches
/// them; it builds nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexBuild {
    /// Its final name.
    pub name: Ident,
    /// The primary key's.
    pub primary: bool,
    /// Unique.
    pub unique: bool,
    /// Relation and statement: these do the work, side by side.
    pub on_row_holders: Vec<(QName, String)>,
    /// After all of those; `None` where green is not partitioned.
    pub on_parent: Option<String>,
}

impl GreenIndex {
    pub(super) fn primary_key(name: Ident, columns: &[Ident]) -> Self {
        Self {
            name,
            primary: true,
            unique: true,
            constraint: true,
            keys: Some(columns.to_vec()),
            definition: format!("PRIMARY KEY ({})", list(columns)),
            replica_identity: false,
            clustered: false,
            comment: None,
            constraint_comment: None,
            statistics_targets: Vec::new(),
        }
    }

    /// Blue's primary key with everything set on it, over these columns of green.
    pub(super) fn primary_key_like(green: &Green, index: &Index, columns: &[Ident]) -> Self {
        let included = green.green_names(&index.included);
        let included: Vec<Ident> = included.into_iter().filter(|name| !columns.contains(name)).collect();
        let definition = format!("PRIMARY KEY ({}){}", list(columns), constraint_tail(index, &included));
        let mut key = Self { definition, ..Self::primary_key(index.name.clone(), columns) };
        key.take_settings(green, index);
        key
    }

    /// An index of blue on green; `None` where its text is not understood (which is a conflict).
    pub(super) fn like(green: &Green, index: &Index) -> Option<Self> {
        let name_of = |blue: &str| {
            let blue = Ident::from(blue);
            green.name_of(&blue).filter(|name| **name != blue).cloned()
        };
        let keys = index.plain_keys().map(|keys| green.green_names(&keys));
        let definition = if index.constraint.is_some() {
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

    pub(super) fn new_in_plan(new: &NewIndex) -> Self {
        Self {
            primary: false,
            unique: new.unique,
            constraint: false,
            keys: None,
            definition: new.rest.clone(),
            ..Self::primary_key(new.name.clone(), &[])
        }
    }

    fn take_settings(&mut self, green: &Green, index: &Index) {
        let identity = &green.blue.table.replica_identity;
        self.replica_identity =
            identity.kind == ReplicaIdentityKind::Index && identity.index.as_ref() == Some(&index.name);
        self.clustered = index.clustered;
        self.comment.clone_from(&index.comment);
        self.constraint_comment = index.constraint.as_ref().and_then(|constraint| constraint.comment.clone());
        self.statistics_targets.clone_from(&index.statistics_targets);
    }

    /// The statement that builds it on one relation; `only` keeps a parent's from its leaves.
    pub(super) fn statement(&self, relation: &QName, name: Option<&Ident>, only: bool) -> String {
        let only = if only { "ONLY " } else { "" };
        if self.constraint {
            let name = name.map(|name| format!("CONSTRAINT {name} ")).unwrap_or_default();
            format!("ALTER TABLE {only}{relation} ADD {name}{}", self.definition)
        } else {
            let name = name.map(|name| format!("{name} ")).unwrap_or_default();
            let unique = if self.unique { "UNIQUE " } else { "" };
            format!("CREATE {unique}INDEX {name}ON {only}{relation} {}", self.definition)
        }
    }

    /// Whether it may hold more than plain columns: an expression has a parenthesis of its own, or a
    /// function's.
    pub(crate) fn may_compute(&self) -> bool {
        self.keys.is_none() && self.definition.matches('(').count() > 1
    }

    /// Removes it again.
    pub(super) fn drop(&self, relation: &QName) -> String {
        if self.constraint {
            format!("ALTER TABLE ONLY {relation} DROP CONSTRAINT {}", self.name)
        } else {
            format!("DROP INDEX {}", QName { schema: relation.schema.clone(), name: self.name.clone() })
        }
    }

    /// Whether something has to be said about the leaves' indexes by name later. All others get
    /// their names from the server, which knows which are free.
    fn names_leaf_indexes(&self) -> bool {
        self.replica_identity || self.clustered || !self.statistics_targets.is_empty()
    }

    /// Its name on the leaf with this number.
    fn leaf_index(&self, green: &Green, leaf: usize, relation: &QName) -> Option<Ident> {
        if green.partition.is_none() {
            return Some(self.name.clone());
        }
        let number = green.indexes.iter().position(|index| index.name == self.name)?;
        self.names_leaf_indexes().then(|| leaf_index_name(relation, leaf, number))
    }
}

/// `<leaf>_i<number>`, shortened (and told apart by the leaf's number) where it would be too long.
fn leaf_index_name(leaf: &QName, leaf_number: usize, index_number: usize) -> Ident {
    let name = leaf.name.as_str();
    let suffix = format!("_i{index_number}");
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
    format!("{include}{with}{space}")
}

impl Green {
    /// How to build every index, in this order.
    #[must_use]
    pub fn index_builds(&self) -> Vec<IndexBuild> {
        let build = |index: &GreenIndex| IndexBuild {
            name: index.name.clone(),
            primary: index.primary,
            unique: index.unique,
            on_row_holders: self
                .row_holders()
                .into_iter()
                .enumerate()
                .map(|(number, relation)| {
                    let name = index.leaf_index(self, number, &relation);
                    let statement = index.statement(&relation, name.as_ref(), false);
                    (relation, statement)
                })
                .collect(),
            on_parent: self
                .partition
                .as_ref()
                .map(|_| index.statement(&self.at_home(), Some(&index.name), false)),
        };
        self.indexes.iter().map(build).collect()
    }

    /// The names that leaves' indexes get from us.
    pub(super) fn named_leaf_indexes(&self) -> Vec<Ident> {
        let holders = self.row_holders();
        let named = self.indexes.iter().filter(|index| index.names_leaf_indexes());
        named
            .flat_map(|index| {
                holders.iter().enumerate().filter_map(|(number, leaf)| index.leaf_index(self, number, leaf))
            })
            .collect()
    }

    /// What follows once all indexes are there: comments, statistics targets, replica identity,
    /// CLUSTER marks, and the CHECK constraints that blue's old rows may break.
    #[must_use]
    pub fn after_indexes(&self) -> Vec<String> {
        let home = self.at_home();
        let mut sql = Vec::new();
        for index in &self.indexes {
            sql.extend(self.index_settings(index));
        }
        let identity = match self.blue.table.replica_identity.kind {
            ReplicaIdentityKind::Full => Some("FULL"),
            ReplicaIdentityKind::Nothing => Some("NOTHING"),
            ReplicaIdentityKind::Default | ReplicaIdentityKind::Index => None,
        };
        if let Some(identity) = identity {
            let parent = self.partition.as_ref().map(|_| home.clone());
            sql.extend(
                self.row_holders()
                    .into_iter()
                    .chain(parent)
                    .map(|relation| format!("ALTER TABLE ONLY {relation} REPLICA IDENTITY {identity}")),
            );
        }
        for check in self.blue.checks.iter().filter(|check| !check.validated) {
            sql.extend(check.add_unvalidated(&home, self.partition.is_some()));
            let what = format!("CONSTRAINT {} ON {home}", check.name);
            sql.extend(comment_on(&what, check.comment.as_ref()));
        }
        sql
    }

    fn index_settings(&self, index: &GreenIndex) -> Vec<String> {
        let home = self.at_home();
        let own = QName { schema: home.schema.clone(), name: index.name.clone() };
        let mut sql = Vec::new();
        sql.extend(comment_on(&format!("INDEX {own}"), index.comment.as_ref()));
        let constraint = format!("CONSTRAINT {} ON {home}", index.name);
        sql.extend(comment_on(&constraint, index.constraint_comment.as_ref()));
        let parent = self.partition.as_ref().map(|_| (home.clone(), index.name.clone()));
        let leaves = self.row_holders().into_iter().enumerate().filter_map(|(number, relation)| {
            let name = index.leaf_index(self, number, &relation)?;
            Some((relation, name))
        });
        for (relation, name) in leaves.chain(parent.clone()) {
            let qualified = QName { schema: relation.schema.clone(), name: name.clone() };
            sql.extend(index.statistics_targets.iter().map(|target| {
                format!(
                    "ALTER INDEX {qualified} ALTER COLUMN {} SET STATISTICS {}",
                    target.column, target.target
                )
            }));
            if index.replica_identity {
                sql.push(format!("ALTER TABLE ONLY {relation} REPLICA IDENTITY USING INDEX {name}"));
            }
            if index.clustered && Some(&relation) != parent.as_ref().map(|(relation, _)| relation) {
                sql.push(format!("ALTER TABLE {relation} CLUSTER ON {name}"));
            }
        }
        sql
    }

    /// Tries on empty tables what would otherwise fail hours later: every index, and every policy
    /// and CHECK that is made late. Leaves nothing behind. Run after [`Green::create`], in its
    /// transaction.
    #[must_use]
    pub fn rehearsal(&self) -> Vec<String> {
        let home = self.at_home();
        let mut sql = Vec::new();
        for index in &self.indexes {
            sql.push(index.statement(&home, Some(&index.name), true));
            sql.push(index.drop(&home));
        }
        for check in &self.blue.checks {
            if let Some(add) = check.add_unvalidated(&home, self.partition.is_some()) {
                sql.push(add);
                sql.push(format!("ALTER TABLE {home} DROP CONSTRAINT {}", check.name));
            }
        }
        for policy in self.late_policies() {
            sql.extend(policy.create(&home));
            sql.push(format!("DROP POLICY {} ON {home}", policy.name));
        }
        sql
    }
}
