//! A run in this session, as its phases see it.

use tokio::task::JoinSet;

use crate::context::{Context, Forward};
use crate::error::Error;
use crate::hangs_on::Published;
use crate::journal::Journal;
use crate::lane::Lane;
use crate::lane::feed::Feed;
use crate::pace::Pace;
use crate::pg::ConnectionRole;
use crate::pg::connect::Session;
use crate::phase::locks::Patience;

/// A run in this session: the journal, and what lives only as long as the session does.
pub struct Run<'a> {
    /// What the command was given.
    pub cx: &'a Context,
    /// What is to be carried out.
    pub forward: &'a Forward,
    /// The journal.
    pub journal: Journal,
    /// The lanes, once green has been made.
    pub lanes: Vec<Lane>,
    /// The stream into the targets, once there is a slot.
    pub feed: Option<Feed>,
    /// Work that goes on from one phase into the next; it ends with the session.
    pub meanwhile: JoinSet<Result<(), Error>>,
    /// How fast the run may go.
    pub pace: Pace,
    /// How the publication had each blue when the session began.
    pub published: Vec<Published>,
    /// Each blue's file when it was verified. DDL that rewrites a table is not in the stream.
    pub verified_files: Vec<u32>,
}

impl Run<'_> {
    /// The `application_name` of a connection for one role of the run.
    #[must_use]
    pub fn role(&self, role: &str) -> String {
        ConnectionRole::of_run(self.journal.run(), role).to_string()
    }

    /// How DDL outside the swap waits for locks.
    #[must_use]
    pub fn patience(&self) -> Patience<'_> {
        Patience::of(self.cx, &self.journal)
    }

    /// The stream into the targets.
    ///
    /// # Errors
    /// If it does not run.
    pub fn feed(&self) -> Result<&Feed, Error> {
        self.feed.as_ref().ok_or(Error::Bug("the stream does not run"))
    }

    /// A connection for one role of the run.
    ///
    /// # Errors
    /// If it cannot be made.
    pub async fn connect(&self, role: &str) -> Result<Session, Error> {
        Ok(self.cx.target.connect(&self.role(role), &[]).await?)
    }

    /// Comes when somebody asks to stop, or the slot can no longer be kept; with what that means.
    pub fn stopped(&self) -> impl Future<Output = Error> + use<> {
        let (interrupted, lost) = (self.cx.interrupted(), self.pace.lost());
        async move {
            tokio::select! {
                error = interrupted => error,
                why = lost => Error::Slot(why),
            }
        }
    }

    /// As many connections as the plan has workers. Their commits do not wait for the disk: an effect
    /// and its fact are one transaction, and the fact that ends a phase makes all before it durable.
    ///
    /// # Errors
    /// If one cannot be made.
    pub async fn workers(&self, role: &str) -> Result<Vec<Session>, Error> {
        let name = self.role(role);
        let connect = |_| self.cx.target.connect(&name, &[("synchronous_commit", "off")]);
        let connections = (0..self.forward.plan.settings.workers).map(connect);
        Ok(futures_util::future::try_join_all(connections).await?)
    }
}
