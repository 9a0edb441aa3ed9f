//! SQL as text: taken apart here, and nowhere else.

pub(crate) mod lexer;
