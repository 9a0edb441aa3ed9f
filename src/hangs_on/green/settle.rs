//! What remains after the swap, without a long lock: foreign keys become valid, and in the end blue is
//! dropped.

use serde::{Deserialize, Serialize};

use super::{Green, Homes};
use crate::hangs_on::privileges;
use crate::hangs_on::table::comment_on;

/// One step, one statement, one transaction (with the fact that it is done).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// For people.
    pub what: String,
    /// The statement.
    pub sql: String,
}

impl Step {
    fn new(what: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { what: what.into(), sql: sql.into() }
    }
}

impl Green {
    /// After the swap, in this order.
    #[must_use]
    pub fn settle(&self) -> Vec<Step> {
        let live = self.live();
        let holders = self.foreign_key_holders();
        let mut steps = Vec::new();
        for key in &self.blue.foreign_keys {
            if key.validated {
                steps.extend(holders.iter().map(|relation| {
                    let what = format!("validate foreign key {} on {}", key.name, relation.plain());
                    Step::new(what, key.validate(relation))
                }));
                if self.partition.is_some() {
                    let add = key.add(live, &self.green_names(&key.columns), true);
                    steps.push(Step::new(
                        format!("merge foreign key {} into {}", key.name, live.plain()),
                        add,
                    ));
                }
            }
            if key.validated || self.partition.is_none() {
                let what = format!("CONSTRAINT {} ON {live}", key.name);
                let comment = comment_on(&what, key.comment.as_ref());
                steps.extend(
                    comment.map(|sql| Step::new(format!("comment on foreign key {}", key.name), sql)),
                );
            }
        }
        steps
    }

    /// Removes blue after the swap.
    #[must_use]
    pub fn drop_blue(&self) -> String {
        format!("DROP TABLE IF EXISTS {}", self.blue_at_home())
    }
}

impl Homes {
    /// Makes the two private schemas: nobody but their owner may look into them.
    #[must_use]
    pub fn create(&self) -> Vec<String> {
        [&self.blue, &self.green]
            .into_iter()
            .flat_map(|home| [format!("CREATE SCHEMA {home}"), privileges::seal_schema(home)])
            .collect()
    }

    /// Removes the schemas, which are empty.
    #[must_use]
    pub fn drop(&self) -> Vec<String> {
        [&self.blue, &self.green].into_iter().map(|home| format!("DROP SCHEMA IF EXISTS {home}")).collect()
    }
}
