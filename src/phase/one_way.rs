//! What a plan accepts to lose in a rollback, after it: blue never got what clients wrote to a `one_way` column while green was
//! live, or a value that `back` gives as another one. Green, which follows blue again, gets blue's values.

use tokio_postgres::Client;

use super::prepared;
use crate::error::{Doing, Error};
use crate::event::Event;
use crate::lane::feed;
use crate::pg::{AS_OPERATOR, Colour};
use crate::run::Run;

const DOING: &str = "giving green the values of blue again";

/// Gives green blue's values again, if a swap was undone. The feed holds still meanwhile: nobody else writes to green, and what
/// changes in blue is applied after it.
pub(super) async fn give_again(run: &Run<'_>) -> Result<(), Error> {
    let is_undone = {
        let progress = run.journal.progress();
        progress.swaps > 0 && progress.live() == Colour::Blue
    };
    let lanes: Vec<_> = run.lanes.iter().filter_map(|lane| Some((lane, lane.give_again()?))).collect();
    if !is_undone || lanes.is_empty() {
        return Ok(());
    }
    let client = run.connect("one way").await?;
    let begin = feed::begin(prepared(run)?.mark);
    for (lane, sql) in lanes {
        let begin = format!("{begin}; {}", lane.acting);
        let rows = super::verify::while_it_holds(run, update(&client, &begin, &sql)).await?;
        if rows > 0 {
            let text = format!(
                "{rows} row{} of {} have blue's values again: clients had written others while green was live, to columns that are \
                 `one_way` or whose `back` does not tell them apart, and the rollback gave them up",
                if rows == 1 { "" } else { "s" },
                lane.table.plain()
            );
            run.cx.tell(&Event::Notice { text });
        }
    }
    Ok(())
}

async fn update(client: &Client, begin: &str, sql: &str) -> Result<u64, Error> {
    client.batch_execute(begin).await.doing(DOING)?;
    let rows = client.execute(sql, &[]).await.doing(DOING)?;
    client.batch_execute(&format!("{AS_OPERATOR}; COMMIT")).await.doing(DOING)?;
    Ok(rows)
}
