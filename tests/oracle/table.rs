//! A table as the clients know it: its columns' roles, and the statements that follow from them.

use std::fmt::Write as _;

use fastrand::Rng;
use sha2::{Digest as _, Sha256};
use tokio_postgres::types::Type;

use super::value::{Moment, Small, large, uuid};

/// One value as text; `None` is NULL.
pub type Value = Option<String>;
/// A row's key, column by column.
pub type Key = Vec<Value>;

/// What a column is for.
#[derive(Clone, Debug)]
pub enum Role {
    /// Key: a uuid chosen by the client.
    Uuid,
    /// Key: an identity column; the server chooses at insert.
    Identity,
    /// Key: one of the ten tenants of an owner.
    Tenant,
    /// Key: a number chosen by the client.
    Number,
    /// Says whose row it is.
    Owner,
    /// Partition key: a moment; `Until` follows it.
    At,
    /// Three hours after `At`.
    Until,
    /// Whatever is cheap to change.
    Small(Small),
    /// Stored out of line, and left unchanged by most updates.
    Large,
    /// Unique among an owner's rows, or NULL; handed over from row to row.
    Unique,
    /// One of these keys of another table (NULL where there are none).
    Parent(Vec<String>),
}

/// A column, its type, and what it is for.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name, as SQL.
    pub name: &'static str,
    /// Its type, for statements whose parameters are typed by the client.
    pub pg: Type,
    /// What it is for.
    pub role: Role,
}

/// A table, and which of its rows are a load's.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name, as SQL.
    pub name: &'static str,
    /// In the order of the statements; the key's first.
    pub columns: Vec<Column>,
    /// SQL that is true for the rows of the owners `first..=last`, and uses an index.
    pub rows_of: fn(u32, u32) -> String,
    /// The key's constraint, where clients also upsert by its name.
    pub key_constraint: Option<&'static str>,
}

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Insert,
    Upsert,
    /// Small columns; the large one stays.
    Update,
    UpdateLarge,
    Move,
    ChangeKey,
    /// Gives up the unique value.
    Release,
    /// Takes it over.
    Take,
    Delete,
    Read,
    /// `select *`: a prepared one breaks when the columns change.
    ReadStar,
}

impl Verb {
    /// Each of them.
    pub const ALL: [Self; 11] = [
        Self::Insert,
        Self::Upsert,
        Self::Update,
        Self::UpdateLarge,
        Self::Move,
        Self::ChangeKey,
        Self::Release,
        Self::Take,
        Self::Delete,
        Self::Read,
        Self::ReadStar,
    ];
}

/// A statement's text and the types of its parameters.
#[derive(Clone, Debug)]
pub struct Sql {
    pub text: String,
    pub types: Vec<Type>,
}

impl Table {
    /// The positions of the key's columns.
    pub fn key(&self) -> Vec<usize> {
        self.positions(|role| matches!(role, Role::Uuid | Role::Identity | Role::Tenant | Role::Number))
    }

    /// The position of the unique column, if there is one.
    pub fn unique(&self) -> Option<usize> {
        self.positions(|role| matches!(role, Role::Unique)).first().copied()
    }

    /// Whether the server chooses the key.
    pub fn has_identity(&self) -> bool {
        self.columns.iter().any(|column| matches!(column.role, Role::Identity))
    }

    /// The key of a row.
    pub fn key_of(&self, row: &[Value]) -> Key {
        self.key().into_iter().map(|i| row[i].clone()).collect()
    }

    /// The columns that a statement sets, in the order of its parameters.
    pub fn set_by(&self, verb: Verb) -> Vec<usize> {
        match verb {
            Verb::Insert => self.positions(|role| !matches!(role, Role::Identity)),
            Verb::Upsert => (0..self.columns.len()).collect(),
            Verb::Update => self.positions(|role| matches!(role, Role::Small(_))),
            Verb::UpdateLarge => self.positions(|role| matches!(role, Role::Large)),
            Verb::Move => self.positions(|role| matches!(role, Role::At | Role::Until)),
            Verb::ChangeKey => self.key(),
            Verb::Release | Verb::Take => self.positions(|role| matches!(role, Role::Unique)),
            Verb::Delete | Verb::Read | Verb::ReadStar => Vec::new(),
        }
    }

