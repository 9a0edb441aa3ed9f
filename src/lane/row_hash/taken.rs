//! What of a row the server does not hash, but sends.

use crate::lane::{Lane, LaneKeyColumn};
use crate::pg::Ident;

/// What the server sends of each row, after a digest of its key if that is asked for: the hash of the columns that it
/// compares itself, the values of the others, and the key as text.
#[derive(Clone, Debug)]
pub(in crate::lane) struct Taken {
    /// SQL for the values, on the source and on the target; on the target, also for the blind indexes and tags that are
    /// compared with them.
    pub(in crate::lane) values: [Vec<String>; 2],
    /// SQL for the key as text.
    pub(in crate::lane) key: [Vec<String>; 2],
    /// The columns, by the target's names.
    pub(in crate::lane) columns: Vec<Ident>,
}

impl Taken {
    /// The columns of a lane that this program compares; `None` if there is none.
    pub(in crate::lane) fn of(lane: &Lane) -> Option<Self> {
        let values = |is_source: bool| {
            let one = lane.transformed().map(move |(mapped, transform)| match is_source {
                true => transform.source.taken(&mapped.source.to_string()),
                false => transform.target.taken(&mapped.target.to_string()),
            });
            let kept = lane.transformed().filter(|_| !is_source).flat_map(|(_, transform)| &transform.kept);
            one.chain(kept.map(|(name, _)| name.to_string())).collect()
        };
        let pairs = lane.key_in_target();
        let in_target = |key: &LaneKeyColumn| {
            let at = lane.key.iter().position(|of| of.name == key.name);
            at.and_then(|at| pairs.get(at))
                .map_or_else(|| key.name.to_string(), |pair| pair.column.to_string())
        };
        let key = [lane.key_as_text(|key| key.name.to_string()), lane.key_as_text(in_target)];
        let kept = lane.transformed().flat_map(|(_, transform)| &transform.kept).map(|(name, _)| name);
        let columns = lane.transformed().map(|(mapped, _)| &mapped.target).chain(kept).cloned().collect();
        lane.is_transformed().then(|| Self { values: [values(true), values(false)], key, columns })
    }

    /// What follows the hash in a select list.
    pub(in crate::lane) fn list(&self, is_source: bool) -> String {
        let side = usize::from(!is_source);
        let more = self.values[side].iter().chain(&self.key[side]).enumerate();
        more.map(|(at, sql)| format!(", {sql} AS projh_v{at}")).collect()
    }
}
