//! Clients that write encrypted tables in either shape, and remember every value that they were promised.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use projh_bluegreen::testing::phi::{
    Format, Identity, Key, KeyId, Keyring, Opener, Sealer, blind_index, label,
};
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls};

use crate::support::Cluster;
use crate::support::waiting::until;

const CLIENTS: i64 = 4;

/// ssn, history and info of a row.
pub(super) type Texts = [Option<String>; 3];

/// What all clients share.
pub(super) struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    /// The rows that must be there.
    rows: Mutex<BTreeMap<i64, Texts>>,
    /// Held for reading by each statement, so that whoever holds it for writing sees a moment without any.
    turn: RwLock<()>,
    pub(super) keyring: Mutex<Keyring>,
    /// The key that clients encrypt with.
    pub(super) key: Mutex<KeyId>,
    index: Arc<Key>,
}

pub(super) struct Writers {
    pub(super) shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// The columns of a row as each table has them: in plaintext, and encrypted.
const SHAPES: [[&str; 4]; 2] = [
    ["ssn", "history", "info", ""],
    ["ssn_encrypted", "history_encrypted", "info_encrypted", "ssn_blind_index"],
];

impl Writers {
    pub(super) fn start(
        cluster: &Cluster,
        rows: BTreeMap<i64, Texts>,
        keyring: &Keyring,
        (key, index): (KeyId, KeyId),
    ) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            rows: Mutex::new(rows),
            turn: RwLock::new(()),
            keyring: Mutex::new(keyring.clone()),
            key: Mutex::new(key),
            index: Arc::clone(keyring.get(index).unwrap()),
        });
        let config = Config::from_str(&cluster.url("postgres")).unwrap();
        let start = |me| tokio::spawn(write(config.clone(), me, Arc::clone(&shared)));
        let tasks = (0..CLIENTS).map(start).collect();
        Self { shared, tasks }
    }

    /// Waits until the clients have had so many more answers.
    pub(super) async fn more(&self, number: u64) {
        let enough = self.shared.answered.load(Ordering::Relaxed) + number;
        until("clients go on", async || {
            assert!(self.tasks.iter().all(|task| !task.is_finished()), "a client has failed");
            self.shared.answered.load(Ordering::Relaxed) >= enough
        })
        .await;
    }

    /// Every row is what its last statement made of it, at a moment without statements.
    pub(super) async fn compare(&self, client: &Client, is_encrypted: bool) {
        let _alone = self.shared.turn.write().await;
        let expected = self.shared.rows.lock().unwrap().clone();
        let found = read(client, &self.shared, is_encrypted).await;
        let differing = expected.iter().filter(|(id, texts)| found.get(id) != Some(*texts)).take(3);
        let differing: Vec<_> = differing.map(|(id, texts)| (id, texts, found.get(id))).collect();
        assert!(differing.is_empty(), "{differing:?}");
        assert_eq!(found.len(), expected.len());
    }

    pub(super) async fn stop(self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

async fn read(client: &Client, shared: &Shared, is_encrypted: bool) -> BTreeMap<i64, Texts> {
    let [names, sealed] = SHAPES;
    if !is_encrypted {
        let sql = format!("select id, {}, {}, {}::text from app.visits", names[0], names[1], names[2]);
        let rows = client.query(&sql, &[]).await.unwrap();
        return rows.iter().map(|row| (row.get(0), [row.get(1), row.get(2), row.get(3)])).collect();
    }
    let sql = format!("select id, {} from app.visits", sealed.join(", "));
    let mut opener = Opener::new(&shared.keyring.lock().unwrap());
    let open = |id: i64, column: &str, value: Option<Vec<u8>>, opener: &mut Opener| {
        let mut identity = Identity::of_column("app.visits", column);
        let mut text = Vec::new();
        opener.open(&value?, identity.of_row([id.to_string().as_bytes()]), &mut text).unwrap();
        Some(String::from_utf8(text).unwrap())
    };
    let of_row = |row: tokio_postgres::Row| {
        let id = row.get(0);
        let texts = [0, 1, 2].map(|at| open(id, sealed[at], row.get(at + 1), &mut opener));
        let index = texts[0].as_ref().map(|ssn| blind_index(&shared.index, ssn.as_bytes()).unwrap().to_vec());
        assert_eq!(row.get::<_, Option<Vec<u8>>>(4), index, "the blind index of {id}");
        assert!(
            row.get::<_, Option<Vec<u8>>>(3)
                .is_none_or(|value| label(&value).unwrap().format == Format::AesGcm)
        );
        (id, texts)
    };
    client.query(&sql, &[]).await.unwrap().into_iter().map(of_row).collect()
}

/// A statement of a client: the columns that it sets, and its SQL with these columns' names and parameters.
struct Change {
    sets: Vec<usize>,
    id: i64,
    texts: Texts,
    is_insert: bool,
    /// The row that it replaces.
    old: i64,
}

impl Change {
    /// The statement for one shape, and its values.
    fn statement(&self, is_encrypted: bool, shared: &Shared) -> (String, Vec<Option<Vec<u8>>>) {
        let names = SHAPES[usize::from(is_encrypted)];
        let key = *shared.key.lock().unwrap();
        let keyring = shared.keyring.lock().unwrap().clone();
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for at in &self.sets {
            let text = self.texts[*at].as_ref().map(|text| text.as_bytes().to_vec());
            let format = if *at == 2 { Format::AesGcm } else { Format::Pgp };
            let seal = |text: &Vec<u8>| {
                let (mut out, mut identity) = (Vec::new(), Identity::of_column("app.visits", names[*at]));
                let identity = identity.of_row([self.id.to_string().as_bytes()]);
                Sealer::new(format, keyring.get(key).unwrap()).seal(text, identity, &mut out).unwrap();
                out
            };
            values.push(if is_encrypted { text.as_ref().map(seal) } else { text.clone() });
            columns.push((names[*at], if is_encrypted { "bytea" } else { "text" }));
            if is_encrypted && *at == 0 {
                values.push(text.map(|text| blind_index(&shared.index, &text).unwrap().to_vec()));
                columns.push((names[3], "bytea"));
            }
        }
        // Text goes as bytes, too, so that one type does for all parameters.
        let value = |(at, (name, kind)): (usize, &(&str, &str))| match (*kind, *name) {
            ("bytea", _) => format!("${}::bytea", at + 1),
            (_, "info") => format!("convert_from(${}, 'UTF8')::jsonb", at + 1),
            _ => format!("convert_from(${}, 'UTF8')", at + 1),
        };
        let exprs: Vec<String> = columns.iter().enumerate().map(value).collect();
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let (id, old) = (self.id, self.old);
        let sql = if self.is_insert {
            let month = 1 + id % 6;
            format!(
                "insert into app.visits (id, at, {}) values ({id}, '2026-0{month}-03', {})",
                names.join(", "),
                exprs.join(", ")
            )
        } else {
            let sets = names.iter().zip(&exprs).map(|(name, value)| format!("{name} = {value}"));
            let sets: Vec<String> = sets.chain([format!("id = {id}")]).collect();
            format!("update app.visits set {} where id = {old}", sets.join(", "))
        };
        (sql, values)
    }
}

impl Change {
    /// What the client was promised.
    fn take_in(self, shared: &Shared) {
        let mut rows = shared.rows.lock().unwrap();
        if !self.is_insert {
            rows.remove(&self.old);
        }
        rows.insert(self.id, self.texts);
    }
}

fn changed(me: i64, next: &mut i64, shared: &Shared) -> Option<Change> {
    let rows = shared.rows.lock().unwrap();
    let mine: Vec<i64> = rows.keys().copied().filter(|id| id % CLIENTS == me).collect();
    let old = mine[fastrand::usize(..mine.len())];
    let texts = rows[&old].clone();
    let some = || fastrand::u8(..6).checked_sub(1).map(|n| format!("text {n} of {}", fastrand::u32(..)));
    let info = || {
        fastrand::u8(..5)
            .checked_sub(1)
            .map(|n| format!("{{\"n\": {n}, \"note\": \"ä {}\"}}", fastrand::u32(..)))
    };
    let update = |sets: Vec<usize>, texts: Texts| Change { sets, id: old, texts, is_insert: false, old };
    let [ssn, history, kept] = texts;
    Some(match fastrand::u8(..10) {
        0..=2 => {
            *next += CLIENTS;
            let long = some().map(|text| text.repeat(if *next % 3 == 0 { 500 } else { 1 }));
            Change { sets: vec![0, 1, 2], id: *next, texts: [some(), long, info()], is_insert: true, old: 0 }
        }
        3 | 4 => update(vec![0], [some(), history, kept]),
        5 => update(vec![1], [ssn, some(), kept]),
        6 => update(vec![2], [ssn, history, info()]),
        7 => update(vec![0, 2], [Some(String::new()), history, info()]),
        8 => {
            // The key changes, and with it what the value is bound to.
            *next += CLIENTS;
            Change { id: *next, ..update(vec![2], [ssn, history, kept]) }
        }
        _ => return None,
    })
}

async fn write(config: Config, me: i64, shared: Arc<Shared>) {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    let (mut is_encrypted, mut next) = (false, 1_000_000 + me);
    while !shared.stop.load(Ordering::Relaxed) {
        let turn = shared.turn.read().await;
        let Some(change) = changed(me, &mut next, &shared) else {
            // In both shapes: to another partition, or gone.
            let old = *shared
                .rows
                .lock()
                .unwrap()
                .keys()
                .filter(|id| *id % CLIENTS == me)
                .min_by_key(|_| fastrand::u32(..))
                .unwrap();
            if fastrand::bool() {
                let month = fastrand::u8(1..8);
                let sql =
                    format!("update app.visits set at = '2026-0{month}-07', n = n + 1 where id = {old}");
                assert_eq!(client.execute(&sql, &[]).await.unwrap(), 1);
            } else {
                assert_eq!(
                    client.execute(&format!("delete from app.visits where id = {old}"), &[]).await.unwrap(),
                    1
                );
                shared.rows.lock().unwrap().remove(&old);
            }
            continue;
        };
        loop {
            let (sql, values) = change.statement(is_encrypted, &shared);
            let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
            match client.execute(&sql, &parameters).await {
                Ok(count) => break assert_eq!(count, 1, "{sql}"),
                // Undefined column: the tables were exchanged.
                Err(error) if error.code().is_some_and(|code| code.code() == "42703") => {
                    is_encrypted = !is_encrypted;
                }
                Err(error) => panic!("{sql}: {error:?}"),
            }
        }
        change.take_in(&shared);
        drop(turn);
        shared.answered.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}
