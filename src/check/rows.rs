//! Questions about the rows themselves; one scan answers all those about one table.
//!
//! A question is a [`Count`]. The table is read in ranges of blocks on several connections, read-only;
//! a scan that takes longer than [`PATIENCE`] is announced with what it counts. If a condition raises an error, each
//! question is asked separately, so that the one that raises it is named.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};

use super::count::{Count, Row, columns};
use super::preflight::{Preflight, Subject};
use super::{Finding, ciphertext, functions, generated, partition_rows, rules, way_back, xml};
use crate::context::Context;
use crate::error::{Doing, Error};
use crate::event::Event;
use crate::hangs_on::Green;
use crate::lane::copy::condition;
use crate::lifecycle::Span;
use crate::pg::connect::Session;
use crate::pg::{self, BLOCK_BYTES, ConnectionRole, list, rolled_back};

/// A scan that takes longer than this is announced.
const PATIENCE: Duration = Duration::from_secs(2);
/// Heap blocks that are worth a connection of their own.
const BLOCKS_EACH: u64 = 4_096;
/// More connections than this do not read faster.
const CONNECTIONS_MAX: usize = 8;

/// Asks all questions about one table, and returns their findings.
///
/// # Errors
/// If the server cannot be queried; a condition that raises an error is a finding.
pub(super) async fn check(at: &Preflight<'_>, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let (cx, session) = (at.cx, at.session);
    let Some(design) = &subject.design else { return Ok(Vec::new()) };
    let mut counts = rules::counts(subject);
    counts.extend(partition_rows::count(session, subject).await?);
    counts.extend(xml::counts(subject));
    counts.extend(generated::counts(subject));
    counts.extend(way_back::counts(at.plan, subject));
    counts.extend(ciphertext::counts(subject));
    if counts.is_empty() {
        return Ok(Vec::new());
    }
    let others = connections(cx, subject.definition.table.heap_bytes, at.plan.settings.workers).await?;
    let sessions: Vec<&Session> = std::iter::once(session).chain(&others).collect();
    let scan = Scan { sessions, green: &design.green, blocks: blocks(subject) };
    let all: Vec<&Count> = counts.iter().collect();
    let answer = announcing(cx, subject, &all, scan.ask(&all)).await;
    match answer {
        Ok(answer) => Ok(answer.findings(&all)),
        Err(error) if error.as_db_error().is_some() && !pg::is_transient(&error) => {
            one_by_one(cx, subject, &scan, &counts).await
        }
        Err(error) => Err(error).doing("reading a table's rows"),
    }
}

async fn one_by_one(
    cx: &Context,
    subject: &Subject<'_>,
    scan: &Scan<'_>,
    counts: &[Count],
) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for count in counts {
        match announcing(cx, subject, &[count], scan.ask(&[count])).await {
            Ok(answer) => findings.extend(answer.findings(&[count])),
            // It writes, as nextval does, and was not allowed to: it cannot be tried.
            Err(error) if error.code().is_some_and(|code| code.code() == "25006") => {}
            Err(error) if error.as_db_error().is_some() && !pg::is_transient(&error) => {
                let (check, hint) = match functions::is_about_names(&error) {
                    true => (functions::CHECK, functions::HINT),
                    false => (count.raises.0, count.raises.1.as_str()),
                };
                let what = format!("{} cannot be counted: {}", count.of, pg::describe(&error));
                findings.push(Finding::table(check, &subject.definition.table.name, what, hint));
            }
            Err(error) => return Err(error).doing("reading a table's rows"),
        }
    }
    Ok(findings)
}

/// Waits for the answer, and announces what is counted if that takes long.
async fn announcing<T>(
    cx: &Context,
    subject: &Subject<'_>,
    counts: &[&Count],
    answer: impl Future<Output = T>,
) -> T {
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        done = &mut answer => return done,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    let table = subject.definition.table.name.plain();
    let of = list(counts.iter().map(|count| count.of.as_str()));
    cx.tell(&Event::Notice {
        text: format!("check reads all of {table}, which takes a while, to count: {of}"),
    });
    answer.await
}

