//! Names that the run is going to need and somebody else has already.

use super::{Finding, Subject};
use crate::error::Error;
use crate::pg::connect::Session;

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let Some(design) = &subject.design else { return Ok(Vec::new()) };
    let table = &subject.definition.table.name;
    let green = &design.green;
    let mut wanted: Vec<(String, String)> = Vec::new();
    for leaf in green.settled_leaves() {
        wanted.push((leaf.schema.as_str().to_owned(), leaf.name.as_str().to_owned()));
    }
    for index in &green.indexes {
        wanted.push((table.schema.as_str().to_owned(), index.name.as_str().to_owned()));
    }
    let (schemas, names): (Vec<String>, Vec<String>) = wanted.into_iter().unzip();
    // Blue's own indexes go home with it.
    let sql = "SELECT format('%I.%I', w.schema, w.name), c.relkind::text FROM unnest($1::text[], $2::text[]) AS w(schema, name) \
               JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name \
               WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = c.oid AND i.indrelid = $3) ORDER BY 1";
    let params: [&(dyn postgres_types::ToSql + Sync); 3] = [&schemas, &names, &subject.definition.table.oid];
    let rows = session.query(sql, &params).await.map_err(Error::doing("looking for names"))?;
    let finding = |row: &tokio_postgres::Row| {
        let name: String = row.get(0);
        let what = format!("the name {name} is taken, and green needs it");
        Finding::table("names", table, what, format!("rename or drop {name}, or change the name in the plan"))
    };
    Ok(rows.iter().map(finding).collect())
}
