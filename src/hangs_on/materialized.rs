//! Materialized views over the table.
//!
//! A materialized view is bound to the table's OID, and its query cannot be replaced. So it has a counterpart over green,
//! which is made with green's indexes, in the run's schema. Before a swap it is filled, as REFRESH does, and in the swap
//! the two exchange their schemas, as the tables do: clients read rows all the while. The one that has left stays over the
//! table that has left, so that a swap back is the same the other way.
//!
//! A swap does not take back what a client's REFRESH has done. Before an attempt takes its locks, it keeps REFRESH away,
//! and compares the live materialized view with what it was when its counterpart began to be filled
//! ([`MaterializedView::writes`]); it is given up if that differs, unless clients refresh so often that every attempt would be.
//!
//! One that reads the table through views only needs nothing: those keep their OIDs.

mod stored;

use serde::{Deserialize, Serialize};

use super::Question;
use super::canonical::same;
use super::fitted::{self, Fitted};
use super::grant::{Grant, sorted};
use super::part::{Compared, Conflict, Dependent, Part};
use super::privileges::Grants;
use super::shape::Green;
use super::statistics::{self, Statistics};
use super::table::{comment_on, depends_on, storage_clause};
use super::views::ViewColumn;
use crate::pg::sql::{LockMode, Statement, lexer};
use crate::pg::{Colour, Ident, Literal, QName, RunObjects, list};
use crate::plan::TablePlan;

use stored::{StoredColumn, StoredIndex};

pub(super) const MATERIALIZED: Question = Question {
    what: "the materialized views over it",
    sql: concat!(
        include_str!("../../sql/catalog/bound.sql"),
        include_str!("../../sql/catalog/materialized_views.sql")
    ),
};

/// A materialized view that is bound to the table, or to one that is, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaterializedView {
    /// Its name, schema-qualified.
    pub name: QName,
    /// Its owner, who need not be the table's.
    pub owner: Ident,
    /// How many materialized views are between it and the table, on the longest way.
    pub depth: u32,
    /// Its query, as SQL text without a closing `;`.
    pub query: String,
    /// The table's columns that its query uses.
    pub uses: Vec<Ident>,
    /// Whether its query groups by the primary key, and uses other columns.
    pub needs_key: bool,
    /// The tablespace, if it is not the database's default.
    pub tablespace: Option<Ident>,
    /// The table access method, if it is not `heap`.
    pub access_method: Option<Ident>,
    /// Storage parameters, as `name=value`.
    pub options: Vec<String>,
    /// The TOAST table's storage parameters, as `name=value`.
    pub toast_options: Vec<String>,
    /// The text of COMMENT ON MATERIALIZED VIEW.
    pub comment: Option<String>,
    /// The extensions that it depends on.
    #[serde(default)]
    pub extensions: Vec<Ident>,
    /// The extension that it is a member of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_of: Option<Ident>,
    /// Bytes of its rows, without indexes.
    pub bytes: u64,
    /// The privileges on it.
    pub grants: Grants,
    /// What is set for its columns, by name.
    pub columns: Vec<StoredColumn>,
    /// Its columns, in their order; empty in runs of a version that did not keep them.
    #[serde(default)]
    pub shows: Vec<ViewColumn>,
    /// Its indexes.
    pub indexes: Vec<StoredIndex>,
    /// Its extended statistics.
    #[serde(default)]
    pub statistics: Vec<Statistics>,
}

/// The [`Part`] of materialized views.
pub(super) struct MaterializedViews;

impl Part for MaterializedViews {
    fn conflicts(&self, green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        let all = &green.blue.materialized;
        let names = |of: &MaterializedView| {
            let indexes = of.indexes.iter().map(|index| index.name.clone());
            std::iter::once(of.name.name.clone()).chain(indexes).collect::<Vec<_>>()
        };
        let of_table = || {
            let indexes = green.indexes.iter().map(|index| &index.name);
            let sequences = green.blue.sequences.iter().map(|sequence| &sequence.name.name);
            std::iter::once(&green.live().name).chain(indexes).chain(sequences)
        };
        let of_another_run = all.iter().filter_map(|view| {
            let run = view.run()?;
            let what = format!(
                "{} is what run {run} keeps of a materialized view that reads its tables and this one",
                view.what()
            );
            Some(Conflict::new(what, RunObjects::ends_first(run)))
        });
        let conflict = |(number, view): (usize, &MaterializedView)| {
            // The names of another run's are free once that has ended.
            if view.run().is_some() {
                return None;
            }
            let others = all[..number].iter().filter(|other| other.run().is_none()).flat_map(names);
            let taken: Vec<Ident> = others.chain(of_table().cloned()).collect();
            let twice = names(view).into_iter().find(|name| taken.contains(name))?;
            let what = format!(
                "{} has the name {twice}, itself or for an index, and so has something else that moves with the table",
                view.what()
            );
            Some(Conflict::new(what, format!("rename one of them, or {}", view.drop_hint())))
        };
        let members = all.iter().filter_map(|view| {
            let (what, extension) = (view.what(), view.member_of.as_ref()?.plain());
            let add = format!("alter extension {extension} add {what}");
            Some(Conflict::new(
                format!("{what} belongs to extension {extension}, and another one takes its place"),
                format!("alter extension {extension} drop {what}; and once the run is finished, {add}"),
            ))
        });
        of_another_run.chain(members).chain(all.iter().enumerate().filter_map(conflict)).collect()
    }

