//! The store on SQLite. The SQL is shared with PostgreSQL and lives in `store/shared`; only [`dialect`] differs.

mod dialect;
#[path = "../../shared/mod.rs"]
mod shared;

pub use dialect::{Options, Synchronous, file_of};
pub use shared::Database;
