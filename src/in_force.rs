//! The settings that a run goes by: the plan's, and what `set` has changed of them, which wins.
//!
//! The journal holds what was set, so that it counts for every process that executes the run. It is read when a session
//! begins, and once a second from then on.

use tokio::sync::watch;
use tokio_postgres::Client;

use crate::event::Event;
use crate::journal::requests;
use crate::plan::{Changes, SettingChange, Settings};

/// The settings of a run, in all of its sessions.
#[derive(Clone)]
pub struct InForce {
    plan: Settings,
    now: watch::Sender<Settings>,
}

impl InForce {
    /// The plan's settings, of which nothing was changed yet.
    #[must_use]
    pub fn of(plan: &Settings) -> Self {
        Self { plan: plan.clone(), now: watch::Sender::new(plan.clone()) }
    }

    /// The settings at this moment.
    #[must_use]
    pub fn now(&self) -> Settings {
        self.now.borrow().clone()
    }

    /// Receives the settings whenever they change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Settings> {
        self.now.subscribe()
    }

    /// What `changes` would change.
    #[must_use]
    pub fn changes_by(&self, changes: &Changes) -> Vec<SettingChange> {
        let before = self.now();
        let mut given = before.clone();
        for (key, value) in changes {
            let value = value.clone().or_else(|| self.plan.shown(key));
            given = given.with([(key, &value)]);
        }
        before.changes_to(&given)
    }

    /// Reads from the journal what was set; what is new, to be reported.
    ///
    /// # Errors
    /// If the server rejected the query, or the connection was lost.
    pub async fn read(&self, client: &Client, run: &str) -> Result<Vec<Event>, tokio_postgres::Error> {
        let set = requests::set(client, run).await?;
        let (before, now) = (self.now(), self.plan.with(set.iter().map(|(key, set)| (key, &set.value))));
        let changed = before.changes_to(&now).into_iter().map(|change| {
            tracing::info!(key = change.key, from = change.from, to = change.to, "setting changed");
            let who = set.get(&change.key).map_or_else(String::new, |set| set.by.clone());
            Event::SettingChanged { change, who }
        });
        let changed = changed.collect();
        self.now.send_if_modified(|settings| {
            let is_new = *settings != now;
            *settings = now;
            is_new
        });
        Ok(changed)
    }
}
