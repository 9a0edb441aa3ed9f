//! The page of a preview: checks, what changes, what clients notice, every step, and the totals.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use bytesize::ByteSize;

use crate::event::{Blocks, PreviewChange, PreviewLock, PreviewNotice, PreviewStep};
use crate::finding::{Finding, Severity};
use crate::lifecycle::Phase;
use crate::preview::{NEW_RUN, Preview};

/// How the page looks.
pub(super) struct Style {
    /// Whether to print colours.
    colours: bool,
    /// Whether to print every statement of every partition, instead of one and the number of those like it.
    all: bool,
}

impl Style {
    pub(super) fn of_terminal(all: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colours: wanted && std::io::stdout().is_terminal(), all }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn sign(&self, sign: char) -> String {
        let code = match sign {
            '+' => "32",
            '-' => "31",
            '~' | '!' => "33",
            _ => "2",
        };
        self.paint(code, &sign.to_string())
    }
}

pub(super) fn page(plan: &str, findings: &[Finding], preview: &Preview, style: &Style) -> String {
    let mut page = String::new();
    let mut line = |text: &str| {
        page.push_str(text);
        page.push('\n');
    };
    line(&format!("{} {}", style.bold(&format!("Preview of plan {plan}:")), whose(preview)));
    section(&mut line, style, "Checks");
    for text in self::findings(findings, style) {
        line(&text);
    }
    if !preview.changes.is_empty() {
        let has_swap = preview.summary.stall_seconds_max > 0.0;
        section(&mut line, style, if has_swap { "What the swap changes" } else { "What changes" });
        for text in changes(&preview.changes, style) {
            line(&text);
        }
        section(&mut line, style, "What clients will notice");
        for text in notices(&preview.notices, style) {
            line(&text);
        }
    }
    section(&mut line, style, "Steps");
    line(&style.dim("  Each chunk, index and step of settle is a transaction with its fact in the journal; queries of the"));
    line(&style.dim("  catalog are left out. -v shows every statement of every partition, --json prints all of it for machines."));
    for text in steps(&preview.steps, style) {
        line(&text);
    }
    section(&mut line, style, "What the estimates are based on");
    for basis in &preview.summary.basis {
        line(&wrapped(basis, "  "));
    }
    line("");
    line(&summary(preview, style));
    page
}

fn section(line: &mut impl FnMut(&str), style: &Style, title: &str) {
    line("");
    line(&style.bold(title));
}

fn whose(preview: &Preview) -> String {
    let Some(run) = &preview.summary.run else {
        return format!("a new run; {NEW_RUN} stands for the id that it will get. Nothing is changed.");
    };
    let next = preview.next.map_or_else(|| "finish".to_owned(), |phase| phase.to_string());
    let how = if preview.is_live { "is being executed, and is not disturbed" } else { "would be resumed" };
    format!("run {run} {how}; its next phase: {next}. Nothing is changed.")
}

fn findings(findings: &[Finding], style: &Style) -> Vec<String> {
    let mut lines: Vec<String> = findings
        .iter()
        .map(|finding| {
            let weight = match finding.severity {
                Severity::Refusal => "refused",
                Severity::Note => "note",
            };
            let Finding { place, what, hint, .. } = finding;
            format!("  {} {weight}: {place}: {what}\n    hint: {hint}", style.sign('!'))
        })
        .collect();
    lines.push("  nothing stands in the way".to_owned());
    lines
}