    fn dependents(&self, green: &Green, who: Colour) -> Vec<Dependent> {
        let all = green.blue.materialized.iter().enumerate();
        all.map(|(number, view)| view.dependent(green, who, number)).collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.materialized {
            let name = was.what();
            let Some(is) = compared.is.materialized.iter().find(|is| is.name == was.name) else {
                compared.note(format!("{name} no longer reads it"));
                continue;
            };
            let (old, new) = (sorted(&was.grants.others), sorted(&is.grants.others));
            compared.check(format!("grants on {name}"), &old, &new);
            let expected = MaterializedView {
                query: is.query.clone(),
                uses: is.uses.clone(),
                bytes: is.bytes,
                grants: is.grants.clone(),
                shows: if was.shows.is_empty() { is.shows.clone() } else { was.shows.clone() },
                ..was.clone()
            };
            compared.check(name.clone(), &expected, is);
            if !compared.has_changed(&was.uses) && !same(Some(&was.query), Some(&is.query)) {
                compared.note(format!("query of {name}: was {:?}, is {:?}", was.query, is.query));
            }
        }
    }
}

impl MaterializedView {
    /// Its kind and name, for people.
    pub(crate) fn what(&self) -> String {
        format!("materialized view {}", self.name.plain())
    }

    /// The run in whose private schema it is.
    fn run(&self) -> Option<&str> {
        RunObjects::run_of_schema(self.name.schema.as_str())
    }

    /// Its query over the new tables of a run: what those that it reads have as another type is cast to the types that it
    /// has.
    fn fitted(&self, greens: &[&Green]) -> Fitted {
        let retyped = greens.iter().flat_map(|green| {
            let of = green.blue.materialized.iter().find(|of| of.name == self.name);
            of.into_iter().flat_map(|of| green.cast_among(&of.uses))
        });
        fitted::fitted(&self.query, &self.shows, &retyped.collect::<Vec<_>>())
    }

    fn drop_hint(&self) -> String {
        format!("drop {}; and create it again after the swap", self.what())
    }

    fn dependent(&self, green: &Green, who: Colour, number: usize) -> Dependent {
        let again = self.drop_hint();
        let hint = green.keeping(&self.uses, again);
        let home = self.name.in_schema(green.homes.of(who));
        let away = green.homes.of(who.other());
        Dependent {
            what: self.what(),
            becomes: format!(
                "another one over the new table is made and filled before the swap, and takes its place in it; its \
                 rows are then those of a REFRESH just before{}",
                self.fitted(&[green]).notes
            ),
            hint,
            is_created: true,
            rank: self.depth,
            lock: Some(set_schema(&self.name, &self.name.schema).sql),
            trial: self.trial(green, number),
            displace: [&self.name, &home].map(|name| self.hold(name)).into(),
            before: self.exchange(&home, away),
            ..Dependent::of(&self.name, &self.owner)
        }
    }

    /// Moves it away, and its counterpart from `home` to its place. Statistics do not follow by themselves.
    fn exchange(&self, home: &QName, away: &Ident) -> Vec<Statement> {
        let moves = vec![set_schema(&self.name, away), set_schema(home, &self.name.schema)];
        let statistics = self.statistics.iter().flat_map(|one| {
            let there = one.name.in_schema(&home.schema);
            [statistics::set_schema(&one.name, away), statistics::set_schema(&there, &one.name.schema)]
        });
        moves.into_iter().chain(statistics).collect()
    }

    /// Takes a lock that REFRESH, ANALYZE and autovacuum wait for and no reader does, and changes nothing.
    fn hold(&self, name: &QName) -> Statement {
        let comment =
            self.comment.as_ref().map_or_else(|| "NULL".to_owned(), |text| Literal(text).to_string());
        let sql = format!("COMMENT ON MATERIALIZED VIEW {name} IS {comment}");
        Statement::on(name, LockMode::ShareUpdateExclusive, "keep REFRESH away from", sql)
    }

