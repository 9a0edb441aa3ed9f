//! Names that green will need outside the run's schemas, and that are already taken.

use tokio_postgres::Client;

use crate::hangs_on::{Conflict, Error, Green};
use crate::pg::Ident;

const SQL: &str = include_str!("../../sql/catalog/taken_names.sql");

impl Green {
    /// Which of green's names are taken where it will be: those of new indexes in the table's schema, and those of
    /// leaves in theirs. Blue's own names do not count, because blue leaves.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub async fn taken_names(&self, client: &Client) -> Result<Vec<Conflict>, Error> {
        let ours: Vec<&Ident> = self.blue.indexes.iter().map(|index| &index.name).collect();
        let new = self.indexes.iter().map(|index| &index.name).filter(|name| !ours.contains(name));
        let registries: Vec<Ident> =
            self.widened.registries.iter().flat_map(|registry| registry.relations()).collect();
        let mut conflicts = taken(client, &self.live().schema, new.chain(&registries).collect()).await?;
        if let Some(partition) = &self.partition {
            let mut names: Vec<Ident> = partition.leaves.iter().map(|leaf| leaf.name.clone()).collect();
            names.extend(self.named_leaf_indexes());
            let mut found = taken(client, &partition.schema, names.iter().collect()).await?;
            if found.iter().any(|_| self.blue.table.is_partitioned()) {
                "another `name` or `schema` in partition_by: the old partitions keep their names until the swap"
                    .clone_into(&mut found[0].hint);
                found.truncate(1);
            }
            conflicts.extend(found);
        }
        Ok(conflicts)
    }

    /// Which of the names that blue and what moves with it take in `schema` others have there already.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub async fn taken_in_archive(&self, client: &Client, schema: &Ident) -> Result<Vec<Conflict>, Error> {
        let failed = |source| Error::Catalog { what: "names that are taken", source };
        let mut conflicts = taken(client, schema, self.archived_names()).await?;
        let statistics: Vec<&str> =
            self.blue.statistics.iter().map(|statistics| statistics.name.name.as_str()).collect();
        let sql = "SELECT s.stxname::text FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace \
                   WHERE n.nspname = $1 AND s.stxname = ANY ($2::text[]) ORDER BY 1";
        for row in client.query(sql, &[&schema.as_str(), &statistics]).await.map_err(failed)? {
            let name = Ident::from(row.try_get::<_, String>(0).map_err(failed)?);
            conflicts.push(Conflict::new(format!("schema {schema} already has statistics {name}"), ""));
        }
        for conflict in &mut conflicts {
            conflict.what += ", and the old table is to be archived there";
            "rename or move what has it, or another schema in settings.archive"
                .clone_into(&mut conflict.hint);
        }
        Ok(conflicts)
    }

    /// The names of the relations that are archived: blue, its indexes, and the sequences that move with it.
    pub fn archived_names(&self) -> Vec<&Ident> {
        let indexes = self.blue.indexes.iter().map(|index| &index.name);
        let sequences = self.sequences_of_blue().map(|sequence| &sequence.name);
        let partitions = self.blue.partitions.iter().map(|partition| &partition.name.name);
        std::iter::once(&self.live().name).chain(indexes).chain(sequences).chain(partitions).collect()
    }
}

async fn taken(client: &Client, schema: &Ident, names: Vec<&Ident>) -> Result<Vec<Conflict>, Error> {
    let failed = |source| Error::Catalog { what: "names that are taken", source };
    let names: Vec<&str> = names.into_iter().map(Ident::as_str).collect();
    let rows = client.query(SQL, &[&schema.as_str(), &names]).await.map_err(failed)?;
    let conflict = |row: &tokio_postgres::Row| -> Result<Conflict, Error> {
        let name = Ident::from(row.try_get::<_, String>(0).map_err(failed)?);
        let what = format!("schema {schema} already has a relation or type {name}");
        Ok(Conflict::new(what, "another name in the plan, or drop what has it"))
    };
    rows.iter().map(conflict).collect()
}
