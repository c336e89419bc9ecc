//! The driver on a runtime of its own, made for these tests. What it logs is looked at in a program of
//! its own, `strangers_log.rs`: who else logs would be heard.

mod opening;
mod serving;
mod shutting;
mod turns;
