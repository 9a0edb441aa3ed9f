//! What an outcome means for the run, and for its tables.

use crate::error::Error;
use crate::lost;
use crate::pg::Colour;
use crate::phase;
use crate::run::Run;

/// What the outcome means for the run: it goes on without a slot that cannot be kept, as far as it can; and if the tables
/// do not follow each other any more, that is recorded.
pub(super) async fn concluded(run: &mut Run<'_>, outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Ok(()) => Ok(()),
        Err(Error::Slot(why)) => Err(without_slot(run, why).await?),
        Err(error) => {
            let error = phase::way_back::broken(run, error).await?;
            Err(about_live_tables(run, error).await)
        }
    }
}

async fn without_slot(run: &mut Run<'_>, why: String) -> Result<Error, Error> {
    let (live, is_reversible) = {
        let progress = run.journal.progress();
        (progress.live(), progress.is_reversible())
    };
    match live {
        Colour::Blue => phase::give_up(run, why).await,
        Colour::Green if is_reversible => phase::lose_way_back(run, why).await,
        Colour::Green => Ok(Error::Slot(why)),
    }
}

/// The error; or, if it is that live tables are gone, what is left of them.
async fn about_live_tables(run: &Run<'_>, error: Error) -> Error {
    let may_be = |error: &Error| {
        matches!(
            error,
            Error::SourceChanged { .. } | Error::NotStreamed { .. } | Error::Catalog(_) | Error::Feed(_)
        )
    };
    let is_about_tables = match &error {
        Error::WayBroken(error) => may_be(error),
        error => may_be(error),
    };
    if !is_about_tables || error.is_transient() {
        return error;
    }
    let progress = run.journal.progress().clone();
    match lost::find(run.journal.session(), &progress).await {
        Ok(live) if !live.lost.is_empty() => {
            phase::last_copy::error(&progress, run.journal.run(), &live.lost, false)
        }
        _ => error,
    }
}
