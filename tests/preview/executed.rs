//! The SQL that a preview shows is the SQL that is executed: every statement of it is in the server's log
//! of the run that follows, and the log has no other DDL.

use crate::support::{Bluegreen, Cluster};

use super::{DB, SCHEMA, clinic, previewed};

const PREFIX: &str = "projh-log|";

fn logging() -> Cluster {
    Cluster::builder()
        .setting("log_statement", "all")
        .setting("log_replication_commands", "on")
        .setting("log_line_prefix", "projh-log|%a|")
        .start()
}

/// One message of the log: who, and what.
struct Entry {
    application: String,
    text: String,
}

/// Lines that continue a message begin with a tab.
fn entries(log: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in log.lines() {
        if let Some((application, text)) = line.strip_prefix(PREFIX).and_then(|rest| rest.split_once('|')) {
            entries.push(Entry { application: application.to_owned(), text: text.to_owned() });
        } else if let (Some(last), Some(more)) = (entries.last_mut(), line.strip_prefix('\t')) {
            last.text.push('\n');
            last.text.push_str(more);
        }
    }
    entries
}

/// What the run's own connections executed: statements, and replication commands.
fn executed(log: &str) -> Vec<String> {
    let of_run = |entry: &Entry| {
        let role = entry.application.strip_prefix("projh-bluegreen ");
        role.is_some_and(|role| !matches!(role, "check" | "preview"))
    };
    let statement = |entry: Entry| {
        let (kind, text) = entry.text.split_once(": ")?;
        let text = text.trim_start();
        match kind.trim_start_matches("LOG:  ") {
            "statement" => Some(text.to_owned()),
            "received replication command" => Some(text.to_owned()),
            kind if kind.starts_with("execute ") => Some(text.to_owned()),
            _ => None,
        }
    };
    let messages = entries(log).into_iter().filter(of_run);
    messages
        .filter_map(|mut entry| {
            entry.text = entry.text.trim_start_matches("LOG:  ").to_owned();
            statement(entry)
        })
        .collect()
}

/// Where `promised` is in `text`; `<...>` in it stands for anything.
fn find(text: &str, promised: &str) -> Option<std::ops::Range<usize>> {
    let mut pieces = Vec::new();
    let mut rest = promised;
    for placeholder in ["<snapshot>", "<lsn>", "<random>"] {
        if let Some((before, after)) = rest.split_once(placeholder) {
            pieces.push(before);
            rest = after;
        }
    }
    pieces.push(rest);
    let start = text.find(pieces[0])?;
    let mut end = start + pieces[0].len();
    for piece in &pieces[1..] {
        end += text[end..].find(piece)? + piece.len();
    }
    Some(start..end)
}

const DDL: [&str; 14] = [
    "create", "alter", "drop", "grant", "revoke", "comment", "truncate", "lock", "do", "reindex", "cluster",
    "analyze", "vacuum", "security",
];

fn is_ddl(sql: &str) -> bool {
    let first = sql.split(|c: char| !c.is_alphanumeric() && c != '_').find(|word| !word.is_empty());
    first.is_some_and(|first| DDL.contains(&first.to_lowercase().as_str()))
}

/// The statements that a preview shows for some phases, with the run's id in them.
fn promised(program: &Bluegreen, phases: &[&str]) -> Vec<(bool, String)> {
    let preview = previewed(program, &[]);
    let mut promised = Vec::new();
    for step in preview.events_of("preview_step") {
        if !phases.contains(&step["phase"].as_str().unwrap()) {
            continue;
        }
        let sql = step["sql"].as_str().unwrap();
        // The journal is one batch; a statement with parameters is executed only if there is something to do.
        let statements: Vec<&str> =
            if sql.starts_with("--") { vec![sql] } else { sql.split(";\n").collect() };
        let certain = !sql.contains("unnest($");
        promised.extend(statements.into_iter().map(|sql| (certain, sql.to_owned())));
    }
    assert!(promised.len() > 10, "{promised:#?}");
    promised
}

fn assert_kept(cluster: &Cluster, from: usize, run: &str, promised: &[(bool, String)]) {
    let executed = executed(&cluster.log()[from..]);
    let mut promised: Vec<(bool, String)> =
        promised.iter().map(|(certain, sql)| (*certain, sql.replace("<run>", run))).collect();
    for (_, sql) in promised.iter().filter(|(certain, _)| *certain) {
        let is_executed = executed.iter().any(|text| find(text, sql).is_some());
        let nearest = || {
            executed
                .iter()
                .max_by_key(|text| text.bytes().zip(sql.bytes()).take_while(|(a, b)| a == b).count())
        };
        assert!(is_executed, "shown, and not executed:\n{sql}\nthe nearest that was:\n{:?}", nearest());
    }
    // The longest first, so that a statement that begins like another one is taken out whole.
    promised.sort_by_key(|(_, sql)| std::cmp::Reverse(sql.len()));
    for text in &executed {
        let mut rest = text.clone();
        for (_, sql) in &promised {
            while let Some(found) = find(&rest, sql) {
                rest.replace_range(found, ";");
            }
        }
        let other: Vec<&str> = rest.split(';').map(str::trim).filter(|sql| is_ddl(sql)).collect();
        assert!(other.is_empty(), "executed, and not shown:\n{other:#?}\nin:\n{text}");
    }
}

fn run_of(cluster: &Cluster) -> String {
    cluster.psql(DB, "select run from projh_bluegreen.run order by started_at desc limit 1").trim().to_owned()
}

#[test]
fn every_statement_shown_is_executed_and_no_other_ddl_is() {
    let cluster = logging();
    let program = clinic(&cluster);
    let phases = ["prepare", "copy", "catch_up", "index", "verify", "swap", "settle", "finish"];
    let promised = promised(&program, &phases);
    let from = cluster.log().len();
    program.execute(&["--yes"]).expect_code(0);
    program.run("finish", &["--yes"]).expect_code(0);
    assert_kept(&cluster, from, &run_of(&cluster), &promised);
}

#[test]
fn a_rollback_executes_what_was_shown_for_it() {
    let cluster = logging();
    let program = clinic(&cluster);
    let promised = promised(&program, &["prepare", "copy", "catch_up", "index", "verify", "rollback"]);
    let from = cluster.log().len();
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
    assert_kept(&cluster, from, &run_of(&cluster), &promised);
}

#[test]
fn what_is_left_of_a_stopped_run_is_what_is_executed_then() {
    let cluster = logging();
    cluster.psql(DB, SCHEMA);
    let program = Bluegreen::new(&cluster, DB).plan(super::PLAN);
    program.execute(&["--yes", "--until", "catch_up"]).expect_code(0);
    let promised = promised(&program, &["catch_up", "index", "verify", "swap", "settle"]);
    let from = cluster.log().len();
    program.execute(&["--yes"]).expect_code(0);
    assert_kept(&cluster, from, &run_of(&cluster), &promised);
}
