//! What hangs on a table: what it adds to the swap, and how soon all of it is valid again.

use serde_json::json;

use crate::figure::Figure;
use crate::live::{Felt, ROWS, felt};
use crate::program;
use crate::stage::{Stage, plain_plan};

/// Ten views, ten foreign keys that reference the table, ten triggers and ten policies.
const DEPENDENTS: &str = "
create function seen() returns trigger language plpgsql as 'begin return new; end';
alter table visits enable row level security;
do $$ begin for i in 1..10 loop
  execute format('create view v_%s as select visit_id, status, fee from visits where provider_id %% 10 = %s', i, i - 1);
  execute format('create table child_%s (id bigint primary key, visit_id bigint references visits)', i);
  execute format('insert into child_%1$s select visit_id, visit_id from visits where visit_id %% 100 = %1$s', i);
  execute format('create trigger t_%s after update on visits for each row when (new.fee < 0) execute function seen()', i);
  execute format('create policy p_%s on visits for select using (provider_id %% 10 = %s)', i, i - 1);
end loop; end $$;
analyze";

/// A child of a million rows.
const CHILD: &str = "
create table child (id bigint primary key, visit_id bigint not null constraint of_visit references visits);
insert into child select n, 1 + n % 100000 from generate_series(1, 1000000) n";

/// The told stall of a swap with 40 dependents against that of the same swap without; and what 16 clients felt of it.
pub fn stall(stage: &Stage, swaps: usize) -> Vec<Figure> {
    let (mut clients, mut without) = (Felt::default(), Felt::default());
    let pairs: Vec<(f64, f64)> =
        (0..swaps).map(|_| (swap(stage, DEPENDENTS, &mut clients), swap(stage, "", &mut without))).collect();
    let felt = (clients.percentile(0.99), without.percentile(0.99));
    let failed = Figure::of("failed statements", "", "0", &[(clients.failed, without.failed)]);
    vec![
        Figure::of("told stall of a swap with 40 dependents / without", "ms", ">= 0.67x", &pairs),
        Figure::of("stall p99 of 16 clients with 40 dependents / without", "ms", "< 60 ms", &[felt]),
        Figure { ratio: 1.0, ..failed },
    ]
}

fn swap(stage: &Stage, dependents: &str, clients: &mut Felt) -> f64 {
    let mut stall = 0.0;
    clients.add(&felt(stage, dependents, || {
        let told = program::execute(stage, "live", &plain_plan(), &["--until", "settle"]);
        let swapped = told.events.iter().find(|(_, event)| event["type"] == "swapped").unwrap();
        stall = swapped.1["stall_ms"].as_f64().unwrap();
        swapped.0
    }));
    stall
}

/// From the swap until the foreign key of 1,000,000 child rows is valid, against validating it by hand.
pub fn validate(stage: &Stage, pairs: usize) -> Vec<Figure> {
    let settled = json!({"type": "phase_done", "phase": "settle"});
    let pairs: Vec<(f64, f64)> = (0..pairs)
        .map(|_| {
            stage.fresh("live", ROWS, false);
            stage.cluster.psql("live", CHILD);
            stage.cluster.psql("live", "vacuum analyze child");
            let told = program::execute(stage, "live", &plain_plan(), &["--until", "settle"]);
            let ours = told.seconds(&json!({"type": "swapped"}), &settled);
            let again = "alter table child drop constraint of_visit,
                add constraint of_visit foreign key (visit_id) references visits not valid";
            stage.cluster.psql("live", again);
            (ours, stage.seconds("live", &["alter table child validate constraint of_visit"]))
        })
        .collect();
    vec![Figure::of("swap to a valid key of 1,000,000 child rows / by hand", "s", ">= 1.0x", &pairs)]
}
