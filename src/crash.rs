//! Instants at which a test may end the program, as if it had been killed.
//!
//! They exist in builds with the feature `failpoints` only. `FAILPOINTS='before swapped=return'` in the environment ends it
//! just before that fact is written; `after` is just after it was committed. Effects outside of transactions are named by
//! what they are.

/// Reads the environment; the outcome has to live as long as the program.
#[cfg(feature = "failpoints")]
pub(crate) fn set_up() -> impl Drop {
    fail::FailScenario::setup()
}

/// Nothing to set up.
#[cfg(not(feature = "failpoints"))]
pub(crate) struct NoScenario;

#[cfg(not(feature = "failpoints"))]
pub(crate) fn set_up() -> NoScenario {
    NoScenario
}

/// Ends the program if a test asked for that here.
#[cfg(feature = "failpoints")]
pub(crate) fn point(name: &str) {
    fail::eval(name, |_| std::process::abort());
}

#[cfg(not(feature = "failpoints"))]
pub(crate) fn point(_name: &str) {}

/// The same around a fact.
pub(crate) fn around(when: &str, fact: &crate::lifecycle::Fact) {
    if cfg!(feature = "failpoints") {
        point(&format!("{when} {}", fact.name()));
    }
}
