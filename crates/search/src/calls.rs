//! The view `calls`: one row a call, whoever told of it and how often.
//!
//! Several producers tell of one call: the gateway that it went through, a span, log records, an import. One record goes first: the
//! gateway's own request, else the earliest of the others in the log, requests before responses. When, where and in which trace
//! a call was is what that record says; what it leaves out is taken from the others, the earliest first.
//!
//! Two halves make up the view, so that calls that only the gateway told of cost hardly more than a join of request and response:
//!
//! 1. **own**: requests of the gateway, of which the log holds one a call, as it holds one response. The other tellings are put
//!    together beside them.
//! 2. **others**: everything of the calls that the gateway did not ask for.
//!
//! In both, what is put together is grouped by the *keys* of the record that goes first, its call and its time among them. A filter on a
//! key goes through the groups and the joins to the scan of that record; the other side of each join streams against what is left
//! of it. One on the call goes to every scan. So what is held in memory grows with the calls that a filter on keys leaves.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// The records that tell of a call.
const KINDS: &str = "('inference.request', 'inference.response')";

/// Which records tell what a column says.
#[derive(Clone, Copy)]
enum By {
    Any,
    Requests,
    Responses,
    /// Those that name somebody: an actor is taken as a whole, never its name from one record and its address from another.
    WhoNamesSomebody,
}

/// What a column says where records differ.
#[derive(Clone, Copy)]
enum Says {
    /// What the record that goes first says. Filters on it pass over segments.
    Key,
    /// What the gateway says, if it is one of its own calls; else the first that says anything.
    Own(By),
    /// What the first says that says anything, the gateway before all others.
    First(By),
}

use Says::{First, Key, Own};

/// Name in `calls`, name in `records`, and whose word counts.
const COLUMNS: [(&str, &str, Says); 38] = [
    ("call_id", "call_id", Key),
    ("time", "time", Key),
    ("actor_id", "actor_id", Own(By::WhoNamesSomebody)),
    ("actor_type", "actor_type", Own(By::WhoNamesSomebody)),
    ("actor_auth", "actor_auth", Own(By::WhoNamesSomebody)),
    ("actor_ip", "actor_ip", Own(By::WhoNamesSomebody)),
    ("service", "service", Key),
    ("environment", "environment", Key),
    ("host", "host", Key),
    ("operation", "operation", Own(By::Any)),
    ("model", "model", Own(By::Any)),
    ("response_model", "response_model", First(By::Responses)),
    ("upstream", "upstream", Own(By::Any)),
    ("stream", "stream", First(By::Requests)),
    ("temperature", "temperature", First(By::Requests)),
    ("top_p", "top_p", First(By::Requests)),
    ("max_tokens", "max_tokens", First(By::Requests)),
    ("decision", "decision", Own(By::Requests)),
    ("reasons", "reasons", Own(By::Requests)),
    ("outcome", "outcome", First(By::Responses)),
    ("status", "status", First(By::Responses)),
    ("error_type", "error_type", First(By::Responses)),
    ("finish_reasons", "finish_reasons", First(By::Responses)),
    ("input_tokens", "input_tokens", First(By::Responses)),
    ("output_tokens", "output_tokens", First(By::Responses)),
    ("duration_ms", "duration_ms", First(By::Responses)),
    ("first_chunk_ms", "first_chunk_ms", First(By::Responses)),
    ("trace_id", "trace_id", Key),
    ("conversation_id", "conversation_id", First(By::Any)),
    ("input", "input", First(By::Requests)),
    ("parameters", "parameters", First(By::Requests)),
    ("output", "output", First(By::Responses)),
    ("request_attributes", "attributes", Own(By::Requests)),
    ("response_attributes", "attributes", First(By::Responses)),
    ("request_index", "log_index", Own(By::Requests)),
    ("response_index", "log_index", First(By::Responses)),
    ("request_id", "id", Own(By::Requests)),
    ("response_id", "id", First(By::Responses)),
];

/// The statement that the view is.
pub(crate) static VIEW: LazyLock<String> = LazyLock::new(|| format!("{} UNION ALL {}", own(), others()));

/// The columns, each with the column of `records` that it is of, if it is of one.
pub(crate) fn columns() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    COLUMNS.iter().map(|(name, column, _)| (*name, Some(*column))).chain([("producers", None)])
}

