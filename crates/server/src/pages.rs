//! `/api/v1/search`: what a search finds, a page after another.

use axum::Router;
use axum::extract::{Extension, State};
use axum::response::Response;
use axum::routing::get;
use http::header::{HeaderName, HeaderValue, LINK};
use http::{HeaderMap, Uri};
use search::{Page, QueryKind, Search};
use serde::Deserialize;

use crate::admission::Caller;
use crate::api::{Api, format, limits, written};
use crate::asked::Asked;
use crate::problem::Problem;
use crate::queries;
use crate::reading::Reading;

/// Rows of a search when nothing is said.
const SEARCH_ROWS: usize = 100;
/// The longest link to the next page. Many who read headers, and proxies on the way, take no more than this of all of them.
const LINK_BYTES_MAX: usize = 4_096;
/// The cursor of the next page, in forms of answers that have no place for it.
const NEXT: HeaderName = HeaderName::from_static("testimony-next");

pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/api/v1/search", get(search))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchQuery {
    #[serde(default)]
    q: String,
    since: Option<String>,
    until: Option<String>,
    limit: Option<usize>,
    format: Option<String>,
    /// What the page before said is next.
    cursor: Option<String>,
    #[serde(default)]
    snippets: bool,
}

async fn search(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    Asked(query): Asked<SearchQuery>,
) -> Result<Response, Problem> {
    let format = format(query.format.as_deref())?;
    let limits = limits(query.limit, SEARCH_ROWS)?;
    let page = Page { cursor: query.cursor, snippets: query.snippets };
    let search = Search { query: query.q, since: query.since, until: query.until };
    let said = search.said();
    let asked = api.engine().page(&caller.view, search, page, limits);
    let answer = queries::listed(&api, &caller, QueryKind::Search, &said, asked).await?;
    api.note(&caller, Reading::rows("search", &said, answer.rows(), answer.is_truncated())).await;
    let mut response = written(&answer, format)?;
    if let Some(next) = answer.next() {
        say_next(response.headers_mut(), uri.query().unwrap_or_default(), next);
    }
    Ok(response)
}

/// Says what is next, as it is, and as a link (RFC 8288): the request once more, with another cursor.
fn say_next(headers: &mut HeaderMap, asked: &str, next: &str) {
    let others = asked.split('&').filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("cursor"));
    let pairs: String = others.map(|pair| format!("{pair}&")).collect();
    let link = format!("</api/v1/search?{pairs}cursor={next}>; rel=\"next\"");
    if link.len() <= LINK_BYTES_MAX {
        HeaderValue::try_from(link).into_iter().for_each(|link| drop(headers.insert(LINK, link)));
    }
    HeaderValue::try_from(next).into_iter().for_each(|next| drop(headers.insert(NEXT, next)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_same_request_with_another_cursor() {
        let link = |asked: &str| {
            let mut headers = HeaderMap::new();
            say_next(&mut headers, asked, "01ab");
            assert_eq!(headers[NEXT], "01ab");
            headers.get(LINK).map(|link| link.to_str().unwrap().to_owned())
        };
        let to = |query: &str| Some(format!("</api/v1/search?{query}>; rel=\"next\""));
        assert_eq!(link(""), to("cursor=01ab"));
        assert_eq!(link("q=a%26cursor%3D1&limit=2"), to("q=a%26cursor%3D1&limit=2&cursor=01ab"));
        assert_eq!(link("cursor=01aa&q=a"), to("q=a&cursor=01ab"));
        assert_eq!(link(&format!("q={}", "a".repeat(LINK_BYTES_MAX))), None);
    }
}
