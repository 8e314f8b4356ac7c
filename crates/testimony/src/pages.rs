//! What a search finds, asked for a page after another: more than a server gives at once, or all of it.

use anyhow::Context as _;
use bytes::Bytes;
use search::Search;

use crate::client::{Client, query_string};
use crate::output::{Answer, OutputFormat};

/// Rows of a page. As many may come with snippets.
const PAGE_ROWS: usize = 10_000;
/// The cursor of the next page, in forms of answers that have no place for it.
const NEXT: &str = "testimony-next";

/// What of a search is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) search: Search,
    /// The most rows; none: all that are found.
    pub(crate) limit: Option<usize>,
    /// Where an answer before this one ended.
    pub(crate) cursor: Option<String>,
    /// Whether rows come with the passages around what matched.
    pub(crate) snippets: bool,
}

impl Wanted {
    /// Asks once.
    pub(crate) async fn page(
        &self,
        client: &Client,
        cursor: Option<&str>,
        limit: usize,
        format: &str,
    ) -> anyhow::Result<(Option<String>, Bytes)> {
        let Search { query, since, until } = &self.search;
        let query = query_string(&[
            ("q", Some(query.clone())),
            ("since", since.clone()),
            ("until", until.clone()),
            ("limit", Some(limit.to_string())),
            ("format", Some(format.to_owned())),
            ("snippets", self.snippets.then(|| "true".to_owned())),
            ("cursor", cursor.map(str::to_owned)),
        ]);
        let sent = client.get_with_headers(&format!("/api/v1/search{query}")).await?;
        let (headers, sent) = sent.context("the server does not know how to search: is it Testimony?")?;
        let next = headers.get(NEXT).and_then(|next| next.to_str().ok()).map(str::to_owned);
        Ok((next, sent))
    }

    /// All pages as one answer.
    pub(crate) async fn rows(&self, client: &Client) -> anyhow::Result<Answer> {
        let mut all = Answer::default();
        let mut add = |sent: Bytes| {
            let Answer { columns, truncated, next, rows } = serde_json::from_slice(&sent)?;
            let count = rows.len();
            all.rows.extend(rows);
            (all.columns, all.truncated, all.next) = (columns, truncated, next.clone());
            Ok((count, next))
        };
        self.each(client, "json", |_, sent| add(sent)).await?;
        Ok(all)
    }

    /// Passes on lines of JSON or of comma-separated values as they come; what is next is given back.
    pub(crate) async fn lines(
        &self,
        client: &Client,
        format: OutputFormat,
        mut pass_on: impl FnMut(Bytes) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<String>> {
        let is_csv = format == OutputFormat::Csv;
        let mut is_first = true;
        self.each(client, format.wire(), |next, sent| {
            let (head, rows) = sent.split_at(if is_csv { head_bytes(&sent) } else { 0 });
            let count = if is_csv { csv_rows(rows) } else { rows.iter().filter(|byte| **byte == b'\n').count() };
            pass_on(if is_first { sent.clone() } else { sent.slice(head.len()..) })?;
            is_first = false;
            Ok((count, next))
        })
        .await
    }

    /// Asks for a page after another. Of each is said how many rows it has and what is next.
    async fn each(
        &self,
        client: &Client,
        format: &str,
        mut take: impl FnMut(Option<String>, Bytes) -> anyhow::Result<(usize, Option<String>)>,
    ) -> anyhow::Result<Option<String>> {
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut cursor = self.cursor.clone();
        loop {
            let (next, sent) = self.page(client, cursor.as_deref(), left.min(PAGE_ROWS), format).await?;
            let (count, next) = take(next, sent)?;
            left = left.saturating_sub(count);
            // A page without a row that names another would be one of an endless row of them.
            if next.is_none() || left == 0 || count == 0 {
                return Ok(next);
            }
            cursor = next;
        }
    }
}

/// The length of the line that names the columns, which are words.
fn head_bytes(sent: &[u8]) -> usize {
    sent.iter().position(|byte| *byte == b'\n').map_or(sent.len(), |end| end + 1)
}

/// How many rows there are: a line that ends within quotes goes on.
fn csv_rows(rows: &[u8]) -> usize {
    let mut is_quoted = false;
    let ends = rows.iter().filter(|byte| {
        is_quoted ^= **byte == b'"';
        **byte == b'\n' && !is_quoted
    });
    ends.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_values_with_commas_are_counted_by_their_ends() {
        let sent = b"a,b\n1,\"x\ny \"\"z\"\"\n\"\n2,\n";
        let rows = &sent[head_bytes(sent)..];
        assert_eq!(rows, b"1,\"x\ny \"\"z\"\"\n\"\n2,\n");
        assert_eq!(csv_rows(rows), 2);
        assert_eq!((head_bytes(b"a,b"), csv_rows(b"")), (3, 0));
    }
}
