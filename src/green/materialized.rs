//! Materialized views over the tables of a run, each once, whichever of the tables it reads.

use crate::hangs_on::{self, Green, Homes, MaterializedView};
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Colour, QName};

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

/// The private schemas of one of them: those of the first table that it reads, with which it moves.
fn homes<'a>(greens: &[&'a Green], view: &MaterializedView) -> Option<&'a Homes> {
    let reads = |green: &&&Green| green.blue.materialized.iter().any(|of| of.name == view.name);
    greens.iter().find(reads).map(|green| &green.homes)
}

/// Makes the counterparts over green, without rows, in one transaction; the keys of the tables have to be there.
pub(crate) fn make(greens: &[&Green]) -> Vec<Statement> {
    let views = of(greens);
    let at_home = |name: &QName, homes: &Homes| (name.clone(), name.in_schema(&homes.green));
    let mut named: Vec<(QName, QName)> = Vec::new();
    for green in greens {
        let identities = green.blue.sequences.iter().filter(|sequence| sequence.identity);
        let names = std::iter::once(green.live()).chain(identities.map(|sequence| &sequence.name));
        named.extend(names.map(|name| at_home(name, &green.homes)));
    }
    let views: Vec<_> = views.into_iter().filter_map(|view| Some((view, homes(greens, view)?))).collect();
    named.extend(views.iter().map(|(view, homes)| at_home(&view.name, homes)));
    let called: Vec<_> = greens.iter().flat_map(|green| green.renamed_row_functions()).collect();
    let made = views.iter().flat_map(|(view, homes)| {
        let made = view.make(homes, greens, &named, &called);
        greens.iter().fold(made, |made, green| view.with_names_of(green, made))
    });
    let mut statements: Vec<Statement> = made.collect();
    // Default privileges may have granted something.
    let used = |green: &&&Green| views.iter().any(|(_, homes)| **homes == green.homes);
    let mut sealed: Vec<&Homes> = greens.iter().filter(used).map(|green| &green.homes).collect();
    sealed.dedup();
    statements.extend(sealed.iter().map(|homes| hangs_on::seal(&homes.green)));
    for (view, homes) in &views {
        let is_admitted = |green: &&Green| green.homes == **homes && green.blue.table.owner == view.owner;
        statements.extend(view.give(&homes.green, greens.iter().any(is_admitted)));
    }
    let closed =
        sealed.into_iter().filter(|homes| views.iter().any(|(view, of)| of == homes && view.has_grantors()));
    statements.extend(closed.map(|homes| {
        let there = greens.iter().filter(|green| green.homes == *homes);
        let owners: Vec<_> = there.map(|green| &green.blue.table.owner).collect();
        hangs_on::seal_schema(&homes.green, &owners)
    }));
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
    let name = view.name.in_schema(homes(greens, view).map_or(&view.name.schema, |homes| homes.of(who)));
    let analyze = Statement::on(&name, LockMode::ShareUpdateExclusive, "analyze", format!("ANALYZE {name}"));
    [view.fill(&name, &over, is_populated), analyze]
}

/// Drops those that have left with the tables, before these, and the policies of these tables that read them.
pub(crate) fn drop(greens: &[&Green], who: Colour) -> Vec<Statement> {
    let views = of(greens);
    let names: Vec<&QName> = views.iter().map(|view| &view.name).collect();
    let policies = greens.iter().flat_map(|green| green.drop_policies_naming(&green.home_of(who), &names));
    let mut dropped: Vec<Statement> = policies.collect();
    dropped.extend(views.into_iter().rev().filter_map(|view| {
        let name = view.name.in_schema(homes(greens, view)?.of(who));
        let sql = format!("DROP MATERIALIZED VIEW IF EXISTS {name}");
        Some(Statement::on(&name, LockMode::AccessExclusive, "drop", sql))
    }));
    dropped
}
