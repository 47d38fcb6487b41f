//! The store on PostgreSQL. The SQL is shared with SQLite and lives in `store/shared`; only [`dialect`] differs.

mod dialect;
#[path = "../../shared/mod.rs"]
mod shared;

pub use dialect::Options;
pub use shared::Database;
