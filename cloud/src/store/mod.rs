//! The database behind whole operations.
