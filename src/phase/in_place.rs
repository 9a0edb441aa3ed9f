//! Indexes that are built on the live table itself, concurrently, before anything is copied: no slot retains WAL
//! meanwhile, and CREATE INDEX CONCURRENTLY does not wait for a snapshot of the copy.
//!
//! ```text
//! plan + catalog --builds (pure)--> steps --fact--> journal --> executed, resumed, undone and shown as the plan's own steps
//! ```
//!
//! PostgreSQL builds no index of a partitioned table concurrently. Each partition gets its own first, then the parent
//! gets one that is invalid (ON ONLY), to which each is attached; the last one makes it valid. A partition that was
//! created meanwhile is found by looking again.

use super::steps::Around;
use crate::error::{Doing, Error};
use crate::finding::{CheckId, Finding};
use crate::lifecycle::{Fact, Phase, Way};
use crate::pg::connect::Session;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Ident, MAX_BYTES, QName};
use crate::plan::{NewIndex, Script, ScriptStatement, Step, StepTime, TablePlan};
use crate::run::Run;

/// Bytes of a table that are read per second, and of an index that are written, if nothing was measured.
const READ_PER_S: f64 = (200 << 20) as f64;
const BUILT_PER_S: f64 = (60 << 20) as f64;
/// How often partitions that others have created meanwhile are looked for.
const LOOKS: u32 = 5;

/// The table, or a partition of it.
pub(crate) struct Relation {
    pub(crate) name: QName,
    /// 0 for the table itself.
    depth: i32,
    /// The partitioned table that it is a partition of.
    parent: Option<QName>,
    /// `pg_class.relkind`.
    pub(crate) kind: String,
    /// What PARTITION BY says of it, if it is partitioned itself.
    pub(crate) partition_key: Option<String>,
    /// The owner, if the role does not have its rights.
    pub(crate) foreign_owner: Option<Ident>,
    /// The indexes of the parent that one of its own is attached to.
    covered_by: Vec<String>,
    /// Its valid indexes.
    valid: Vec<String>,
    pub(crate) size: Size,
}

/// What a build reads and writes, as far as the catalog shows.
#[derive(Clone, Copy, Default)]
pub(crate) struct Size {
    pub(crate) table_bytes: f64,
    /// Of one index.
    pub(crate) index_bytes: f64,
}

impl Size {
    /// About how long the build takes: it reads the table twice.
    pub(crate) fn seconds(&self) -> f64 {
        2.0 * self.table_bytes / READ_PER_S + self.index_bytes / BUILT_PER_S
    }
}

/// A step of an index that is built in place.
pub(crate) struct Build {
    pub(crate) step: Step,
    /// The statement of its `up`.
    pub(crate) up: Statement,
    /// That of its `down`.
    pub(crate) down: Option<Statement>,
    /// The index that it builds, unless it attaches one.
    pub(crate) index: Option<QName>,
    /// Whether the catalog shows that it need not be executed.
    pub(crate) is_covered: bool,
    pub(crate) size: Size,
}

/// The table and its partitions, the deepest first; empty if there is no such table.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub(crate) async fn relations(session: &Session, table: &QName) -> Result<Vec<Relation>, Error> {
    const SQL: &str = include_str!("../../sql/catalog/in_place.sql");
    let rows = session.query(SQL, &[&table.to_string()]).await.doing("reading a table's partitions")?;
    let relation = |row: &tokio_postgres::Row| {
        let name = |schema, name| {
            let of = |column| row.get::<_, Option<String>>(column).map(Ident);
            Some(QName { schema: of(schema)?, name: of(name)? })
        };
        Some(Relation {
            name: name("schema", "name")?,
            depth: row.get("depth"),
            parent: name("parent_schema", "parent_name"),
            kind: row.get("kind"),
            partition_key: row.get("partition_key"),
            foreign_owner: (!row.get::<_, bool>("is_ours")).then(|| Ident(row.get("owner"))),
            covered_by: row.get("covered_by"),
            valid: row.get("valid"),
            size: Size {
                table_bytes: row.get::<_, i64>("table_bytes") as f64,
                index_bytes: row.get::<_, f64>("index_bytes").max(0.0),
            },
        })
    };
    Ok(rows.iter().filter_map(relation).collect())
}

/// Executes what is left of the builds in place.
///
/// # Errors
/// If the server rejected a statement, or the connection was lost.
pub(super) async fn run(run: &Run<'_>) -> Result<(), Error> {
    let tables = &run.forward.plan.in_place;
    for _ in 0..LOOKS {
        let wanted = wanted(run, tables).await?;
        if wanted.is_empty() {
            return Ok(());
        }
        let known = run.journal.progress().in_place.clone();
        let mut steps: Vec<Step> = known.clone();
        steps.retain(|step| wanted.iter().all(|wanted| wanted.name != step.name));
        steps.extend(wanted.iter().cloned());
        if steps != known {
            run.journal.record(Fact::InPlace { steps }).await?;
        }
        Around::of(run, Phase::Prepare).each(&wanted, Way::Up).await?;
    }
    let what = "an index is not valid although all of it was built: others have dropped some of it, or create partitions all \
                the while";
    let hint = "execute again when nobody changes the table, or `projh-bluegreen rollback`";
    Err(Error::Refused(vec![Finding::server(CheckId::TablesAtRest, what, hint)]))
}

