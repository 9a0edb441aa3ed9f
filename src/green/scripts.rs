//! The scripts of green's life, each a list of statements in order: green's own, and in between a loop over the kinds.
//!
//! Green is created with blue's column names, gets its expressions (CHECK, generated columns, policies), and only then
//! are its columns renamed: that way the server rewrites the expressions, and no SQL is rewritten here.

use crate::hangs_on::{self, Dependent, Green, Homes, PARTS, tablespace_clause};
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Colour, Ident, QName};

impl Green {
    /// Creates green in the run's schema, which exists, with its leaves, without indexes, foreign keys or privileges of
    /// others than the owner. All in one transaction, because default privileges would make the new tables readable.
    #[must_use]
    pub fn create(&self) -> Vec<Statement> {
        let home = self.at_home();
        let mut statements = self.admit_owner();
        statements.push(self.create_parent(&home));
        statements.extend(self.row_security(&home));
        statements.extend(PARTS.iter().flat_map(|part| part.create(self)));
        statements.extend(self.rename_columns(&home));
        statements.extend(self.add_columns(&home));
        statements.extend(self.create_leaves(&home));
        statements.extend(PARTS.iter().flat_map(|part| part.adorn(self)));
        statements.push(hangs_on::seal(&self.homes.green));
        statements
    }

    /// Tries on empty tables what would otherwise fail hours later, and undoes it. Runs after
    /// [`Green::create`], in its transaction.
    #[must_use]
    pub fn rehearsal(&self) -> Vec<Statement> {
        PARTS.iter().flat_map(|part| part.rehearse(self)).collect()
    }

    /// Tries the same of what depends on the table.
    #[must_use]
    pub fn trials(&self) -> Vec<Statement> {
        self.dependents(Colour::Green).into_iter().flat_map(|dependent| dependent.trial).collect()
    }

    /// Moves the leaves from the run's schema to their final one, before the swap: after it each move would make every
    /// client that uses the table load the partition and replan its statements. Only the owner has privileges on a
    /// leaf, before the swap and after it.
    #[must_use]
    pub fn move_leaves(&self) -> Vec<Statement> {
        let registries = self.widened.registries.iter().flat_map(|registry| registry.settle_down(self));
        let Some(partition) = &self.partition else { return registries.collect() };
        let leaves = self.leaves_in(&self.homes.green).into_iter();
        let moves = registries.chain(leaves.map(|leaf| set_schema(&leaf, &partition.schema)));
        // An event trigger may give something away again.
        moves.chain([hangs_on::seal(&self.homes.green)]).collect()
    }

    /// The statements that follow once rows and indexes exist.
    #[must_use]
    pub fn after_indexes(&self) -> Vec<Statement> {
        PARTS.iter().flat_map(|part| part.complete(self)).collect()
    }

    /// What to lock, in this order and all at once: the live table, and those whose foreign key triggers
    /// are dropped and added.
    #[must_use]
    pub fn locks(&self) -> Vec<QName> {
        let mut referenced: Vec<QName> = self.blue.referenced().into_iter().cloned().collect();
        referenced
            .extend(self.widened.redirected.iter().filter_map(|one| Some(one.to.as_ref()?.table.clone())));
        referenced.extend(self.widened.registries.iter().map(|registry| registry.name.clone()));
        referenced.sort();
        referenced.dedup();
        referenced.retain(|table| table != self.live());
        std::iter::once(self.live().clone()).chain(referenced).collect()
    }

    /// The statements of a swap of this table alone, after which `who` is live; executed in one transaction, with all
    /// of [`Green::locks`] locked.
    #[must_use]
    pub fn exchange(&self, who: Colour) -> Vec<Statement> {
        exchange(&[self], who).into_iter().map(|(_, statement)| statement).collect()
    }

