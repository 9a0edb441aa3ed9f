//! What a run relies on in its tables, checked wherever it matters, and again under the swap's lock: their definition,
//! that nothing new depends on them, and that the stream carries their changes.
//!
//! Invariant: what green was designed from and what is checked here are of one moment. The fingerprint is taken before
//! the definition is read, and compared again under a lock that keeps DDL away while green is made.

use tokio_postgres::Client;

use crate::error::Error;
use crate::finding::Finding;
use crate::hangs_on::{
    self, About, Around, Blocker, BlockerKind, Change, Fingerprint, Green, How, Published, ReplicaIdentity,
    ReplicaIdentityKind,
};
use crate::lifecycle::{LaneDesign, Prepared};
use crate::pg::{Colour, QName, RunObjects};
use crate::run::Run;

/// Checks that the tables are still what green was made for, or what the last swap left, and that the stream carries every
/// change to the live ones.
///
/// # Errors
/// [`Error::SourceChanged`] or [`Error::NotStreamed`] if not; or if the catalog cannot be read.
pub(super) async fn check_fingerprints(run: &Run<'_>, client: &Client) -> Result<(), Error> {
    match compare_fingerprints(run, client).await {
        // A query that `partitions` commits in the midst of sees half of that: the server's functions see what is new, and
        // the query's snapshot what was. What was changed is there when it is asked again.
        Err(Error::SourceChanged { .. }) => compare_fingerprints(run, client).await,
        outcome => outcome,
    }
}

async fn compare_fingerprints(run: &Run<'_>, client: &Client) -> Result<(), Error> {
    let prepared = super::prepared(run)?;
    let (live, swaps, arrived, greens) = {
        let progress = run.journal.progress();
        (progress.live(), progress.swaps, progress.arrived.clone(), progress.greens.clone())
    };
    for (number, design) in prepared.lanes.iter().enumerate() {
        let known = match &arrived {
            Some(arrived) => arrived.fingerprints.get(number),
            None => Some(&design.fingerprint).filter(|_| swaps == 0),
        };
        let published = run.published.get(number);
        // The table that is not live, as the last swap left it or the run made it.
        let other = design.green.home_of(live.other());
        let other_known = match &arrived {
            Some(arrived) => arrived.left.get(number),
            None => greens.get(number).filter(|_| swaps == 0),
        };
        let since = async |whose: (Colour, &QName), known: Option<&Fingerprint>| match known {
            Some(known) => changes(client, design, whose, known, swaps > 0).await,
            None => Ok(Vec::new()),
        };
        // Our sessions have the catalog's search path, so these queries may be sent in any order; all at once, because
        // clients wait meanwhile.
        let (hanging, mut what, _, users, (), of_other) = tokio::try_join!(
            async {
                let mut hanging = hanging(client, &prepared, design).await?;
                hanging.retain(|blocker| swaps == 0 || is_missed_by_fingerprint(blocker.kind));
                Ok(hanging)
            },
            since((live, &design.table), known),
            is_streamed(client, &prepared, design, live, published),
            async { Ok(hangs_on::users_of_dropped(client, &design.green).await?) },
            async { if swaps == 0 { is_ours_alone(client, &design.green).await } else { Ok(()) } },
            since((live.other(), &other), other_known),
        )?;
        what.extend(users);
        what.extend(hanging.iter().map(|blocker| format!("{}, {}, is new", blocker.object, blocker.kind)));
        if !what.is_empty() {
            return Err(Error::SourceChanged { table: design.table.plain(), what });
        }
        if !of_other.is_empty() {
            return Err(Error::SourceChanged { table: other.plain(), what: of_other });
        }
    }
    Ok(())
}

/// Checks that nobody has put anything on green, or dropped it, before clients use it.
async fn is_ours_alone(client: &Client, green: &Green) -> Result<(), Error> {
    let what = match hangs_on::strangers(client, green).await {
        Err(hangs_on::Error::NoTable(table)) => vec![format!("no table is called {table} any more")],
        what => what?,
    };
    if what.is_empty() { Ok(()) } else { Err(Error::SourceChanged { table: green.at_home().plain(), what }) }
}

/// How the publication covers each table when a session begins, by lane.
///
/// # Errors
/// If the stream does not carry every change; or if the catalog cannot be read.
pub(super) async fn published(run: &Run<'_>, prepared: &Prepared) -> Result<Vec<Published>, Error> {
    let (client, live) = (run.journal.session(), run.journal.progress().live());
    let mut published = Vec::new();
    for design in &prepared.lanes {
        published.push(is_streamed(client, prepared, design, live, None).await?);
    }
    Ok(published)
}

/// What changed since green was designed. To be called while the tables are locked against DDL.
///
/// # Errors
/// If an object that cannot be carried over depends on a table; or if the catalog cannot be read.
pub(super) async fn changes_while_designed(
    client: &Client,
    prepared: &Prepared,
) -> Result<Vec<String>, Error> {
    let mut what = Vec::new();
    let mut findings = Vec::new();
    for design in &prepared.lanes {
        what.extend(
            changes(client, design, (Colour::Blue, &design.table), &design.fingerprint, false).await?,
        );
        match hanging(client, prepared, design).await {
            Err(Error::Catalog(hangs_on::Error::NoTable(_))) => {}
            blockers => findings.extend(Finding::of_blockers(&design.table, blockers?)),
        }
        let before = &design.green.blue.table;
        let Ok(now) = hangs_on::read_table(client, &design.table).await else {
            continue;
        };
        if now.oid != before.oid {
            what.push(format!("{} was dropped and created again", design.table.plain()));
        }
        if ![&before.replica_identity, &replica_identity(design)].contains(&&now.replica_identity) {
            what.push(format!("the replica identity of {} has changed", design.table.plain()));
        }
    }
    if findings.is_empty() { Ok(what) } else { Err(Error::Refused(findings)) }
}