    /// Makes one over green, with the same columns, and drops it again.
    fn trial(&self, green: &Green, number: usize) -> Vec<Statement> {
        let of = |what: &str| QName {
            schema: green.homes.green.clone(),
            name: format!("projh_{what}_{number}").into(),
        };
        let (trial, columns) = (of("materialized"), of("columns"));
        let key = green.indexes.iter().find(|index| index.primary && self.needs_key);
        let [add_key, drop_key] =
            key.map(|key| key.rehearse(&green.at_home())).map_or([None, None], |both| both.map(Some));
        let query = green.on_green(&self.fitted(&[green]).query);
        let making =
            |name: &QName, sql: String| Statement::making(name, "try a materialized view over green:", sql);
        let mut statements: Vec<Statement> = add_key.into_iter().collect();
        statements.push(making(&trial, format!("CREATE MATERIALIZED VIEW {trial} AS\n{query} WITH NO DATA")));
        statements.push(bound_to(&trial, &[green.live().clone()]));
        // The columns of a view have to keep their types.
        for sql in [
            format!("CREATE VIEW {columns} AS SELECT * FROM {}", self.name),
            format!("CREATE OR REPLACE VIEW {columns} AS SELECT * FROM {trial}"),
            format!("DROP VIEW {columns}"),
            format!("DROP MATERIALIZED VIEW {trial}"),
        ] {
            statements.push(making(&trial, sql));
        }
        statements.extend(drop_key);
        green.trial_names(&self.uses).around(statements)
    }

    /// Makes it in the run's schema, without rows. `named`: the relations, and `called`: the functions in its query, and by
    /// what to replace them there.
    pub(crate) fn make(
        &self,
        homes: &super::Homes,
        greens: &[&Green],
        named: &[(QName, QName)],
        called: &[(QName, QName)],
    ) -> Vec<Statement> {
        let home = self.name.in_schema(&homes.green);
        let query = self.fitted(greens).query;
        let query = named.iter().fold(query, |sql, (from, to)| lexer::renamed(&sql, from, to));
        let query = called.iter().fold(query, |sql, (from, to)| lexer::renamed_call(&sql, from, to));
        let storage = storage_clause(
            self.access_method.as_ref(),
            &self.options,
            &self.toast_options,
            self.tablespace.as_ref(),
        );
        let sql = format!("CREATE MATERIALIZED VIEW {home}{storage} AS\n{query} WITH NO DATA");
        let live: Vec<QName> = named.iter().map(|(from, _)| from.clone()).collect();
        let mut statements =
            vec![Statement::making(&home, "make materialized view", sql), bound_to(&home, &live)];
        statements.extend(self.indexes.iter().flat_map(|index| index.make(&self.name, &home)));
        statements.extend(self.columns.iter().flat_map(|column| column.set(&home)));
        statements.extend(comment_on(&format!("MATERIALIZED VIEW {home}"), self.comment.as_ref()));
        statements.extend(depends_on(&format!("MATERIALIZED VIEW {home}"), &self.extensions));
        for one in &self.statistics {
            let name = one.name.in_schema(&homes.green);
            statements.extend(one.create(&name, &home, &one.columns));
            statements.extend(one.comment_on(&name));
        }
        statements
    }

    /// These statements while its query means green: with the names that its columns and functions have for it.
    pub(crate) fn with_names_of(&self, green: &Green, made: Vec<Statement>) -> Vec<Statement> {
        match green.blue.materialized.iter().find(|of| of.name == self.name) {
            Some(of) => green.trial_names(&of.uses).around(made),
            None => made,
        }
    }

