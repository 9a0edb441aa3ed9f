//! Watches that nobody else writes to tables that are not live: their stream can only have what the program wrote.
//!
//! The stream is read from time to time. A walsender that waits for changes is woken by every commit of the server's
//! clients, which costs them more than the changes do.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::echo::Echo;
use super::reading::rest;
use super::{FeedError, MESSAGE_PREFIX, Read};
use crate::pg::connect::Target;
use crate::replication::pgoutput::Logical;
use crate::replication::{Received, Stream, Walsender};

/// The bounds of the time between two looks, which goes by what a look takes.
const REST: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);

/// Where to look.
pub struct Watched {
    /// The stream of the tables.
    pub read: Read,
    /// What the program's own transactions begin with.
    pub mark: String,
}

/// Looks at the stream in a task; dropping it ends the task.
pub struct Watch {
    /// The number of the look that is wanted.
    wanted: watch::Sender<u64>,
    /// The last look that is over.
    done: watch::Receiver<u64>,
    error: Arc<Mutex<Option<FeedError>>>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Begins to look.
    #[must_use]
    pub fn start(target: Target, watched: Watched) -> Self {
        let (wanted, mut wish) = watch::channel(0);
        let (over, done) = watch::channel(0);
        let error: Arc<Mutex<Option<FeedError>>> = Arc::default();
        let kept = Arc::clone(&error);
        let task = tokio::spawn(async move {
            loop {
                let number = *wish.borrow_and_update();
                let begun = Instant::now();
                if let Err(error) = look(&target, &watched).await {
                    *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return;
                }
                over.send_replace(number);
                tokio::select! {
                    () = tokio::time::sleep(rest(begun.elapsed(), &REST)) => {}
                    changed = wish.changed() => if changed.is_err() { return },
                }
            }
        });
        Self { wanted, done, error, task }
    }

    /// Whether nobody else had written at the last look, which may be 30 s ago.
    ///
    /// # Errors
    /// [`FeedError::Written`], or what ended the looks.
    pub fn check(&self) -> Result<(), FeedError> {
        if self.task.is_finished() { Err(self.error()) } else { Ok(()) }
    }

    /// Looks now: whether nobody else has written so far.
    ///
    /// # Errors
    /// As [`Watch::check`].
    pub async fn look(&self) -> Result<(), FeedError> {
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            *wanted += 1;
            number = *wanted;
        });
        let mut done = self.done.clone();
        let reached = done.wait_for(|done| *done >= number).await.map(drop);
        reached.map_err(|_| self.error())
    }

    fn error(&self) -> FeedError {
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        error.take().unwrap_or(FeedError::Ended)
    }
}

/// Reads the stream of the known server up to a marker of its own.
async fn look(target: &Target, watched: &Watched) -> Result<(), FeedError> {
    let mut walsender = Walsender::connect(target, &watched.read.role, &[]).await?;
    walsender.must_be(&watched.read.server).await?;
    let marker = uuid::Uuid::new_v4().simple().to_string();
    walsender.emit(MESSAGE_PREFIX, &marker).await?;
    let mut stream = walsender.start(watched.read.start.clone()).await?;
    read_to(&mut stream, marker.as_bytes(), &watched.mark).await?;
    Ok(stream.stop().await?)
}

async fn read_to(stream: &mut Stream, marker: &[u8], mark: &str) -> Result<(), FeedError> {
    let mut echo = Echo::of(mark.to_owned());
    let mut tables = HashMap::new();
    let mut is_reached = false;
    loop {
        let Received::Message(message) = stream.next().await? else { continue };
        if echo.is_own(&message) {
            continue;
        }
        match message {
            Logical::Relation(relation) => {
                tables.insert(relation.oid, format!("{}.{}", relation.schema, relation.name));
            }
            Logical::Insert { relation, .. }
            | Logical::Update { relation, .. }
            | Logical::Delete { relation, .. } => return Err(written(&tables, relation)),
            Logical::Truncate { relations, .. } => {
                return Err(written(&tables, relations.first().copied().unwrap_or_default()));
            }
            Logical::Message(message) => is_reached |= *message.content == *marker,
            Logical::Commit { end_lsn, .. } => {
                stream.acknowledge(end_lsn);
                if is_reached {
                    return Ok(());
                }
            }
            Logical::Begin { .. } | Logical::Origin { .. } | Logical::Type { .. } => {}
        }
    }
}

fn written(tables: &HashMap<u32, String>, relation: u32) -> FeedError {
    let table = tables.get(&relation).cloned();
    FeedError::Written { table: table.unwrap_or_else(|| format!("the relation with OID {relation}")) }
}