    /// Frees what cannot exist twice, and exchanges the schemas: afterwards the live name is the other table's.
    fn leave(&self, who: Colour) -> Vec<Statement> {
        let (live, left) = (self.live(), who.other());
        let mut statements: Vec<Statement> = PARTS.iter().flat_map(|part| part.leave(self, left)).collect();
        statements.push(set_schema(live, self.homes.of(left)));
        statements.push(set_schema(&self.home_of(who), &live.schema));
        let partitions = self.blue_partitions_in(&self.homes.blue);
        statements.extend(partitions.map(|(live, home)| match who {
            Colour::Green => set_schema(live, &self.homes.blue),
            Colour::Blue => set_schema(&home, &live.schema),
        }));
        statements
    }

    /// What depends on the table, in the order of what clients would notice, with what a swap does about it.
    #[must_use]
    pub(crate) fn dependents(&self, who: Colour) -> Vec<Dependent> {
        PARTS.iter().flat_map(|part| part.dependents(self, who)).collect()
    }

    /// The statements after a swap, in this order, each in a transaction of its own; `who` is live.
    #[must_use]
    pub fn settle(&self, who: Colour) -> Vec<Statement> {
        PARTS.iter().flat_map(|part| part.settle(self, who)).collect()
    }

    /// The statements that move blue, once it has left, to the schema where it is kept, in one transaction: with its
    /// indexes, constraints, policies and sequences, and with no privileges of others than its owner.
    #[must_use]
    pub fn archive(&self, schema: &Ident) -> Vec<Statement> {
        let mut statements: Vec<Statement> =
            PARTS.iter().flat_map(|part| part.archive(self, schema)).collect();
        statements.push(set_schema(&self.home_of(Colour::Blue), schema));
        let partitions = self.blue_partitions_in(&self.homes.blue);
        statements.extend(partitions.map(|(_, home)| set_schema(&home, schema)));
        statements.extend(self.scrub(&self.live().in_schema(schema)));
        statements
    }

    /// The owner needs rights on the run's schemas: to own a table there, and because foreign keys act as the owner.
    fn admit_owner(&self) -> Vec<Statement> {
        let owner = &self.blue.table.owner;
        let admit = |home: &Ident| {
            Statement::new("grant", format!("GRANT USAGE, CREATE ON SCHEMA {home} TO {owner}"))
        };
        vec![admit(&self.homes.blue), admit(&self.homes.green)]
    }

    fn create_parent(&self, home: &QName) -> Statement {
        let body: Vec<String> = PARTS.iter().flat_map(|part| part.clauses(self)).collect();
        let tail = match &self.partition {
            Some(partition) => {
                let key = self.blue_name_of(&partition.column);
                let space = tablespace_clause(self.blue.table.tablespace.as_ref());
                format!(" PARTITION BY {} ({key}){space}", partition.strategy)
            }
            None => self.blue.table.storage_clause(),
        };
        Statement::making(home, "create green,", format!("CREATE TABLE {home} ({}){tail}", body.join(", ")))
    }

    fn create_leaves(&self, home: &QName) -> Vec<Statement> {
        let Some(partition) = &self.partition else { return Vec::new() };
        let storage = self.blue.table.storage_clause();
        let leaves = partition.leaves.iter().flat_map(|leaf| {
            let name = QName { schema: self.homes.green.clone(), name: leaf.name.clone() };
            let sql = format!("CREATE TABLE {name} PARTITION OF {home} {}{storage}", leaf.bound);
            let create = Statement::making(&name, "create partition", sql);
            std::iter::once(create).chain(self.row_security(&name))
        });
        leaves.collect()
    }

    /// Protected as blue is, and no more: a role that may read the whole database reads this too, for a backup.
    fn row_security(&self, relation: &QName) -> Option<Statement> {
        self.blue.table.row_security.then(|| close(relation))
    }

    fn rename_columns(&self, home: &QName) -> Vec<Statement> {
        let renamed = self.columns.iter().filter_map(|column| {
            let blue = column.blue().filter(|blue| **blue != column.name)?;
            let sql = format!("ALTER TABLE {home} RENAME COLUMN {blue} TO {}", column.name);
            Some(Statement::on(home, LockMode::AccessExclusive, "rename a column of", sql))
        });
        renamed.collect()
    }