/// The steps of the indexes that are not valid yet; none if all of them are.
async fn wanted(run: &Run<'_>, tables: &[TablePlan]) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    for table in tables {
        let relations = relations(run.journal.session(), &table.table).await?;
        let Some(root) = relations.last() else {
            let missing = Finding::table(CheckId::Table, &table.table, "it no longer exists", "restore it");
            return Err(Error::Refused(vec![missing]));
        };
        for index in &table.indexes {
            let is_valid = root.valid.iter().any(|valid| valid == index.name.as_str());
            let is_ours = !run.journal.progress().steps.lacks(&root.step(index), Way::Up);
            if is_valid
                && is_ours
                && let Some(what) = of_others(run, root, index).await?
            {
                let hint =
                    "`projh-bluegreen rollback` leaves it alone; or give it the definition that the plan has";
                return Err(Error::Refused(vec![Finding::table(CheckId::InPlace, &table.table, what, hint)]));
            }
            if !is_valid || !is_ours {
                let left = builds(&relations, index).into_iter().filter(|build| !build.is_covered);
                steps.extend(left.map(|build| build.step));
            }
        }
    }
    Ok(steps)
}

/// What is wrong with the index of this name, if it is not the one that the run has built.
async fn of_others(run: &Run<'_>, root: &Relation, index: &NewIndex) -> Result<Option<String>, Error> {
    let built =
        if root.partition_key.is_some() { parent_build(root, index, &[]) } else { build(root, index) };
    super::steps::of_others(run.journal.session(), &built.up.sql).await
}

/// The steps of an index, in their order; undone in the reverse one. `relations` are those of its table.
pub(crate) fn builds(relations: &[Relation], index: &NewIndex) -> Vec<Build> {
    let (parents, leaves): (Vec<&Relation>, Vec<&Relation>) =
        relations.iter().partition(|relation| relation.partition_key.is_some());
    let concurrent = leaves.iter().map(|leaf| build(leaf, index));
    let invalid = parents.iter().map(|parent| parent_build(parent, index, relations));
    let attached = relations.iter().filter_map(|relation| attach(relation, index));
    concurrent.chain(invalid).chain(attached).collect()
}

fn build(leaf: &Relation, index: &NewIndex) -> Build {
    let (table, name) = (&leaf.name, leaf.index(index));
    let unique = if index.unique { "UNIQUE " } else { "" };
    let up = format!("CREATE {unique}INDEX CONCURRENTLY {} ON {table} {}", name.name, index.rest);
    let up = Statement::on(table, LockMode::ShareUpdateExclusive, "build an index in place on", up);
    let down = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
    let down = Statement::on(table, LockMode::ShareUpdateExclusive, "drop the index of", down);
    Build {
        step: step(leaf.step(index), &up, Some(&down)).alone(),
        up: up.reading_rows(),
        down: Some(down),
        index: Some(name),
        is_covered: leaf.is_covered(index),
        size: leaf.size,
    }
}

fn parent_build(parent: &Relation, index: &NewIndex, relations: &[Relation]) -> Build {
    let (table, name) = (&parent.name, parent.index(index));
    let unique = if index.unique { "UNIQUE " } else { "" };
    let up = format!("CREATE {unique}INDEX {} ON ONLY {table} {}", name.name, index.rest);
    let up = Statement::on(table, LockMode::Share, "make the index that those are attached to, on", up);
    // It takes those with it that are attached to it.
    let down = format!("DROP INDEX IF EXISTS {name}");
    let down = Statement::on(table, LockMode::AccessExclusive, "drop the index of", down);
    let below = relations.iter().filter(|relation| relation.is_below(table, relations));
    let down = below.fold(down, |down, below| down.locking(&below.name, LockMode::AccessExclusive));
    Build {
        step: step(parent.step(index), &up, Some(&down)),
        up,
        down: Some(down),
        index: Some(name),
        is_covered: parent.is_covered(index),
        size: Size::default(),
    }
}

