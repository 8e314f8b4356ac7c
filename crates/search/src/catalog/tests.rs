use std::fmt::Write as _;

use world::World;

use super::*;
use crate::tests::{Log, draft};
use crate::{EngineError, Format, Limits, Statement, View};

/// A small log, and who asks.
struct Client {
    log: Log,
    catalog: Catalog,
}

impl Client {
    async fn begin() -> Self {
        let world = World::real();
        let log = Log::of((0..5).map(|n| draft(&world, n)).collect()).await;
        Self { log, catalog: Catalog { user: "ada".to_owned() } }
    }

    async fn asked(&self, statement: &str) -> Result<String, EngineError> {
        let everything = View::everything();
        let answer = self.log.engine.sql_of(&everything, statement.to_owned(), &self.catalog, Limits::default());
        Ok(String::from_utf8(answer.await?.write(Format::Csv).unwrap()).unwrap())
    }

    async fn all(&self, statements: &str) -> String {
        let mut said = String::new();
        for statement in Statement::all(statements).unwrap() {
            let answer = self.asked(statement.text()).await.unwrap_or_else(|error| format!("ERROR: {error}\n"));
            let _ = writeln!(said, "{}\n\n{answer}", statement.text().trim());
        }
        said
    }
}

/// What psql 15 sends for `\d` and others, and statements of the kind that Grafana's query builder sends.
#[tokio::test]
async fn clients_find_the_views_where_they_look_for_them() {
    let client = Client::begin().await;
    insta::assert_snapshot!("psql", client.all(include_str!("psql-15.sql")).await);
    insta::assert_snapshot!("grafana", client.all(include_str!("grafana.sql")).await);
}

#[tokio::test]
async fn only_what_is_about_the_catalogue_is_put_in_other_words() {
    let same =
        ["SELECT input COLLATE x FROM records", "SELECT 'a'::name", "SELECT user FROM calls WHERE x OPERATOR(y.~) 'z'"];
    for statement in same {
        assert_eq!(understood(statement).unwrap(), statement);
    }
    let other = "SELECT 'pg_catalog.x', \"pg_catalog\".f(a)::pg_catalog.text, 'calls'::regclass, b::\"char\" /* ü */ FROM pg_class";
    let read = "SELECT 'pg_catalog.x', f(a)::text, 16386, b::text /* ü */ FROM pg_class";
    assert_eq!(understood(other).unwrap(), read);
    assert!(understood("SELECT pg_").is_ok() && understood("(SELECT 1 FROM pg_index").is_ok());
}

#[tokio::test]
async fn functions_say_what_clients_ask_for() {
    let client = Client::begin().await;
    let asked = client.all(
        "SELECT version() LIKE 'PostgreSQL 15.0 (Testimony %' AS v, current_database() AS d, current_schema() AS s, current_user AS u, session_user AS w;
         SELECT format_type(oid, -1) AS t FROM pg_type ORDER BY oid LIMIT 3;
         SELECT 'public.calls'::regclass AS oid, to_regclass('nowhere') AS none, current_setting('no_such', true) AS unset;
         SELECT current_setting('no_such');
         SELECT quote_ident('Two words') AS q, pg_backend_pid() > 0 AS p;
         SELECT table_name, count(*) AS n FROM information_schema.columns GROUP BY table_name ORDER BY 1;
         SELECT parse_ident(concat(input, input, input, input, input, input, input, input, input, input, input, input, input, input, input,
            input, input, input, input, input, input, input, input, input, input, input, input, input, input, input, input, input, input, input,
            input, input, input, input, input, input)) AS parts FROM records;
         SELECT count(*) > 0 AS n FROM records JOIN pg_class ON relname = 'records'",
    );
    insta::assert_snapshot!("functions", asked.await);
}