fn changes(changes: &[PreviewChange], style: &Style) -> Vec<String> {
    let width = changes.iter().map(|change| change.object.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    let mut table = "";
    for change in changes {
        if change.table != table {
            lines.push(format!("  {}", change.table));
        }
        table = &change.table;
        lines.push(format!("    {} {:width$}  {}", style.sign(change.sign), change.object, change.text));
    }
    lines
}

fn notices(notices: &[PreviewNotice], style: &Style) -> Vec<String> {
    let mut lines = Vec::new();
    let mut table = None;
    for notice in notices {
        if notice.table.is_some() && notice.table != table {
            lines.push(format!("  {}", notice.table.as_deref().unwrap_or_default()));
        }
        table.clone_from(&notice.table);
        let indent = if table.is_some() { "    " } else { "  " };
        let text = wrapped(&notice.text, &format!("{indent}  "));
        lines.push(format!("{indent}{} {}", style.sign('!'), text.trim_start()));
        if !notice.statements.is_empty() {
            let seen: Vec<String> = notice
                .statements
                .iter()
                .map(|statement| format!("queryid {} ({} calls)", statement.queryid, statement.calls))
                .collect();
            lines.push(format!("{indent}    pg_stat_statements has such statements: {}", seen.join(", ")));
        }
    }
    lines
}

/// Steps that only differ in their partition.
struct Group<'a> {
    template: (Option<&'a String>, String),
    first: &'a PreviewStep,
    like_it: usize,
    seconds: f64,
    bytes: u64,
}

fn steps(steps: &[PreviewStep], style: &Style) -> Vec<String> {
    let mut lines = Vec::new();
    let has_swap = steps.iter().any(|step| step.phase == Phase::Swap);
    let mut rest = steps;
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|step| step.phase == first.phase).count();
        let (phase, after) = rest.split_at(count);
        lines.push(format!("  {}  {}", style.bold(&title(first.phase, has_swap)), style.dim(&cost(phase))));
        for group in groups(phase, style.all) {
            lines.extend(of_group(&group, style));
        }
        rest = after;
    }
    lines
}

fn title(phase: Phase, has_swap: bool) -> String {
    match phase {
        Phase::Rollback if has_swap => "instead of the swap: rollback".to_owned(),
        Phase::Rollback => "to undo it: rollback".to_owned(),
        Phase::Finish => "after it, once all is well: finish".to_owned(),
        phase => phase.to_string(),
    }
}

fn cost(steps: &[PreviewStep]) -> String {
    let sum = |of: fn(&PreviewStep) -> u64| steps.iter().map(of).sum::<u64>();
    let mut parts = vec![format!("about {}", duration(steps.iter().map(|step| step.seconds).sum()))];
    for (bytes, what) in [(sum(|step| step.bytes), "of disk"), (sum(|step| step.wal_bytes), "of WAL")] {
        if bytes > 0 {
            parts.push(format!("{} {what}", ByteSize(bytes)));
        }
    }
    parts.join(", ")
}

fn groups(steps: &[PreviewStep], all: bool) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for step in steps {
        let template = (step.table.as_ref(), template(step));
        let known = groups.iter_mut().find(|group| !all && group.template == template);
        match known.filter(|_| step.relation.is_some()) {
            Some(group) => {
                group.like_it += 1;
                group.seconds += step.seconds;
                group.bytes += step.bytes;
            }
            None => groups.push(Group {
                template,
                first: step,
                like_it: 0,
                seconds: step.seconds,
                bytes: step.bytes,
            }),
        }
    }
    groups
}

/// A step's SQL without the name and the bound of its partition.
fn template(step: &PreviewStep) -> String {
    let relation = step.relation.as_deref().unwrap_or_default();
    let quoted = if relation.ends_with('"') {
        relation.rfind(".\"").map_or(relation, |at| &relation[at + 1..]).to_owned()
    } else {
        format!("\"{}\"", relation.rsplit('.').next().unwrap_or_default())
    };
    let sql = step.sql.replace(&quoted, "?");
    match sql.split_once(" PARTITION OF ") {
        Some((head, _)) => head.to_owned(),
        None => sql,
    }
}

fn of_group(group: &Group<'_>, style: &Style) -> Vec<String> {
    let step = group.first;
    let mut lines = Vec::new();
    let mut head = format!("    {} {}", style.sign(sign(step)), step.what);
    if group.like_it > 0 {
        let _ = write!(head, ", and the same for {} more", group.like_it);
    }
    match step.times {
        Some(1) => {}
        Some(times) => {
            let _ = write!(head, ", {times} times");
        }
        None => head.push_str(", as often as there is something to do"),
    }
    let mut costs = Vec::new();
    if group.seconds >= 0.05 {
        costs.push(format!("about {}", duration(group.seconds)));
    }
    if group.bytes > 0 {
        costs.push(ByteSize(group.bytes).to_string());
    }
    if !costs.is_empty() {
        head.push_str(&style.dim(&format!("  ({})", costs.join(", "))));
    }
    lines.push(head);
    lines.extend(step.sql.lines().map(|line| format!("        {}", style.dim(line))));
    lines.extend(step.locks.iter().map(|lock| format!("        {}", self::lock(lock, style))));
    lines
}

