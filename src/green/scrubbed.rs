//! The planner's statistics of columns that were encrypted: if the old table is kept, they have plaintext that is easy to overlook. Those
//! of an index over an expression, and of CREATE STATISTICS, are others than those of the column.

use tokio_postgres::Client;

use crate::hangs_on::{Column, Green, Source};
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Literal, QName, list};

/// The indexes over expressions of some columns, `col`, and the extended statistics of them: what, the target, and SQL that sets it
/// to 0.
const GATHERED: &str = "\
    SELECT i.indexrelid::regclass::text, a.attstattarget::int, format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS 0', i.indexrelid::regclass, a.attnum) \
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indexrelid AND i.indkey[a.attnum - 1] = 0 \
    WHERE EXISTS (SELECT FROM col JOIN pg_depend d ON d.refobjid = col.attrelid AND d.refobjsubid = col.attnum \
      WHERE d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid) \
    UNION ALL SELECT format('%I.%I', n.nspname, e.stxname), e.stxstattarget::int, \
      format('ALTER STATISTICS %I.%I SET STATISTICS 0', n.nspname, e.stxname) \
    FROM pg_statistic_ext e JOIN pg_namespace n ON n.oid = e.stxnamespace \
    WHERE EXISTS (SELECT FROM col JOIN pg_depend d ON d.refobjid = col.attrelid AND d.refobjsubid = col.attnum \
      WHERE d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_statistic_ext'::regclass AND d.objid = e.oid)";

/// A WITH clause: `col` are columns of a table and its partitions, by SQL for the table's name, the columns' names, and a
/// condition.
fn columns(table: &str, names: &str, also: &str) -> String {
    format!(
        "WITH rel(oid) AS (SELECT to_regclass({table})::oid UNION SELECT relid::oid FROM pg_partition_tree(to_regclass({table}))), \
         col AS (SELECT a.* FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid WHERE a.attname = ANY ({names}) AND NOT a.attisdropped{also})"
    )
}

impl Green {
    /// Blue's columns with plaintext.
    fn plain_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter_map(|column| match &column.source {
            Source::Encrypted(how) if how.previous.is_none() => self.blue.column(&how.blue),
            _ => None,
        })
    }

    /// Removes the statistics of those columns of blue, which is `table` by now: only ALTER COLUMN TYPE does so for whoever is
    /// no superuser, with the same type without a rewrite. It makes the indexes over expressions and the extended statistics of the
    /// column anew, without what they had gathered and without their targets. ANALYZE gathers none where the target is 0. What
    /// cannot be altered, as a view uses it, is left; the target tells it apart.
    pub(super) fn scrub(&self, table: &QName) -> Vec<Statement> {
        let scrub = |column: &Column| {
            let (name, data_type) = (&column.name, &column.data_type);
            let collate =
                column.collation.as_ref().map_or_else(String::new, |name| format!(" COLLATE {name}"));
            let body = format!(
                "BEGIN ALTER TABLE {table} ALTER COLUMN {name} SET STATISTICS 0, \
                 ALTER COLUMN {name} TYPE {data_type}{collate}; EXCEPTION WHEN OTHERS THEN NULL; END"
            );
            let sql = format!("DO {}", Literal(&body));
            Statement::on(table, LockMode::AccessExclusive, "remove the statistics of plaintext in", sql)
        };
        let names: Vec<String> =
            self.plain_columns().map(|column| Literal(column.name.as_str()).to_string()).collect();
        if names.is_empty() {
            return Vec::new();
        }
        // Statistics may have another owner than their table.
        let body = format!(
            "DECLARE projh_one record; BEGIN FOR projh_one IN {}, gathered(what, target, sql) AS ({GATHERED}) SELECT sql FROM gathered \
             WHERE target IS DISTINCT FROM 0 LOOP BEGIN EXECUTE projh_one.sql; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END",
            columns(
                &Literal(&table.to_string()).to_string(),
                &format!("ARRAY[{}]", list(&names)),
                " AND a.attstattarget IS NOT DISTINCT FROM 0"
            )
        );
        let sql = format!("DO {}", Literal(&body));
        let none =
            Statement::on(table, LockMode::AccessExclusive, "gather no statistics of plaintext in", sql);
        self.plain_columns().map(scrub).chain([none]).collect()
    }

    /// The columns, indexes and extended statistics whose statistics [`Green::scrub`] could not remove, with their schemas.
    ///
    /// # Errors
    /// If the server rejects the query, or the connection is lost.
    pub async fn unscrubbed(
        &self,
        client: &Client,
        table: &QName,
    ) -> Result<Vec<String>, tokio_postgres::Error> {
        let names: Vec<&str> = self.plain_columns().map(|column| column.name.as_str()).collect();
        let sql = format!(
            "{}, gathered(what, target) AS (SELECT format('%s.%I', attrelid::regclass, attname), attstattarget FROM col WHERE attrelid = to_regclass($1) \
             UNION ALL SELECT what, target FROM ({GATHERED}) of(what, target, sql)) \
             SELECT DISTINCT what FROM gathered WHERE target IS DISTINCT FROM 0 ORDER BY 1",
            columns("$1", "$2::text[]", "")
        );
        let rows = client.query(&sql, &[&table.to_string(), &names]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
