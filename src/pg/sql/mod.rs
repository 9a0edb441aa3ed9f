//! SQL as text: parsed only by `lexer`, and built as a [`Statement`] that knows what it does.

pub(crate) mod lexer;
pub(crate) mod script;
mod statement;

pub use statement::{LockMode, Statement, joined};