    fn add_columns(&self, home: &QName) -> Vec<Statement> {
        let added = self.columns.iter().filter(|column| column.source.is_new()).map(|column| {
            let sql = format!("ALTER TABLE {home} ADD COLUMN {} {}", column.name, column.data_type);
            Statement::on(home, LockMode::AccessExclusive, "add a column to", sql)
        });
        added.collect()
    }
}

/// The statements of a swap of several tables, after which `who` is live; each with the position of its table. In one
/// transaction, with all of [`Green::locks`] and all dependents locked.
pub(crate) fn exchange(greens: &[&Green], who: Colour) -> Vec<(usize, Statement)> {
    let of_all = |of: &dyn Fn(&Green) -> Vec<Statement>| {
        let of_each = greens.iter().enumerate();
        of_each.flat_map(|(number, green)| of(green).into_iter().map(move |one| (number, one))).collect()
    };
    let dependents = dependents(greens, who);
    let before = dependents.iter().rev().flat_map(|(number, dependent)| {
        dependent.before.iter().map(|statement| (*number, statement.clone()))
    });
    let mut statements: Vec<(usize, Statement)> = before.collect();
    statements.extend::<Vec<_>>(of_all(&|green| green.leave(who)));
    let arrive = |green: &Green| PARTS.iter().flat_map(|part| part.arrive(green, who)).collect();
    statements.extend(of_all(&arrive));
    for (number, dependent) in dependents {
        let Dependent { after, names, .. } = dependent;
        let bound = names.give.into_iter().chain(after).chain(names.take);
        statements.extend(bound.map(|statement| (number, statement)));
    }
    statements
}

/// What depends on these tables and moves in their swap: each once, with the position of the first table that it
/// depends on, and after whatever it depends on itself.
pub(crate) fn dependents(greens: &[&Green], who: Colour) -> Vec<(usize, Dependent)> {
    let mut found: Vec<(usize, Dependent)> = Vec::new();
    let is_own = |of: &Dependent| of.is_tables_own && greens.iter().any(|green| *green.live() == of.relation);
    for (number, green) in greens.iter().enumerate() {
        let moved = green.dependents(who).into_iter().filter(Dependent::moves);
        for dependent in moved.filter(|dependent| !is_own(dependent)) {
            match found.iter_mut().find(|(_, other)| other.what == dependent.what) {
                Some((_, other)) => other.merge(dependent),
                None => found.push((number, dependent)),
            }
        }
    }
    for (_, dependent) in found.iter_mut().filter(|(_, dependent)| dependent.names_its_columns) {
        let Some(on) = greens.iter().find(|green| *green.live() == dependent.relation) else { continue };
        let columns: Vec<Ident> = on.blue.columns.iter().map(|column| column.name.clone()).collect();
        dependent.names = std::mem::take(&mut dependent.names).and(on.old_names_of(who, &columns));
    }
    found.sort_by_key(|(_, dependent)| dependent.rank);
    found
}

impl Homes {
    /// Creates the two schemas, which only their owner may use.
    #[must_use]
    pub fn create(&self) -> Vec<Statement> {
        let make = |home: &Ident| {
            let create = Statement::new("create a private schema", format!("CREATE SCHEMA {home}"));
            [create, hangs_on::seal_schema(home, &[])]
        };
        [&self.blue, &self.green].into_iter().flat_map(make).collect()
    }
}

fn close(relation: &QName) -> Statement {
    let sql = format!("ALTER TABLE {relation} ENABLE ROW LEVEL SECURITY");
    Statement::on(relation, LockMode::AccessExclusive, "enable row security on", sql)
}

fn set_schema(relation: &QName, schema: &Ident) -> Statement {
    let sql = format!("ALTER TABLE {relation} SET SCHEMA {schema}");
    Statement::on(relation, LockMode::AccessExclusive, "move to another schema:", sql)
}
