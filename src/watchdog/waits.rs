//! Long waits of a run: who is in the way, and since when.
//!
//! Phases that expect to wait report that themselves. This reports all other waits: a chunk behind a VACUUM FULL, a
//! commit that a standby has to confirm.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Row};

use crate::context::Context;
use crate::event::{Event, Reporter, WaitCause};
use crate::pg::ConnectionRole;
use crate::pg::QName;
use crate::pg::activity::{self, ActivityError, Holder};
use crate::pg::standbys;
use crate::pg::under_way::{self, Kind};
use crate::plan::Plan;

/// Shorter waits are not reported.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often to look while there is no run yet.
const EVERY: Duration = Duration::from_secs(2);
/// A wait that continues is reported again this often.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// The waits that have been reported.
pub(crate) struct Waits {
    reporter: Arc<dyn Reporter>,
    /// What the application names of the run's sessions begin with.
    sessions: String,
    tables: Vec<QName>,
    told: BTreeMap<String, Instant>,
}

impl Waits {
    /// Those of a run; of every session of ours while the run is not known yet.
    pub(crate) fn of(cx: &Context, plan: &Plan, run: Option<&str>) -> Self {
        Self {
            reporter: Arc::clone(&cx.reporter),
            sessions: ConnectionRole::prefix(run),
            tables: plan.tables.iter().map(|table| table.table.clone()).collect(),
            told: BTreeMap::new(),
        }
    }

    /// Looks once, and reports what is new.
    pub(crate) async fn look(&mut self, client: &Client) -> Result<(), ActivityError> {
        self.look_at_sessions(client).await?;
        for table in self.tables.clone() {
            for seen in under_way::on_table(client, &table).await? {
                if seen.kind == Kind::Rewrite {
                    let key = format!("{} {}", table.plain(), seen.backend.pid);
                    let text = format!(
                        "under way on {}: {seen}; when it ends the table has a new file, and its copy, or its \
                         verification, begins again",
                        table.plain()
                    );
                    self.tell(WaitCause::Rewrite, key, text);
                }
            }
        }
        self.told.retain(|_, at| at.elapsed() < TELL_AGAIN);
        Ok(())
    }

    async fn look_at_sessions(&mut self, client: &Client) -> Result<(), ActivityError> {
        let sql = "SELECT a.pid, a.application_name, a.wait_event = 'SyncRep', \
                   extract(epoch FROM clock_timestamp() - coalesce(l.waitstart, a.query_start))::float8 \
                   FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid AND NOT l.granted \
                   WHERE a.datname = current_database() AND a.usename = session_user AND a.pid <> pg_backend_pid() \
                   AND a.backend_type = 'client backend' AND (a.wait_event = 'SyncRep' OR l.pid IS NOT NULL) \
                   AND starts_with(a.application_name, $1) \
                   AND clock_timestamp() - coalesce(l.waitstart, a.query_start) > make_interval(secs => $2)";
        for row in client.query(sql, &[&self.sessions, &PATIENCE.as_secs_f64()]).await? {
            let (cause, told) = match row.get(2) {
                true => (WaitCause::Standby, for_a_standby(client, &row).await?),
                false => (WaitCause::Lock, for_a_lock(client, &row).await?),
            };
            if let Some((key, text)) = told {
                self.tell(cause, key, text);
            }
        }
        Ok(())
    }

    fn tell(&mut self, cause: WaitCause, key: String, text: String) {
        if let Entry::Vacant(entry) = self.told.entry(key) {
            entry.insert(Instant::now());
            self.reporter.tell(&Event::Waiting { cause, text });
        }
    }
}

/// For the commit that began the wait: many wait for the same standby.
async fn for_a_standby(client: &Client, row: &Row) -> Result<Option<(String, String)>, ActivityError> {
    let Some(standbys) = standbys::synchronous(client).await? else { return Ok(None) };
    let text = format!(
        "a commit has been waiting for {:.0} s for a synchronous standby: {standbys}; {}",
        row.get::<_, f64>(3),
        standbys::Standbys::HINT
    );
    Ok(Some(("standby".to_owned(), text)))
}

async fn for_a_lock(client: &Client, row: &Row) -> Result<Option<(String, String)>, ActivityError> {
    let (pid, name): (i32, String) = (row.get(0), row.get(1));
    let Some(wait) = activity::wait_of(client, pid).await? else { return Ok(None) };
    let ours = ConnectionRole::prefix(None);
    let is_ours = |holder: &Holder| matches!(holder, Holder::Backend(backend) if backend.application.starts_with(&ours));
    if wait.holders.iter().all(is_ours) {
        return Ok(None);
    }
    let role = name.rsplit(' ').next().unwrap_or_default();
    let text = format!("{role} has been waiting for {:.0} s: {wait}", row.get::<_, f64>(3));
    let key = wait.holders.iter().map(Holder::hint).collect::<Vec<_>>().join(" ");
    Ok(Some((format!("{} {key}", wait.on), text)))
}

/// Does `work`, which begins a run, and reports what it waits for.
pub(crate) async fn told<T>(cx: &Context, plan: &Plan, work: impl Future<Output = T>) -> T {
    let look = async {
        let mut waits = Waits::of(cx, plan, None);
        tokio::time::sleep(PATIENCE).await;
        // If no session can be had, `work` reports why.
        if let Ok(session) =
            cx.target.connect(ConnectionRole::of_command("waits"), &[("statement_timeout", "2s")]).await
        {
            while waits.look(&session).await.is_ok() {
                tokio::time::sleep(EVERY).await;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        outcome = work => outcome,
        outcome = look => outcome,
    }
}
