//! The built program and pg_dump, run against one database.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::Outcome;

#[derive(Clone)]
pub struct Program {
    /// The built program.
    pub program: PathBuf,
    /// pg_dump and psql, of the server's version or later.
    pub pg_dump: PathBuf,
    pub psql: PathBuf,
    /// libpq's variables, but for PGDATABASE.
    pub environment: Vec<(OsString, OsString)>,
    pub database: String,
    /// Where the plan is written.
    pub folder: PathBuf,
}

/// A command that has ended.
pub struct Ended {
    pub code: i32,
    lines: Vec<Value>,
    errors: String,
}

impl Ended {
    /// What prevents the plan, each with what can be done.
    pub fn refusals(&self) -> Vec<String> {
        let refused = |line: &&Value| line["type"] == "finding" && line["severity"] == "refusal";
        let text = |line: &Value| {
            let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            format!("{}: {} {}", word("check"), word("what"), word("hint"))
        };
        self.lines.iter().filter(refused).map(text).collect()
    }

    /// The end of what it printed.
    pub fn said(&self) -> String {
        let last = self.lines.iter().rev().take(3).rev().map(ToString::to_string);
        let mut said: Vec<String> = last.collect();
        said.push(self.errors.clone());
        format!("exit code {}\n{}", self.code, said.join("\n"))
    }
}

impl Program {
    /// A copy of the database; nobody may be connected to this one.
    pub fn copy(&self) -> Outcome<Self> {
        let copy = Self { database: format!("{}_copy", self.database), ..self.clone() };
        copy.drop_copy()?;
        self.elsewhere()
            .psql(&format!("create database \"{}\" template \"{}\"", copy.database, self.database))?;
        Ok(copy)
    }

    /// Drops the database, and the slots that a run has left in it.
    pub fn drop_copy(&self) -> Outcome<()> {
        let ours = self.database.replace('\'', "''");
        let sql = format!(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where database = '{ours}'; \
             select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = '{ours}'"
        );
        self.elsewhere().psql(&sql)?;
        self.elsewhere().psql(&format!("drop database if exists \"{}\" with (force)", self.database))?;
        Ok(())
    }

    fn elsewhere(&self) -> Self {
        Self { database: "postgres".to_owned(), ..self.clone() }
    }

    pub fn write_plan(&self, tables: &[String]) -> Outcome<()> {
        let list: String =
            tables.iter().map(|table| format!("  - table: '{}'\n", table.replace('\'', "''"))).collect();
        let plan = format!("version: 1\nname: there-and-back\nsettings: {{soak: 1h}}\ntables:\n{list}");
        Ok(std::fs::write(self.plan(), plan)?)
    }

    fn plan(&self) -> PathBuf {
        self.folder.join("plan.yaml")
    }

    /// `projh-bluegreen COMMAND PLAN OPTION...`
    pub fn run(&self, arguments: &[&str]) -> Outcome<Ended> {
        let mut command = Command::new(&self.program);
        command.args(&arguments[..1]).arg(self.plan()).args(&arguments[1..]).arg("--json");
        let output = self.in_database(&mut command).output()?;
        let text = String::from_utf8(output.stdout)?;
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Ended { code: output.status.code().unwrap_or(-1), lines, errors })
    }

    pub fn psql(&self, sql: &str) -> Outcome<String> {
        self.client(&self.psql, &["-XAtqc", sql])
    }

    pub fn pg_dump(&self, arguments: &[&str]) -> Outcome<String> {
        self.client(&self.pg_dump, arguments)
    }

    /// What no run may leave behind.
    pub fn left_behind(&self) -> Outcome<Vec<String>> {
        let sql = "select 'schema ' || nspname from pg_namespace where nspname ~ '^projh_bg_' \
                   union all select 'slot ' || slot_name from pg_replication_slots where database = current_database() \
                   union all select 'publication ' || pubname from pg_publication where pubname ~ '^projh_bg_' \
                   union all select 'index ' || indexrelid::regclass::text from pg_index where not indisvalid";
        let left = self.psql(sql)?;
        Ok(left.lines().map(|line| format!("left behind: {line}")).collect())
    }

    fn in_database<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .envs(self.environment.iter().cloned())
            .env("PGDATABASE", &self.database)
            .env("PGOPTIONS", "-c client_min_messages=warning")
    }

    fn client(&self, program: &Path, arguments: &[&str]) -> Outcome<String> {
        let output = self.in_database(Command::new(program).args(arguments)).output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        Err(format!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr)).into())
    }
}