/// The calls that the gateway asked for, and requests that name no call, which nothing can be put together with.
///
/// No two sides of a join have a column of the same name that a filter may be about: `DataFusion` 55 would take one for the other when it moves
/// the filter below the join.
fn own() -> String {
    let (mut columns, mut fills, mut answers) = (String::new(), String::new(), String::new());
    for (name, column, says) in COLUMNS {
        let _ = match says {
            Key | Own(_) => write!(columns, "q.\"{column}\" AS \"{name}\", "),
            First(by) => {
                let _ = write!(fills, "{} AS \"told_{name}\", ", first(column, by));
                if matches!(by, By::Responses) {
                    let _ = write!(answers, "\"{column}\" AS \"answer_{name}\", ");
                    write!(columns, "coalesce(p.\"answer_{name}\", r.\"told_{name}\") AS \"{name}\", ")
                } else {
                    write!(columns, "coalesce(q.\"{column}\", r.\"told_{name}\") AS \"{name}\", ")
                }
            }
        };
    }
    // Sorted, with the gateway in its place.
    let (before, after) = (producers("o.producer < 'gateway'"), producers("o.producer > 'gateway'"));
    format!(
        "SELECT {columns} CAST(concat_ws(',', r.told_before, q.producer, r.told_after) AS VARCHAR) AS producers
        FROM (SELECT q.call_id, q.time, q.log_index, {fills} {before} AS told_before, {after} AS told_after
              FROM records q JOIN {told} o ON o.call_id = q.call_id
              WHERE q.kind = 'inference.request' AND q.producer = 'gateway' AND o.producer <> 'gateway'
              GROUP BY q.call_id, q.time, q.log_index) r
        RIGHT JOIN records q ON r.call_id = q.call_id AND r.time = q.time AND r.log_index = q.log_index
        LEFT JOIN (SELECT {answers} call_id FROM records WHERE kind = 'inference.response' AND producer = 'gateway') p
          ON p.call_id = q.call_id
        WHERE q.kind = 'inference.request' AND (q.producer = 'gateway' OR q.call_id IS NULL)",
        told = told()
    )
}

/// The calls that only others told of, from the records that no other record goes before.
fn others() -> String {
    let (mut columns, mut keys) = (String::new(), String::new());
    for (name, column, says) in COLUMNS {
        let _ = match says {
            Key => {
                let _ = write!(keys, "q.\"{column}\", ");
                write!(columns, "q.\"{column}\" AS \"{name}\", ")
            }
            Own(by) | First(by) => write!(columns, "{} AS \"{name}\", ", first(column, by)),
        };
    }
    format!(
        "SELECT {columns} CAST({producers} AS VARCHAR) AS producers
        FROM (SELECT x.* FROM records x LEFT ANTI JOIN records b ON b.call_id = x.call_id AND b.kind IN {KINDS} AND (
                b.kind = 'inference.request'
                  AND (x.kind = 'inference.response' OR b.producer = 'gateway' OR b.log_index < x.log_index)
                OR b.kind = 'inference.response' AND x.kind = 'inference.response'
                  AND b.producer <> 'gateway' AND b.log_index < x.log_index)
              WHERE x.kind IN {KINDS} AND x.producer <> 'gateway') q
        JOIN {told} o ON o.call_id = q.call_id
        GROUP BY {keys} q.log_index",
        producers = producers("true"),
        told = told()
    )
}

/// The records of calls, each with its turn: the gateway's own before all others, these as they stand in the log.
fn told() -> String {
    format!(
        "(SELECT *, CASE WHEN producer = 'gateway' THEN -1 ELSE CAST(log_index AS BIGINT) END AS turn
          FROM records WHERE kind IN {KINDS})"
    )
}

/// What is said by the first record `o` of a group that says anything.
fn first(column: &str, by: By) -> String {
    let which = match by {
        By::Any => format!("o.\"{column}\" IS NOT NULL"),
        By::Requests => format!("o.kind = 'inference.request' AND o.\"{column}\" IS NOT NULL"),
        By::Responses => format!("o.kind = 'inference.response' AND o.\"{column}\" IS NOT NULL"),
        By::WhoNamesSomebody => "o.actor_type IS NOT NULL".to_owned(),
    };
    format!("first_value(o.\"{column}\" ORDER BY o.turn) FILTER (WHERE {which})")
}

/// Who told of a group, sorted, with commas; nothing where there is nobody for whom something holds.
fn producers(which: &str) -> String {
    format!("array_to_string(array_sort(array_agg(DISTINCT o.producer) FILTER (WHERE {which})), ',')")
}

#[cfg(test)]
mod tests;
