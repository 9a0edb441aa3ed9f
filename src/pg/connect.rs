//! Connections (being written).