    /// The statement for a verb; `None` where the table has nothing for it.
    pub fn statement(&self, verb: Verb) -> Option<Sql> {
        let set = self.set_by(verb);
        let wants_columns = !matches!(verb, Verb::Delete | Verb::Read | Verb::ReadStar);
        if (wants_columns && set.is_empty()) || (verb == Verb::Upsert && self.key_constraint.is_none()) {
            return None;
        }
        let text = match verb {
            Verb::Insert => self.insert(&set) + &self.returning(),
            Verb::Upsert => self.insert(&set) + &self.on_conflict(),
            Verb::Delete => format!("delete from {} where {}", self.name, self.key_is(1)),
            Verb::Read => format!("select {} from {} where {}", self.as_texts(), self.name, self.key_is(1)),
            Verb::ReadStar => format!("select * from {} where {}", self.name, self.key_is(1)),
            _ => self.update(&set),
        };
        let keyed = !matches!(verb, Verb::Insert | Verb::Upsert);
        let key = if keyed { self.key() } else { Vec::new() };
        let types = set.into_iter().chain(key).map(|i| self.columns[i].pg.clone()).collect();
        Some(Sql { text, types })
    }

    /// The columns as a ledger keeps them: text, the large ones as a digest.
    pub fn as_texts(&self) -> String {
        let one = |column: &Column| match column.role {
            Role::Large => format!("encode(sha256(convert_to({0}::text, 'UTF8')), 'hex')", column.name),
            _ => format!("{}::text", column.name),
        };
        self.columns.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// A new row of an owner. An identity is NULL until the server has chosen it.
    pub fn random_row(&self, owner: u32, rng: &mut Rng) -> Vec<Value> {
        let every: Vec<usize> = (0..self.columns.len()).collect();
        let mut row = self.random_values(&every, owner, rng);
        for (value, column) in row.iter_mut().zip(&self.columns) {
            if matches!(column.role, Role::Identity) {
                *value = None;
            }
        }
        row
    }

    /// New values for some columns of one row.
    pub fn random_values(&self, columns: &[usize], owner: u32, rng: &mut Rng) -> Vec<Value> {
        let moment = Moment::random(rng);
        let one = |&i: &usize| match &self.columns[i].role {
            Role::Uuid => Some(uuid(owner, rng)),
            // Far above what the sequence will reach.
            Role::Identity => Some((u64::from(owner) << 32 | u64::from(rng.u32(..))).to_string()),
            Role::Tenant => Some((u64::from(owner) * 10 + rng.u64(..10)).to_string()),
            Role::Number => Some(rng.u64(..1 << 53).to_string()),
            Role::Owner => Some(owner.to_string()),
            Role::At => Some(moment.text(0)),
            Role::Until => Some(moment.text(3)),
            Role::Small(small) => small.random(rng),
            Role::Large => Some(large(rng)),
            Role::Unique => (rng.u8(..3) > 0).then(|| format!("{owner}-{}", rng.u64(..))),
            Role::Parent(keys) => rng.choice(keys).cloned(),
        };
        columns.iter().map(one).collect()
    }

    /// A value as the ledger keeps it: the large ones only as a digest.
    pub fn remembered(&self, column: usize, value: &Value) -> Value {
        match self.columns[column].role {
            Role::Large => value.as_deref().map(digest),
            _ => value.clone(),
        }
    }

    fn positions(&self, wanted: impl Fn(&Role) -> bool) -> Vec<usize> {
        (0..self.columns.len()).filter(|&i| wanted(&self.columns[i].role)).collect()
    }

    fn names(&self, columns: &[usize]) -> Vec<&'static str> {
        columns.iter().map(|&i| self.columns[i].name).collect()
    }

    fn key_is(&self, first_parameter: usize) -> String {
        let names = self.names(&self.key());
        let one = |(n, name): (usize, &&str)| format!("{name} = ${}", n + first_parameter);
        names.iter().enumerate().map(one).collect::<Vec<_>>().join(" and ")
    }

    fn insert(&self, set: &[usize]) -> String {
        let parameters: Vec<_> = (1..=set.len()).map(|n| format!("${n}")).collect();
        format!(
            "insert into {} ({}) values ({})",
            self.name,
            self.names(set).join(", "),
            parameters.join(", ")
        )
    }

    fn returning(&self) -> String {
        let key: Vec<_> = self.names(&self.key()).iter().map(|name| format!("{name}::text")).collect();
        format!(" returning {}", key.join(", "))
    }

    fn on_conflict(&self) -> String {
        let mut set = self.set_by(Verb::Update);
        set.extend(self.set_by(Verb::UpdateLarge));
        let set: Vec<_> = self.names(&set).iter().map(|name| format!("{name} = excluded.{name}")).collect();
        let constraint = self.key_constraint.unwrap_or_default();
        format!(" on conflict on constraint {constraint} do update set {}", set.join(", "))
    }

    fn update(&self, set: &[usize]) -> String {
        let mut assignments = String::new();
        for (n, name) in self.names(set).iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            let _ = write!(assignments, "{comma}{name} = ${}", n + 1);
        }
        format!("update {} set {assignments} where {}", self.name, self.key_is(set.len() + 1))
    }
}

/// The SHA-256 of a text, in hexadecimal.
pub fn digest(text: &str) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
