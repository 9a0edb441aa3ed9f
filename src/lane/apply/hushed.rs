//! Statements that write values which this program has decrypted. A server that rejects one quotes it in its error: "invalid input
//! syntax for type date: ...", "Key (ssn)=(...) already exists". The error is written to the server's log, unless the role may set
//! log_min_messages. So a function of the session executes them, and raises another error without values in place of one that may
//! have some. Whoever may not use PL/pgSQL has the statements themselves.

use tokio_postgres::{Client, Error};

use super::sql::ApplySql;
use crate::lane::Lane;
use crate::lane::mapping::Form;
use crate::pg::{AS_OPERATOR, Literal, TELLING, list};

/// The function that checks deferred constraints, of all lanes of the session.
const CHECK: &str = "pg_temp.projh_check()";

/// The statements that a function executes: the end of its name, its parameters, and its text.
fn statements(sql: &ApplySql) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
    let replace = sql.replace.as_deref().map(|sql| ("replace", "bigint", sql));
    replace.into_iter().chain([("rewrite", "", sql.rewrite.as_str()), ("insert", "", sql.insert.as_str())])
}

fn function(lane: &Lane, name: &str) -> String {
    format!("pg_temp.projh_{name}_{}", lane.number)
}

/// Makes the functions, if the lane decrypts and the role may.
pub(super) async fn make(client: &Client, lane: &Lane) -> Result<(), Error> {
    if !lane.decrypts() {
        return Ok(());
    }
    let may = "SELECT EXISTS (SELECT FROM pg_language WHERE lanname = 'plpgsql' AND has_language_privilege(oid, 'USAGE'))";
    if !client.query_one(may, &[]).await?.get::<_, bool>(0) {
        return Ok(());
    }
    let sql = ApplySql::of(lane);
    let made = statements(&sql).map(|(name, parameters, sql)| {
        let function = format!("{}({parameters})", function(lane, name));
        let body = Literal(&body(sql, name != "insert")).to_string();
        format!(
            "CREATE OR REPLACE FUNCTION {function} RETURNS SETOF bigint LANGUAGE plpgsql AS {body}; \
             GRANT EXECUTE ON FUNCTION {function} TO {}",
            lane.owner
        )
    });
    client.batch_execute(&made.collect::<Vec<_>>().join("; ")).await?;
    let body = Literal(&body("SET CONSTRAINTS ALL IMMEDIATE", false)).to_string();
    let check = format!(
        "CREATE OR REPLACE FUNCTION {CHECK} RETURNS void LANGUAGE plpgsql AS {body}; \
         GRANT EXECUTE ON FUNCTION {CHECK} TO PUBLIC"
    );
    client.batch_execute(&check).await
}

/// What gives the rest of a transaction back to the operator.
pub(super) async fn as_operator(client: &Client, lane: &Lane) -> Result<String, Error> {
    let sql = "SELECT to_regprocedure($1) IS NOT NULL";
    let is_hushed = lane.decrypts() && client.query_one(sql, &[&CHECK]).await?.get::<_, bool>(0);
    Ok(if is_hushed { format!("SELECT {CHECK}; SET LOCAL ROLE NONE") } else { AS_OPERATOR.to_owned() })
}

/// What an error has besides its message, and the message itself where [`crate::pg::describe`] would tell it: those have no values.
fn body(sql: &str, returns: bool) -> String {
    let telling = list(TELLING.map(|class| format!("'{class}'")));
    let statement = if returns { format!("RETURN QUERY {sql}") } else { sql.to_owned() };
    format!(
        "#variable_conflict use_column
         DECLARE projh_schema text; projh_table text; projh_column text; projh_constraint text;
         BEGIN {statement};
         EXCEPTION WHEN OTHERS THEN
           IF left(SQLSTATE, 2) IN ({telling}) OR SQLSTATE IN ('40001', '40P01', 'XX001', 'XX002') THEN RAISE; END IF;
           GET STACKED DIAGNOSTICS projh_schema = SCHEMA_NAME, projh_table = TABLE_NAME, projh_column = COLUMN_NAME,
             projh_constraint = CONSTRAINT_NAME;
           RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = 'a value that was decrypted is rejected', SCHEMA = projh_schema,
             TABLE = projh_table, COLUMN = projh_column, CONSTRAINT = projh_constraint;
         END"
    )
}

/// The lane's statements, with the functions in their place if they were made.
pub(super) async fn of(client: &Client, lane: &Lane) -> Result<ApplySql, Error> {
    let mut sql = ApplySql::of(lane);
    if !lane.decrypts() {
        return Ok(sql);
    }
    let name = format!("{}()", function(lane, "insert"));
    let is_made = client.query_one("SELECT to_regprocedure($1) IS NOT NULL", &[&name]).await?.get(0);
    if is_made {
        let call =
            |name: &str, arguments: &str| format!("SELECT n FROM {}({arguments}) AS n", function(lane, name));
        sql.replace = sql.replace.is_some().then(|| call("replace", "$1"));
        sql.rewrite = call("rewrite", "");
        sql.insert = call("insert", "");
    }
    Ok(sql)
}

impl Lane {
    /// Whether the target gets values that the source has encrypted.
    fn decrypts(&self) -> bool {
        self.transformed().any(|(_, transform)| matches!(transform.target, Form::Plain { .. }))
    }
}
