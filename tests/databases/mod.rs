//! Every table of a database becomes green and comes back, becomes green again and stays; after each step the whole
//! database is compared with what it was. `scripts/try-database` and the tests of whole databases do it.

mod dump;
mod program;

use std::error::Error;

pub use dump::Dump;
pub use program::Program;

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// What became of the tables of one plan.
#[derive(Debug)]
pub struct Tried {
    /// As a plan names them.
    pub tables: Vec<String>,
    pub verdict: Verdict,
    pub seconds: f64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Green, back, green again, finished: the database was the same each time.
    Unharmed,
    /// `check` refuses: each reason, with its hint.
    Refused(Vec<String>),
    /// A command ended with another exit code than it should have; what it printed last.
    Failed { step: &'static str, said: String },
    /// The database is not what it was: after which step, and in which lines of a dump.
    Changed { step: &'static str, lines: Vec<String> },
}

/// The tables of a database that belong to no extension, as a plan names them.
pub fn tables(program: &Program) -> Outcome<Vec<String>> {
    let sql = "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
               where c.relkind in ('r', 'p') and c.relpersistence = 'p' and not c.relispartition \
               and n.nspname !~ '^(pg_|information_schema$|projh_)' \
               and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid \
               and d.deptype = 'e') order by 1";
    Ok(program.psql(sql)?.lines().map(str::to_owned).collect())
}

/// Takes these tables through one run, in their own shape, in a copy of the database.
pub fn there_and_back(original: &Program, tables: &[String]) -> Outcome<Tried> {
    let begun = std::time::Instant::now();
    let program = original.copy()?;
    program.write_plan(tables)?;
    let verdict = verdict(&program)?;
    program.drop_copy()?;
    Ok(Tried { tables: tables.to_vec(), verdict, seconds: begun.elapsed().as_secs_f64() })
}

/// The commands of a run, with the exit code that each must have.
const STEPS: [(&str, &[&str], i32); 4] = [
    ("swap", &["execute", "--yes", "--until", "settle"], 0),
    ("rollback", &["rollback"], 6),
    ("second swap", &["execute", "--yes", "--until", "settle"], 0),
    ("finish", &["finish", "--yes"], 0),
];

fn verdict(program: &Program) -> Outcome<Verdict> {
    let before = Dump::of(program)?;
    let check = program.run(&["check"])?;
    match check.code {
        0 => {}
        3 => return Ok(Verdict::Refused(check.refusals())),
        _ => return Ok(Verdict::Failed { step: "check", said: check.said() }),
    }
    for (step, arguments, code) in STEPS {
        let ended = program.run(arguments)?;
        if ended.code != code {
            return Ok(Verdict::Failed { step, said: ended.said() });
        }
        let lines = before.differences(&Dump::of(program)?);
        if !lines.is_empty() {
            return Ok(Verdict::Changed { step, lines });
        }
    }
    let left = program.left_behind()?;
    Ok(if left.is_empty() { Verdict::Unharmed } else { Verdict::Changed { step: "finish", lines: left } })
}
