//! The driver on a small runtime made for these tests. What it logs is tested in a separate
//! program, `strangers_log.rs`: here the log of other tests would be captured too.

mod opening;
mod serving;
mod shutting;
mod turns;