fn lock(lock: &PreviewLock, style: &Style) -> String {
    let waits = match lock.blocks {
        Blocks::Ddl => "only DDL waits",
        Blocks::Writes => "writes wait",
        Blocks::ReadsAndWrites => "reads and writes wait",
    };
    let text =
        format!("lock on {}: {}, {waits}, for about {}", lock.relation, lock.mode, duration(lock.seconds));
    let code = if lock.blocks == Blocks::Ddl { "2" } else { "33" };
    style.paint(code, &text)
}

/// The sign of a step: `+` creates, `-` drops, `~` changes, a blank does neither.
fn sign(step: &PreviewStep) -> char {
    let first = step.sql.split_whitespace().next().unwrap_or_default();
    match first {
        "CREATE" | "GRANT" | "INSERT" | "CREATE_REPLICATION_SLOT" | "--" => '+',
        "DROP" | "REVOKE" | "DELETE" => '-',
        "ALTER" if step.sql.contains(" ADD ") => '+',
        "ALTER" if step.sql.contains(" DROP ") => '-',
        "ALTER" | "COMMENT" | "LOCK" => '~',
        _ if step.sql.contains("DROP") || step.sql.contains("pg_drop") => '-',
        _ if step.sql.contains("ALTER TABLE") => '~',
        _ => ' ',
    }
}

fn summary(preview: &Preview, style: &Style) -> String {
    let summary = &preview.summary;
    let is_ahead = |step: &&PreviewStep| Phase::FORWARD.contains(&step.phase);
    let mut locks = preview.steps.iter().filter(is_ahead).flat_map(|step| &step.locks);
    let counted = |count: usize, one: &str| {
        let plural = match one {
            "index" => "indexes".to_owned(),
            one => format!("{one}s"),
        };
        format!("{count} {}", if count == 1 { one.to_owned() } else { plural })
    };
    let mut parts = vec![counted(summary.tables, "table")];
    if summary.partitions > 0 {
        parts.push(format!("{} to create", counted(summary.partitions, "partition")));
    }
    if summary.indexes > 0 {
        parts.push(format!("{} to build", counted(summary.indexes, "index")));
    }
    parts.push(format!("about {}", duration(summary.seconds)));
    parts.push(format!("{} of disk", ByteSize(summary.bytes)));
    parts.push(format!("{} of WAL", ByteSize(summary.wal_bytes)));
    let waits = if summary.stall_seconds > 0.0 {
        format!("; reads and writes wait for about {} once", duration(summary.stall_seconds))
    } else if locks.any(|lock| lock.blocks != Blocks::Ddl) {
        "; reads or writes wait for the moment of each lock that says so".to_owned()
    } else {
        "; no client waits".to_owned()
    };
    style.bold(&format!("Plan: {}{waits}", parts.join(", ")))
}

/// Wraps prose at 110 columns, each line indented.
fn wrapped(text: &str, indent: &str) -> String {
    const WIDTH: usize = 110;
    let mut lines = vec![indent.to_owned()];
    for word in text.split(' ') {
        let last = lines.last_mut().filter(|line| line.len() + word.len() < WIDTH || line.trim().is_empty());
        match last {
            Some(line) if line.trim().is_empty() => line.push_str(word),
            Some(line) => line.extend([" ", word]),
            None => lines.push(format!("{indent}{word}")),
        }
    }
    lines.join("\n")
}

/// A duration: `40 ms`, `1.5 s`, `1 min 40 s`, `2 h 5 min`.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 0.001 => "1 ms".to_owned(),
        _ if seconds < 0.9995 => format!("{:.0} ms", seconds * 1_000.0),
        _ if seconds < 60.0 => format!("{seconds:.1} s"),
        0..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_as_people_do() {
        let told = [0.04, 1.5, 100.0, 7_500.0].map(duration);
        assert_eq!(told, ["40 ms", "1.5 s", "1 min 40 s", "2 h 5 min"]);
    }
}
