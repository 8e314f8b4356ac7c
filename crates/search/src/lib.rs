//! # search: ask the log
//!
//! A follower of the ledger. Records are searchable as soon as they are durable: the unsealed tail is an Arrow buffer in
//! memory ([`live`](self)), everything before it lies in immutable Parquet segments, and one table joins both for
//! every query. Nothing here is the only copy of a leaf; the segments are where content lives once the
//! write-ahead log has let it go.
//!
//! | file | what is in it |
//! |---|---|
//! | `columns` | the columns of a record: name, type, and where each comes from |
//! | `rows` | entries of the ledger to Arrow rows |
//! | `live` | the unsealed tail |
//! | `segment` | Parquet segments: writing, listing, reading back |
//! | `words` | what a text is made of, and whether it has what is looked for |
//! | `terms` | where in a segment a word stands: the file of its index |
//! | `indexing` | from a segment to its terms |
//! | `pruning` | which rows of a segment can have what a filter asks for |
//! | `matching` | `match(text, 'words')` in filters and in SQL |
//! | `reading` | how segments are read: footers remembered, pages on demand |
//! | `table` | the table over both |
//! | `view` | what a caller may see: a row filter inside the table |
//! | `language` | the query language: `model:gemma* since:7d "refund" \| stats count() by 1h` |
//! | `sql` | bounded, read-only SQL; the views `records` and `calls` |
//! | `bounds` | what a statement may not be made of |
//! | `calls` | the view `calls`: one row a call, whoever told of it |
//! | `answer` | results as JSON, JSON lines, CSV |
//! | `columnar` | results as Parquet and as a stream of Arrow |
//! | `engine` | [`Engine`]: everything put together |
//! | `fields` | what can be asked for: fields, attributes, their values |
//! | `ending` | that a query ends once nobody waits for it |
//! | `cutting` | rows without the pages that their texts were cut out of |
//! | `running` | a query on its way: its rows, its limits |
//! | `queries` | the queries that are running: listed, and ended |
//! | `story` | single records with all their content |
//! | `stored` | the content of records as it is stored |
//! | `tail` | rows as they become durable, filtered |
//! | `check` | segments against the leaves they were made from |
//! | `latest` | the latest `control` records of a door, for a state that is a fold over them |
//! | `proven` | rows of an answer against their leaves |
//!
//! This is the only crate with DataFusion. It never writes to the ledger.

mod answer;
mod bounds;
mod calls;
mod check;
mod columnar;
mod columns;
mod cutting;
mod ending;
mod engine;
mod fields;
mod indexing;
mod language;
mod latest;
mod live;
mod matching;
mod proven;
mod pruning;
mod queries;
mod reading;
mod rows;
mod running;
mod segment;
mod sql;
mod stored;
mod story;
mod table;
mod tail;
mod terms;
#[cfg(test)]
mod tests;
mod view;
mod words;

pub use answer::{Answer, Format, UnknownFormat};
pub use check::{BundleReader, SegmentFinding, check_segments};
pub use columns::content_name;
pub use engine::{Engine, EngineError, Limits, SealAt, Search};
pub use fields::KnownField;
pub use language::{Outline, QueryError, Span, Staged, span_micros};
pub use proven::check_row;
pub use queries::{Queries, Query, QueryKind, Stopped};
pub use running::Running;
pub use sql::SqlError;
pub use stored::StoredRecord;
pub use tail::{Tail, TailRow};
pub use view::View;