async fn connections(cx: &Context, heap_bytes: u64, workers: usize) -> Result<Vec<Session>, Error> {
    let worth = usize::try_from(heap_bytes / BLOCK_BYTES / BLOCKS_EACH).unwrap_or(usize::MAX);
    let more = worth.min(workers).min(CONNECTIONS_MAX).saturating_sub(1);
    let settings = [("lock_timeout", "2s")];
    let name = ConnectionRole::of_command("check").to_string();
    let opened = (0..more).map(|_| cx.target.connect(&name, &settings));
    Ok(try_join_all(opened).await?)
}

fn blocks(subject: &Subject<'_>) -> u32 {
    u32::try_from(subject.definition.table.heap_bytes / BLOCK_BYTES).unwrap_or(u32::MAX)
}

/// How many rows there are, and how many meet each condition.
struct Answer {
    rows: i64,
    counted: Vec<i64>,
}

impl Answer {
    fn findings(&self, counts: &[&Count]) -> Vec<Finding> {
        let answered = counts.iter().zip(&self.counted).filter(|(_, counted)| **counted > 0);
        answered.map(|(count, counted)| (count.found)(*counted, self.rows)).collect()
    }
}

/// One scan of a table, shared by connections.
struct Scan<'a> {
    sessions: Vec<&'a Session>,
    green: &'a Green,
    blocks: u32,
}

impl Scan<'_> {
    async fn ask(&self, counts: &[&Count]) -> Result<Answer, tokio_postgres::Error> {
        let spans = spans(self.blocks, self.sessions.len());
        let begin = format!("BEGIN READ ONLY; {}", self.green.blue.table.acting());
        let begin = begin.as_str();
        let parts = self.sessions.iter().zip(&spans).map(|(session, span)| async {
            let sql = self.sql(counts, span);
            rolled_back(session, begin, session.query_one(&sql, &[])).await.flatten()
        });
        let parts = join_all(parts).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let sum = |at: usize| parts.iter().map(|row| row.get::<_, i64>(at)).sum();
        Ok(Answer { rows: sum(0), counted: (1..=counts.len()).map(sum).collect() })
    }

    fn sql(&self, counts: &[&Count], span: &Span) -> String {
        let blue = self.green.live();
        let names: Vec<String> = (0..counts.len()).map(|number| format!("projh_count_{number}")).collect();
        let of_blue = counts.iter().zip(&names).filter(|(count, _)| count.row == Row::Blue);
        let of_blue = of_blue.map(|(count, name)| format!("({}) AS {name}", count.condition));
        let inner = list(columns(self.green).into_iter().chain(of_blue));
        let counted = counts.iter().zip(&names).map(|(count, name)| match count.row {
            Row::Blue => format!("count(*) FILTER (WHERE {name})"),
            Row::Green => format!("count(*) FILTER (WHERE {})", count.condition),
        });
        let counted = list(counted);
        let within = condition(*span);
        format!("SELECT count(*), {counted} FROM (SELECT {inner} FROM {blue} WHERE {within}) AS projh_row")
    }
}

/// Divides all blocks into `parts` ranges; the last has no end.
fn spans(blocks: u32, parts: usize) -> Vec<Span> {
    let parts = u32::try_from(parts.max(1)).unwrap_or(1);
    let each = blocks.div_ceil(parts);
    let span = |part: u32| {
        let to = part.saturating_add(1).saturating_mul(each);
        Span { from: part.saturating_mul(each), to: (part + 1 < parts).then_some(to) }
    };
    (0..parts).map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_and_the_last_is_open() {
        let ends = |blocks, parts| spans(blocks, parts).iter().map(|s| (s.from, s.to)).collect::<Vec<_>>();
        assert_eq!(ends(10, 3), [(0, Some(4)), (4, Some(8)), (8, None)]);
        assert_eq!(ends(0, 2), [(0, Some(0)), (0, None)]);
        assert_eq!(ends(7, 1), [(0, None)]);
    }
}
