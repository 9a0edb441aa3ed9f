//! What others are doing to a table at this moment: a rewrite would make the copy begin again, an index build would
//! change what green is made from, and under an exclusive lock nobody else can read.

use std::time::Duration;

use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::pg::QName;
use crate::pg::activity::Holder;
use crate::pg::connect::Session;
use crate::pg::under_way::{Kind, UnderWay, on_table};

/// What ends within this time is no obstacle.
const PASSING: Duration = Duration::from_secs(1);

pub(super) async fn check(session: &Session, table: &QName) -> Result<Vec<Finding>, Error> {
    let look = async || on_table(session, table).await.doing("looking at what is under way");
    let mut seen = look().await?;
    if !seen.is_empty() {
        tokio::time::sleep(PASSING).await;
        let before: Vec<i32> = seen.iter().map(|seen| seen.backend.pid).collect();
        seen = look().await?;
        seen.retain(|seen| before.contains(&seen.backend.pid));
    }
    Ok(seen.into_iter().map(|seen| finding(table, seen)).collect())
}

fn finding(table: &QName, seen: UnderWay) -> Finding {
    let why = match seen.kind {
        Kind::Rewrite => "when it ends, the table has another file, and a copy of it would begin again",
        Kind::Index => "when it ends, the table's definition differs from the one that green is made from",
        Kind::Exclusive => "nobody else can read the table meanwhile",
        Kind::Lock => "preparing waits for it to end",
    };
    let what = format!("under way: {seen}: {why}");
    let hint = match seen.backend.prevents_wraparound {
        true => "wait for it to end: PostgreSQL would begin it again".to_owned(),
        false => format!("wait for it to end, or {}", Holder::Backend(seen.backend).hint()),
    };
    let finding = Finding::table(CheckId::UnderWay, table, what, hint);
    if seen.kind == Kind::Lock { finding.into_note() } else { finding }
}
