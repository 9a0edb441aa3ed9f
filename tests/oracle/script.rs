//! What a client does next: a transaction made up from its ledger. Pure but for the dice.

use fastrand::Rng;

use super::ledger::{Change, Ledger, Row};
use super::table::{Key, Table, Value, Verb};

/// About this many rows per client and table, most of the time.
const ROWS_WANTED: usize = 300;

/// One statement, and what it shall do.
#[derive(Clone, Debug)]
pub struct Step {
    pub table: usize,
    pub verb: Verb,
    pub values: Vec<Value>,
    /// For writes.
    pub change: Option<Change>,
    /// For reads: the row, or `None` where there must not be one.
    pub expected: Option<Row>,
    /// Whose row it is, for findings.
    pub key: Key,
}

/// How a unit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// One statement, on its own.
    Auto,
    Commit,
    Rollback,
}

/// Statements that belong together.
#[derive(Clone, Debug)]
pub struct Unit {
    pub steps: Vec<Step>,
    pub end: End,
}

/// Makes up units for one client.
pub struct Author<'a> {
    pub tables: &'a [Table],
    pub owner: u32,
    /// `select *` is among the reads.
    pub star_reads: bool,
}

impl Author<'_> {
    /// The next unit.
    pub fn next(&self, ledger: &Ledger, rng: &mut Rng) -> Unit {
        let table = rng.usize(..self.tables.len());
        match rng.u8(..100) {
            0..60 => {
                let step = self.write(table, ledger, rng, &[]);
                Unit { steps: vec![step], end: End::Auto }
            }
            60..80 => Unit { steps: vec![self.read(table, ledger, rng)], end: End::Auto },
            80..84 => self.hand_over(table, ledger, rng),
            84..96 => Unit { steps: self.across_tables(ledger, rng), end: End::Commit },
            _ => Unit { steps: self.across_tables(ledger, rng), end: End::Rollback },
        }
    }

    /// Reads back what a write has left behind.
    pub fn read_back(&self, change: &Change) -> Step {
        let table = &self.tables[change.table];
        let after = change.after.as_ref().map(|row| table.key_of(row));
        let key = after.or_else(|| change.before.clone()).unwrap_or_default();
        self.step_of_read(change.table, Verb::Read, key, change.after.clone())
    }

    fn write(&self, at: usize, ledger: &Ledger, rng: &mut Rng, taken: &[Key]) -> Step {
        let rows = &ledger.tables[at].rows;
        let Some(row) = ledger.tables[at].pick(rng, taken) else { return self.insert(at, ledger, rng) };
        let verb = match rng.u8(..100) {
            0..26 if rows.len() < ROWS_WANTED => Verb::Insert,
            0..26 => Verb::Delete,
            26..42 => Verb::Delete,
            42..62 => Verb::Update,
            62..70 => Verb::UpdateLarge,
            70..84 => Verb::Move,
            84..92 => Verb::ChangeKey,
            _ => Verb::Upsert,
        };
        if verb == Verb::Insert || self.tables[at].statement(verb).is_none() {
            return self.insert(at, ledger, rng);
        }
        self.change(at, verb, row.clone(), rng)
    }

    fn insert(&self, at: usize, ledger: &Ledger, rng: &mut Rng) -> Step {
        let table = &self.tables[at];
        let mut row = table.random_row(self.owner, rng);
        if let Some(key) =
            ledger.tables[at].reusable_key().filter(|_| !table.has_identity() && rng.u8(..6) == 0)
        {
            for (i, value) in table.key().into_iter().zip(key) {
                row[i].clone_from(value);
            }
        }
        let values = table.set_by(Verb::Insert).into_iter().map(|i| row[i].clone()).collect();
        let after = remembered(table, &row);
        let change = Change { table: at, before: None, after: Some(after) };
        let key = table.key_of(&row);
        Step { table: at, verb: Verb::Insert, values, change: Some(change), expected: None, key }
    }

    /// A statement that changes one row that is there.
    fn change(&self, at: usize, verb: Verb, mut row: Row, rng: &mut Rng) -> Step {
        let table = &self.tables[at];
        let key = table.key_of(&row);
        let set = table.set_by(verb);
        let mut values = match verb {
            // Whole rows again; only some of their columns are new.
            Verb::Upsert => self.upsert_values(table, &row, rng),
            Verb::Release => vec![None],
            _ => table.random_values(&set, self.owner, rng),
        };
        for (&i, value) in set.iter().zip(&values) {
            row[i] = table.remembered(i, value);
        }
        if verb != Verb::Upsert {
            values.extend(key.iter().cloned());
        }
        let after = (verb != Verb::Delete).then_some(row);
        let change = Some(Change { table: at, before: Some(key.clone()), after });
        Step { table: at, verb, values, change, expected: None, key }
    }

    fn upsert_values(&self, table: &Table, row: &Row, rng: &mut Rng) -> Vec<Value> {
        let mut values = row.clone();
        for verb in [Verb::Update, Verb::UpdateLarge] {
            let set = table.set_by(verb);
            for (&i, value) in set.iter().zip(table.random_values(&set, self.owner, rng)) {
                values[i] = value;
            }
        }
        values
    }

    fn read(&self, at: usize, ledger: &Ledger, rng: &mut Rng) -> Step {
        let expected = &ledger.tables[at];
        let table = &self.tables[at];
        let verb = if self.star_reads && rng.bool() { Verb::ReadStar } else { Verb::Read };
        let gone = expected.reusable_key().filter(|_| rng.u8(..5) == 0);
        match (gone, expected.pick(rng, &[])) {
            (Some(key), _) => self.step_of_read(at, verb, key.clone(), None),
            (None, Some(row)) => self.step_of_read(at, verb, table.key_of(row), Some(row.clone())),
            (None, None) => self.insert(at, ledger, rng),
        }
    }

    fn step_of_read(&self, table: usize, verb: Verb, key: Key, expected: Option<Row>) -> Step {
        Step { table, verb, values: key.clone(), change: None, expected, key }
    }

    /// One row gives up its unique value, and another takes it, in one transaction.
    fn hand_over(&self, at: usize, ledger: &Ledger, rng: &mut Rng) -> Unit {
        let table = &self.tables[at];
        let giver = ledger.tables[at].pick(rng, &[]).cloned();
        let Some((unique, giver)) = table.unique().zip(giver).filter(|(i, row)| row[*i].is_some()) else {
            return Unit { steps: self.across_tables(ledger, rng), end: End::Commit };
        };
        let value = giver[unique].clone();
        let Some(mut taker) = ledger.tables[at].pick(rng, &[table.key_of(&giver)]).cloned() else {
            return Unit { steps: self.across_tables(ledger, rng), end: End::Commit };
        };
        let release = self.change(at, Verb::Release, giver, rng);
        let key = table.key_of(&taker);
        taker[unique].clone_from(&value);
        let values = std::iter::once(value).chain(key.iter().cloned()).collect();
        let change = Some(Change { table: at, before: Some(key.clone()), after: Some(taker) });
        let take = Step { table: at, verb: Verb::Take, values, change, expected: None, key };
        Unit { steps: vec![release, take], end: End::Commit }
    }

    /// Writes to two or three tables (all, if there are fewer), in any order.
    fn across_tables(&self, ledger: &Ledger, rng: &mut Rng) -> Vec<Step> {
        let mut places: Vec<usize> = (0..self.tables.len()).collect();
        rng.shuffle(&mut places);
        places.truncate(rng.usize(2..=3));
        let mut steps: Vec<Step> = places.into_iter().map(|at| self.write(at, ledger, rng, &[])).collect();
        // Once more in the first table, so that its rows are written before and after the others'.
        let again = steps[0].table;
        let mut taken = vec![steps[0].key.clone()];
        taken.extend(
            steps[0].change.iter().filter_map(|c| Some(self.tables[again].key_of(c.after.as_ref()?))),
        );
        let last = self.write(again, ledger, rng, &taken);
        if !taken.contains(&last.key) {
            steps.push(last);
        }
        steps
    }
}

fn remembered(table: &Table, row: &Row) -> Row {
    row.iter().enumerate().map(|(i, value)| table.remembered(i, value)).collect()
}
