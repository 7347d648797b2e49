//! Commands of `waybill` for users and operators, run as separate processes.

mod doctor;
mod downloads;
mod uploads;
mod watching;
