//! The mistakes that people make, with the program that they use: each is told with what is wrong, where,
//! and what to do next, and changes nothing.

mod command_line;
mod connecting;
mod disk;
mod kinds;
mod pooler;
mod server_gone;
