//! What the tests, the benches and the examples use. It is not a public interface: it changes with them.
//!
//! Everything else is private to the crate, so that the compiler finds what nobody uses.

pub mod event {
    pub mod schema {
        pub use crate::event::schema::json_schema;
    }
}

pub mod hangs_on {
    pub use crate::hangs_on::{
        Around, Blocker, BlockerKind, Definition, Fingerprint, Green, Homes, KeySource, ReplicaIdentityKind,
        TableKey, blockers, read,
    };
}

pub mod journal {
    pub use crate::journal::{Journal, JournalError, list};
}

pub mod lane {
    pub use crate::lane::{Ends, Lane, working_objects};

    pub mod apply {
        pub use crate::lane::apply::ApplyError;
    }

    pub mod coalesce {
        pub use crate::lane::coalesce::{Impossible, Key};
    }

    pub mod compare {
        pub use crate::lane::compare::{Compared, Comparison, DifferenceKind, Differences, Sides};
    }

    pub mod copy {
        pub use crate::lane::copy::{CopyError, Round, chunk, dirty_keys, file};
    }

    pub mod feed {
        pub use crate::lane::feed::{Feed, FeedError, Parts, Read};
    }

    pub mod point {
        pub use crate::lane::point::Point;
    }
}

pub mod lifecycle {
    pub use crate::lifecycle::{Fact, Prepared, Span};
}

pub mod pg {
    pub use crate::pg::{Colour, Ident, LOOK_UP_BY_KEY, Lsn, QName, is_transient, list};

    pub mod activity {
        pub use crate::pg::activity::{
            ActivityError, Backend, active_clients, replay_lag, snapshots_older_than, terminate, writers,
        };
    }

    pub mod connect {
        pub use crate::pg::connect::{ConnectError, Session, Target};
    }
}

pub mod phi {
    pub use crate::phi::{
        Codec, Format, Identity, Key, KeyId, Keyring, Label, Opener, Refused, Sealer, blind_index,
        is_key_document, label, parameters, pgp, tag,
    };
}

pub mod plan {
    pub use crate::plan::{
        AddColumn, ColumnChange, NewIndex, PartitionBy, Partitions, Plan, TablePlan, Unit, json_schema,
    };

    pub mod partition {
        pub use crate::plan::partition::Leaf;
    }
}

pub mod replication {
    pub use crate::replication::{Received, ReplicationError, Server, Start, Stream, Walsender};

    pub mod pgoutput {
        pub use crate::replication::pgoutput::{Logical, OldKind, Value};
    }
}

pub mod throttle {
    pub use crate::throttle::Rest;
}
