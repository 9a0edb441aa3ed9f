//! Every type, every name, every shape of a table: under writes of every kind it goes through copy, stream,
//! verification and swap and is then what its twin is, or a check refuses it and says why.

mod twin;

mod built_in;
mod keys;
mod names;
mod own_types;
mod partitions;
mod refused;
mod shapes;
mod toast;
