//! One file a subcommand.

pub(crate) mod check;
pub(crate) mod control;
pub(crate) mod demo;
pub(crate) mod forward;
pub(crate) mod import;
pub(crate) mod ingest;
pub(crate) mod key;
pub(crate) mod login;
pub(crate) mod policy;
pub(crate) mod prove;
pub(crate) mod queries;
pub(crate) mod rebuild;
pub(crate) mod route;
pub(crate) mod scripted_model;
pub(crate) mod search;
pub(crate) mod searches;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod sql;
pub(crate) mod tail;
pub(crate) mod verify;
