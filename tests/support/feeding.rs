//! A run and its feed in the test's hands, by library calls.

use projh_bluegreen::testing::journal::{self, Journal};
use projh_bluegreen::testing::lane::Lane;
use projh_bluegreen::testing::lane::feed::{Feed, FeedError, Parts, Read};
use projh_bluegreen::testing::pg::Colour;
use projh_bluegreen::testing::pg::Lsn;
use projh_bluegreen::testing::pg::connect::Target;
use projh_bluegreen::testing::replication::{Server, Start};
use projh_bluegreen::testing::throttle::Rest;
use tokio_postgres::Client;

use super::Cluster;
use super::waiting::PATIENCE;

/// Takes the only run of the database `postgres` over.
pub async fn take_over(cluster: &Cluster, client: &Client) -> (Target, Journal) {
    let target = Target::resolve(Some(&cluster.url("postgres")), &|_| None).unwrap();
    let name = journal::list(client).await.unwrap().remove(0).found.plan_name;
    let journal = Journal::lock(&target, &name, None).await.unwrap().take_over().await.unwrap();
    (target, journal)
}

/// Where a feed begins: slot and publication have one name.
pub struct From<'a> {
    pub slot: &'a str,
    pub applied: Lsn,
    pub lenient: bool,
}

/// Starts the feed of one lane; it holds still.
pub async fn start(target: &Target, journal: &Journal, lane: &Lane, from: From<'_>) -> Feed {
    try_start(target, journal, lane, from).await.unwrap()
}

/// The same, if it can be.
pub async fn try_start(
    target: &Target,
    journal: &Journal,
    lane: &Lane,
    from: From<'_>,
) -> Result<Feed, FeedError> {
    let From { slot, applied, lenient } = from;
    let (slot, publication) = (slot.to_owned(), slot.to_owned());
    let start = Start { slot, publication, from: applied, buffer_bytes: 32 << 20 };
    let server = Server::of(journal.session()).await.unwrap();
    let read = Read { role: "test stream".to_owned(), start, server };
    let lanes = vec![lane.clone()];
    let (fence, mark, rest) = (journal.fence(), String::new(), Rest::never());
    let parts = Parts { fence, source: Colour::Blue, mark, read, lanes, lenient, rest };
    Feed::start(target, parts).await
}

/// Lets the feed run until everything written so far is applied, or it has stopped.
pub async fn drain(feed: &Feed) -> Result<(), FeedError> {
    feed.free();
    let marker = feed.mark().await.unwrap();
    feed.drain_through(marker, PATIENCE).await
}
