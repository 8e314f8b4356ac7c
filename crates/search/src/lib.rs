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
//! | `writing` | the file of a segment, from its first row to its place |
//! | `parts` | the file of a segment, read in parts |
//! | `merging` | the rows of several segments in the order of one |
//! | `compaction` | which segments are made one |
//! | `rewriting` | one segment in the place of others |
//! | `retention` | what is kept no longer |
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
//! | `statements` | statements as clients of a database send them: several, with parameters |
//! | `catalog` | what such clients ask about tables and settings |
//! | `asked` | such statements described and run |
//! | `calls` | the view `calls`: one row a call, whoever told of it |
//! | `answer` | results as JSON, JSON lines, CSV |
//! | `columnar` | results as Parquet and as a stream of Arrow |
//! | `engine` | [`Engine`]: everything put together, and its upkeep in the background |
//! | `paging` | searches, and their pages, which hold together while records arrive |
//! | `snippets` | passages around what matched |
//! | `typed` | results value by value, as PostgreSQL has them |
//! | `fields` | what can be asked for: fields, attributes, their values |
//! | `ending` | that a query ends once nobody waits for it |
//! | `cutting` | rows without the pages that their texts were cut out of |
//! | `running` | a query on its way: its rows, its limits |
//! | `queries` | the queries that are running: listed, and ended |
//! | `story` | single records with all their content |
//! | `stored` | the content of records as it is stored |
//! | `tail` | rows as they become durable, filtered |
//! | `check` | segments against the leaves they were made from |
//! | `leaves` | the leaves that rows are held against, or made from |
//! | `rebuilding` | segments made anew from the leaves and the content |
//! | `latest` | the latest `control` records of a door, for a state that is a fold over them |
//! | `proven` | rows of an answer against their leaves |
//!
//! This is the only crate with DataFusion. It never writes to the ledger.

mod answer;
mod asked;
mod bounds;
mod calls;
mod catalog;
mod check;
mod columnar;
mod columns;
mod compaction;
mod cutting;
mod ending;
mod engine;
mod fields;
mod indexing;
mod language;
mod latest;
mod leaves;
mod live;
mod matching;
mod merging;
mod paging;
mod parts;
mod proven;
mod pruning;
mod queries;
mod reading;
mod rebuilding;
mod retention;
mod rewriting;
mod rows;
mod running;
mod segment;
mod snippets;
mod sql;
mod statements;
mod stored;
mod story;
mod table;
mod tail;
mod terms;
#[cfg(test)]
mod tests;
mod typed;
mod view;
mod words;
mod writing;

pub use answer::{Answer, Format, UnknownFormat};
pub use asked::Described;
pub use catalog::{Catalog, SERVER_VERSION, setting};
pub use check::{SegmentFinding, check_segments};
pub use columns::content_name;
pub use engine::{Engine, EngineError, Limits, SealAt, Search};
pub use fields::KnownField;
pub use language::{Outline, QueryError, Span, Staged, span_micros};
pub use leaves::BundleReader;
pub use paging::{Page, PageError};
pub use proven::check_row;
pub use queries::{Queries, Query, QueryKind, Stopped};
pub use rebuilding::{Rebuilt, rebuild_segments};
pub use retention::{
    BEFORE_ATTRIBUTE, Because, Bounds, Due, REMOVED_ATTRIBUTE, RETENTION_DOOR, Removal, Removed, Retention,
};
pub use running::Running;
pub use sql::SqlError;
pub use statements::Statement;
pub use stored::StoredRecord;
pub use tail::{Tail, TailRow};
pub use typed::Rows;
pub use view::View;