/// What the fingerprint of a table that has arrived does not have: it would stay with that table, or reach the other one.
fn is_missed_by_fingerprint(kind: BlockerKind) -> bool {
    !matches!(
        kind,
        // It has these.
        BlockerKind::View
            | BlockerKind::Function
            | BlockerKind::NotPermanent
            | BlockerKind::NotPlainTable
            | BlockerKind::TriggerState
            | BlockerKind::ConstraintState
            // These harm neither table after the swap.
            | BlockerKind::InvalidIndex
            | BlockerKind::LeafSchemaPublication
            | BlockerKind::Publication
            | BlockerKind::PartitionIdentity
            | BlockerKind::RowTypeName
    )
}

/// What differs from a fingerprint of a lane's table. `settles`: foreign keys may have been validated, merged and
/// given their comments since. Green may get new partitions.
async fn changes(
    client: &Client,
    design: &LaneDesign,
    (whose, table): (Colour, &QName),
    known: &Fingerprint,
    settles: bool,
) -> Result<Vec<String>, Error> {
    let now = match Fingerprint::at_a_glance(client, table).await {
        Err(hangs_on::Error::NoTable(table)) => {
            return Ok(vec![format!("no table is called {table} any more")]);
        }
        now => now?,
    };
    // Somebody may have replaced a view by the same one.
    let now = if known.may_be_printed_alike(&now) { Fingerprint::of(client, table).await? } else { now };
    // Partitions have the table's foreign keys until they are merged into their parent's.
    let derived = || design.green.blue.partitions.iter().flat_map(|leaf| &leaf.derived_keys);
    let is_own = |name: &str| {
        let own = design.green.blue.foreign_keys.iter().map(|key| &key.name);
        own.chain(derived().map(|key| &key.name)).any(|own| own.as_str() == name)
    };
    // The comment on a foreign key that is merged is the one that it had.
    let is_as_before = |what: &str| now.hash(what) == design.fingerprint.hash(what);
    let mut changes = known.changes(&now);
    changes.retain(|change| match change.about() {
        About::Constraint(name) => !(settles && is_own(name)),
        About::Validity => !settles,
        About::CommentOnConstraint => !(settles && is_as_before(change.what())),
        // It is a new constraint, too.
        // So it is under the name that only a partition had for it, before it was merged.
        About::OwnKey(name) => {
            let is_merged = settles && derived().any(|key| key.name != key.of && key.name.as_str() == name);
            change.how == How::Changed || change.how == How::Dropped && !is_merged
        }
        // Until the swap the stream's own check looks at it.
        About::ReplicaIdentity => settles && change.how != How::New,
        // Green's are made ahead of time. One that is attached with rows is found when the tables are compared.
        About::Partition => whose == Colour::Blue || change.how != How::New,
        About::Other => true,
    });
    Ok(changes.iter().map(Change::to_string).collect())
}

async fn hanging(client: &Client, prepared: &Prepared, design: &LaneDesign) -> Result<Vec<Blocker>, Error> {
    let around = Around {
        leaves: design.green.partition.as_ref().map(|partition| &partition.schema),
        green: Some(&RunObjects::of_slot(&prepared.slot).schema(Colour::Green, 0)),
        publication: Some(&prepared.slot),
    };
    match hangs_on::blockers(client, &design.table, &around).await {
        // The fingerprint reports it.
        Err(hangs_on::Error::NoTable(_)) => Ok(Vec::new()),
        blockers => Ok(blockers?),
    }
}

/// Checks that the stream carries the table. Changes made while it did not are lost to the run, even if the publication
/// is restored.
async fn is_streamed(
    client: &Client,
    prepared: &Prepared,
    design: &LaneDesign,
    live: Colour,
    before: Option<&Published>,
) -> Result<Published, Error> {
    let publication = RunObjects::of_slot(&prepared.slot).slot(live);
    let now = match hangs_on::published(client, &design.table, &publication, prepared.via_root(live)).await {
        Err(hangs_on::Error::NoTable(table)) => {
            return Err(Error::SourceChanged {
                what: vec![format!("no table is called {table} any more")],
                table,
            });
        }
        now => now?,
    };
    let mut what = now.lacks.clone();
    // Of green it is its partitions' that counts.
    if live == Colour::Blue && now.replica_identity != replica_identity(design) {
        what.push("its replica identity has changed".to_owned());
    }
    if what.is_empty() && before.is_some_and(|before| before.version != now.version) {
        what.push(format!("publication {publication} was altered"));
    }
    if what.is_empty() { Ok(now) } else { Err(Error::NotStreamed { table: design.table.plain(), what }) }
}

/// The replica identity that prepare left the table with.
fn replica_identity(design: &LaneDesign) -> ReplicaIdentity {
    match design.replica_identity_before {
        Some(_) => ReplicaIdentity { kind: ReplicaIdentityKind::Full, index: None },
        None => design.green.blue.table.replica_identity.clone(),
    }
}
