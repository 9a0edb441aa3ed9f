//! The state of a run in this session, on which the phases work.

use tokio::task::JoinSet;

use crate::context::{Context, Forward};
use crate::error::Error;
use crate::hangs_on::Published;
use crate::journal::Journal;
use crate::journal::requests::Ask;
use crate::lane::Lane;
use crate::lane::feed::{Feed, Watch};
use crate::pg::ConnectionRole;
use crate::pg::connect::Session;
use crate::phase::locks::Patience;
use crate::phi::Keyring;
use crate::plan::Settings;
use crate::watchdog::Pace;

/// A run in this session: the journal, and what only lasts as long as the session.
pub struct Run<'a> {
    /// What the command was given.
    pub cx: &'a Context,
    /// The plan to execute, and how far.
    pub forward: &'a Forward,
    /// The journal, which holds the run.
    pub journal: Journal,
    /// Whether a request to end the run stops what it does.
    pub heeds_requests: bool,
    /// The keys of what is encrypted, once they were needed: right after the swap nobody asks their provider, which may fail then.
    pub keyring: Option<Keyring>,
    /// One lane for each table, from the live one to the other, once green has been made.
    pub lanes: Vec<Lane>,
    /// The stream of the live tables, once their slot exists.
    pub feed: Option<Feed>,
    /// Watches the stream of the other tables, once there is a way back: it has nothing but what the program wrote.
    pub others: Option<Watch>,
    /// Work that continues from one phase into the next; it ends with the session.
    pub meanwhile: JoinSet<Result<(), Error>>,
    /// How fast the run may work, and whether its slot can be kept.
    pub pace: Pace,
    /// How each live table was published when the session began.
    pub published: Vec<Published>,
    /// The files of the tables when they were verified: the stream does not carry DDL that rewrites a table.
    pub verified_files: Vec<u32>,
}

impl Run<'_> {
    /// The `application_name` of a connection of the run, by what it is used for.
    #[must_use]
    pub fn role(&self, role: &str) -> String {
        ConnectionRole::of_run(self.journal.run(), role).to_string()
    }

    /// The settings at this moment.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.forward.settings.now()
    }

    /// How DDL outside of the swap waits for locks.
    #[must_use]
    pub fn patience(&self) -> Patience<'_> {
        Patience::of(self.cx, &self.journal)
    }

    /// The stream of the live tables.
    ///
    /// # Errors
    /// If it has not been started, which is a defect of the program.
    pub fn feed(&self) -> Result<&Feed, Error> {
        self.feed.as_ref().ok_or(Error::Bug("the stream does not run"))
    }

    /// Opens a connection of the run; `role` says what it is used for.
    ///
    /// # Errors
    /// If the connection cannot be opened.
    pub async fn connect(&self, role: &str) -> Result<Session, Error> {
        Ok(self.cx.target.connect(&self.role(role), &[]).await?)
    }

    /// Resolves when somebody asks to stop or to end the run, or the slot can no longer be kept, to the error that this
    /// means.
    pub fn stopped(&self) -> impl Future<Output = Error> + use<> {
        let (interrupted, lost) = (self.cx.interrupted(), self.pace.lost());
        let is_swapped = self.journal.progress().swapped.is_some();
        let heeds = self.heeds_requests;
        let asked = self
            .pace
            .asked(move |ask| heeds && (matches!(ask, Ask::Rollback { .. }) || (is_swapped && ask.is_end())));
        async move {
            tokio::select! {
                error = interrupted => error,
                request = asked => Error::Asked(request),
                why = lost => Error::Slot(why),
            }
        }
    }

    /// Opens as many connections as the plan has workers. Their commits are asynchronous: an effect and its fact are
    /// one transaction, and the commit of the fact that ends the phase flushes all that precede it.
    ///
    /// # Errors
    /// If a connection cannot be opened.
    pub async fn workers(&self, role: &str) -> Result<Vec<Session>, Error> {
        let connections = (0..self.settings().workers).map(|_| self.worker(role));
        futures_util::future::try_join_all(connections).await
    }

    /// Opens the connection of one more worker.
    ///
    /// # Errors
    /// If the connection cannot be opened.
    pub async fn worker(&self, role: &str) -> Result<Session, Error> {
        Ok(self.cx.target.connect(&self.role(role), &[("synchronous_commit", "off")]).await?)
    }
}