    fn all_grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.others.iter().chain(self.columns.iter().flat_map(|column| &column.grants))
    }

    /// Whether others than its owner have granted privileges on it.
    pub(crate) fn has_grantors(&self) -> bool {
        self.all_grants().any(|grant| grant.grantor.is_some())
    }

    /// Gives it to its owner, and the privileges to all others, who may not use the schema that it is in, except for those
    /// that grant some, until it is closed. The owner may create something there only if `is_admitted`, or meanwhile.
    pub(crate) fn give(&self, home: &Ident, is_admitted: bool) -> Vec<Statement> {
        let (name, owner) = (self.name.in_schema(home), &self.owner);
        let sql = format!("ALTER MATERIALIZED VIEW {name} OWNER TO {owner}");
        let mut statements = vec![Statement::making(&name, "set the owner of", sql)];
        statements.extend(self.statistics.iter().map(|one| one.give(&one.name.in_schema(home))));
        if !is_admitted {
            let admit = format!("GRANT CREATE ON SCHEMA {home} TO {owner}");
            statements.insert(0, Statement::new("grant", admit));
            let shut = format!("REVOKE CREATE ON SCHEMA {home} FROM {owner}");
            statements.push(Statement::new("revoke", shut));
        }
        statements.extend(Grant::admit(self.all_grants(), home));
        statements.extend(self.grants.give(&name, owner));
        let on_columns = self
            .columns
            .iter()
            .flat_map(|column| column.grants.iter().map(|grant| grant.column_statement(&name, &column.name)));
        statements.extend(on_columns);
        statements
    }

    /// Refreshes `name`, which is over a table that is not live, with the settings that a client has. Its owner may read
    /// the tables `over` only here.
    pub(crate) fn fill(&self, name: &QName, over: &[QName], is_populated: bool) -> Statement {
        let with = if is_populated { "" } else { " WITH NO DATA" };
        let settings = "SET LOCAL search_path TO DEFAULT; SET LOCAL row_security TO DEFAULT";
        let mut sql = format!("{settings}; REFRESH MATERIALIZED VIEW {name}{with}");
        if !over.is_empty() {
            let [lend, take] = lent(over, &self.owner);
            sql = format!("{lend}; {sql}; {take}");
        }
        Statement::on(name, LockMode::AccessExclusive, "fill materialized view", sql)
    }

    /// A query that returns something else after each REFRESH CONCURRENTLY, which keeps the file: every row that it
    /// writes has its transaction's ID. `None` if there can be none.
    pub(crate) fn writes(&self) -> Option<String> {
        let may_be = self.indexes.iter().any(|index| index.identifies_rows);
        let sql = format!("SELECT concat_ws(' ', count(*), sum(xmin::text::numeric)) FROM {}", self.name);
        may_be.then_some(sql)
    }
}

/// Lets a role read these tables, and takes that away again from where it could not read before, in the same transaction.
fn lent(tables: &[QName], role: &Ident) -> [String; 2] {
    let names = list(tables.iter().map(|table| Literal(&table.to_string()).to_string()));
    let lend = format!(
        "DECLARE one pg_catalog.regclass; BEGIN PERFORM pg_catalog.set_config('projh.lent', '{{}}', true); \
         FOREACH one IN ARRAY ARRAY[{names}]::pg_catalog.regclass[] LOOP \
         IF NOT pg_catalog.has_table_privilege({name}, one, 'SELECT') THEN \
         EXECUTE pg_catalog.format('GRANT SELECT ON %s TO %s', one, {quoted}); \
         PERFORM pg_catalog.set_config('projh.lent', \
         pg_catalog.array_append(pg_catalog.current_setting('projh.lent')::pg_catalog.oid[], one::pg_catalog.oid)::text, true); \
         END IF; END LOOP; END",
        name = Literal(role.as_str()),
        quoted = Literal(&role.to_string()),
    );
    let take = format!(
        "DECLARE one pg_catalog.regclass; BEGIN \
         FOREACH one IN ARRAY pg_catalog.current_setting('projh.lent')::pg_catalog.oid[]::pg_catalog.regclass[] LOOP \
         EXECUTE pg_catalog.format('REVOKE SELECT ON %s FROM %s', one, {}); END LOOP; END",
        Literal(&role.to_string())
    );
    [lend, take].map(|body| format!("DO {}", Literal(&body)))
}

/// Fails if a query is bound to one of these all the same: it names it in a string, for instance (`'t'::regclass`).
fn bound_to(view: &QName, live: &[QName]) -> Statement {
    let names = list(live.iter().map(|name| Literal(&name.to_string()).to_string()));
    let body = format!(
        "DECLARE other text; BEGIN \
         SELECT d.refobjid::pg_catalog.regclass INTO other FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d \
         ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid \
         AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
         WHERE w.ev_class = {}::pg_catalog.regclass AND d.refobjid = ANY (ARRAY[{names}]::pg_catalog.regclass[]) LIMIT 1; \
         IF FOUND THEN RAISE EXCEPTION 'its query names % in a string', other USING ERRCODE = 'feature_not_supported'; END IF; END",
        Literal(&view.to_string())
    );
    Statement::new("see what its query is bound to", format!("DO {}", Literal(&body)))
}

fn set_schema(view: &QName, schema: &Ident) -> Statement {
    let sql = format!("ALTER MATERIALIZED VIEW {view} SET SCHEMA {schema}");
    Statement::on(view, LockMode::AccessExclusive, "move to another schema:", sql)
}
