//! SQL as text: taken apart by `lexer` and nowhere else, and made as a [`Statement`] that knows what it does.

pub(crate) mod lexer;
mod statement;

pub use statement::{LockMode, Statement, joined};