fn attach(relation: &Relation, index: &NewIndex) -> Option<Build> {
    let parent = relation.parent.as_ref()?;
    let own = relation.index(index);
    let whole = QName { schema: parent.schema.clone(), name: relation.index_of_parent(index)? };
    let sql = format!("ALTER INDEX {whole} ATTACH PARTITION {own}");
    // Planning a query opens the partition's indexes.
    let up = Statement::on(&relation.name, LockMode::AccessShare, "attach the index of", sql)
        .locking(parent, LockMode::AccessShare)
        .locking(&own, LockMode::AccessExclusive);
    Some(Build {
        step: step(format!("attach index {}", own.plain()), &up, None),
        up,
        down: None,
        index: None,
        is_covered: relation.is_covered(index),
        size: Size::default(),
    })
}

impl Relation {
    /// The name of its index.
    fn index(&self, index: &NewIndex) -> QName {
        let name = if self.depth == 0 { index.name.clone() } else { name_on(&self.name, &index.name) };
        QName { schema: self.name.schema.clone(), name }
    }

    fn index_of_parent(&self, index: &NewIndex) -> Option<Ident> {
        let parent = self.parent.as_ref()?;
        Some(if self.depth == 1 { index.name.clone() } else { name_on(parent, &index.name) })
    }

    fn is_covered(&self, index: &NewIndex) -> bool {
        let of_parent = self.index_of_parent(index);
        of_parent.is_some_and(|of_parent| self.covered_by.iter().any(|by| by == of_parent.as_str()))
    }

    /// The name of the step that makes its index.
    fn step(&self, index: &NewIndex) -> String {
        format!("index {} on {}", self.index(index).name.plain(), self.name.plain())
    }

    fn is_below(&self, table: &QName, relations: &[Self]) -> bool {
        let Some(parent) = &self.parent else { return false };
        parent == table
            || relations.iter().any(|other| other.name == *parent && other.is_below(table, relations))
    }
}

/// Of a partition and an index, in at most 63 bytes; a shortened one has a hash of the whole.
fn name_on(partition: &QName, index: &Ident) -> Ident {
    let whole = format!("{}_{}", partition.name.as_str(), index.as_str());
    if whole.len() <= MAX_BYTES {
        return Ident(whole);
    }
    // FNV-1a: the same in every version of the program.
    let hash =
        whole.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let room = (MAX_BYTES - 10) / 2;
    let cut = |name: &Ident| {
        let name = name.as_str();
        let end = (0..=room.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
        name[..end.unwrap_or(0)].to_owned()
    };
    Ident(format!("{}_{}_{hash:08x}", cut(&partition.name), cut(index)))
}

fn step(name: String, up: &Statement, down: Option<&Statement>) -> Step {
    let script = |statement: &Statement| Script {
        file: None,
        statements: vec![ScriptStatement { line: 1, column: 1, sql: statement.sql.clone() }],
    };
    let (up, down) = (script(up), down.map(script));
    Step { name, when: StepTime::Prepare, up, down, transactional: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(depth: i32, name: &str, parent: Option<&str>, is_partitioned: bool) -> Relation {
        let of = |name: &str| QName::new("public", name);
        Relation {
            name: of(name),
            depth,
            parent: parent.map(of),
            kind: String::new(),
            partition_key: is_partitioned.then(String::new),
            foreign_owner: None,
            covered_by: Vec::new(),
            valid: Vec::new(),
            size: Size::default(),
        }
    }

    #[test]
    fn an_index_of_a_tree_is_built_from_its_leaves_and_dropped_from_its_root() {
        let mut relations = vec![
            relation(2, "old_1", Some("old"), false),
            relation(1, "new", Some("t"), false),
            relation(1, "old", Some("t"), true),
            relation(0, "t", None, true),
        ];
        let index = NewIndex { name: "i".into(), unique: false, rest: "(a)".to_owned() };
        let left = |relations: &[Relation]| {
            let left = builds(relations, &index).into_iter().filter(|build| !build.is_covered);
            left.map(|build| build.step.name).collect::<Vec<_>>()
        };
        assert_eq!(
            left(&relations),
            [
                "index old_1_i on public.old_1",
                "index new_i on public.new",
                "index old_i on public.old",
                "index i on public.t",
                "attach index public.old_1_i",
                "attach index public.new_i",
                "attach index public.old_i",
            ]
        );
        let dropped = builds(&relations, &index)
            .into_iter()
            .find(|build| build.step.name == "index old_i on public.old");
        let locked: Vec<String> =
            dropped.unwrap().down.unwrap().locks.iter().map(|(on, _)| on.plain()).collect();
        assert_eq!(locked, ["public.old", "public.old_1"]);
        relations[0].covered_by = vec!["old_i".to_owned()];
        assert_eq!(left(&relations).len(), 5);
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_and_stays_distinct() {
        let index = Ident("i".repeat(60));
        let names =
            ["ä".repeat(31), "ä".repeat(30) + "b"].map(|name| name_on(&QName::new("public", name), &index));
        assert!(names.iter().all(|name| name.as_str().len() <= MAX_BYTES), "{names:?}");
        assert_ne!(names[0], names[1]);
    }
}
