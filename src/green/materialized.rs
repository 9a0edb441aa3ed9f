//! Materialized views over the tables of a run, each once, whichever of the tables it reads.

use crate::hangs_on::{self, Green, MaterializedView};
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Colour, Ident, QName};

/// Those over these tables, in an order in which they can be made.
pub(crate) fn of<'a>(greens: &[&'a Green]) -> Vec<&'a MaterializedView> {
    let mut found: Vec<&MaterializedView> = Vec::new();
    for view in greens.iter().flat_map(|green| &green.blue.materialized) {
        match found.iter_mut().find(|other| other.name == view.name) {
            Some(other) if other.depth < view.depth => *other = view,
            Some(_) => {}
            None => found.push(view),
        }
    }
    found.sort_by_key(|view| view.depth);
    found
}

/// Makes the counterparts over green, without rows, in one transaction; the keys of the tables have to be there.
pub(crate) fn make(greens: &[&Green]) -> Vec<Statement> {
    let views = of(greens);
    let Some(homes) = greens.first().map(|green| &green.homes).filter(|_| !views.is_empty()) else {
        return Vec::new();
    };
    let at_home = |name: &QName| (name.clone(), name.in_schema(&homes.green));
    let mut named: Vec<(QName, QName)> = greens.iter().map(|green| at_home(green.live())).collect();
    let sequences = greens.iter().flat_map(|green| &green.blue.sequences);
    named.extend(sequences.filter(|sequence| sequence.identity).map(|sequence| at_home(&sequence.name)));
    named.extend(views.iter().map(|view| at_home(&view.name)));
    let called: Vec<_> = greens.iter().flat_map(|green| green.renamed_row_functions()).collect();
    let made = views.iter().flat_map(|view| {
        let made = view.make(homes, greens, &named, &called);
        greens.iter().fold(made, |made, green| view.with_names_of(green, made))
    });
    let mut statements: Vec<Statement> = made.collect();
    // Default privileges may have granted something.
    statements.push(hangs_on::seal(&homes.green));
    let is_admitted = |owner: &Ident| greens.iter().any(|green| green.blue.table.owner == *owner);
    statements.extend(views.iter().flat_map(|view| view.give(&homes.green, is_admitted(&view.owner))));
    statements
}

/// What fills the counterpart of one of them, over the tables of one colour, and what gathers its statistics then.
pub(crate) fn fill(
    greens: &[&Green],
    view: &MaterializedView,
    who: Colour,
    is_populated: bool,
) -> [Statement; 2] {
    let of_view = greens.iter().filter(|green| green.blue.materialized.iter().any(|of| of.name == view.name));
    // The owner of the table reads it without being granted anything.
    let others = of_view.filter(|green| green.blue.table.owner != view.owner);
    let over: Vec<QName> = others.map(|green| green.home_of(who)).collect();
    let home = greens.first().map_or(&view.name.schema, |green| green.homes.of(who));
    let name = view.name.in_schema(home);
    let analyze = Statement::on(&name, LockMode::ShareUpdateExclusive, "analyze", format!("ANALYZE {name}"));
    [view.fill(&name, &over, is_populated), analyze]
}

/// Drops those that have left with the tables, before these.
pub(crate) fn drop(greens: &[&Green], who: Colour) -> Vec<Statement> {
    let Some(home) = greens.first().map(|green| green.homes.of(who)) else { return Vec::new() };
    let dropped = of(greens).into_iter().rev().map(|view| {
        let name = view.name.in_schema(home);
        let sql = format!("DROP MATERIALIZED VIEW IF EXISTS {name}");
        Statement::on(&name, LockMode::AccessExclusive, "drop", sql)
    });
    dropped.collect()
}
