//! SQL from a caller: read-only, bounded, over the views `records` and `calls`.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF, lit};
use datafusion::object_store::ObjectStore;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use datafusion::sql::parser::{DFParserBuilder, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{Statement, TableFactor, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::bounds::{self, TABLES_MAX};
use crate::calls;
use crate::catalog::{self, Catalog};
use crate::cutting::CutsOut;
use crate::ending::ends;
use crate::matching::MATCH;
use crate::table::{RecordsTable, STORE_URL, Snapshot};
use crate::view::View;

/// The longest statement, in bytes.
pub(crate) const SQL_BYTES_MAX: usize = 65_536;
/// The deepest nesting.
const SQL_DEPTH_MAX: usize = 50;
/// The most brackets within brackets: the parser takes twice as long with each, since it tries what is in them as this and as that.
const SQL_BRACKETS_MAX: usize = 12;
/// What all queries together may hold in memory.
const MEMORY_BYTES_MAX: usize = 512 << 20;
/// What is remembered of segments' footers.
const FOOTERS_BYTES_MAX: usize = 128 << 20;
/// The most operators. A chain of them is read as one within the other, and what is nested as deep as that overflows the stack where it is
/// dropped or compared.
const SQL_OPERATORS_MAX: usize = 1_000;
const BATCH_ROWS: usize = 8_192;
/// Of a statement of a caller: what an expression makes of one batch is not counted, and it is not ended in the midst of one.
const SQL_BATCH_ROWS: usize = 2_048;

/// Why a statement was not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// It is longer than a statement may be.
    #[error("the statement has {0} bytes; {SQL_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// It is nested deeper than a statement may be.
    #[error("the statement has more than {SQL_BRACKETS_MAX} brackets within brackets")]
    TooDeep,
    /// It is not one statement.
    #[error("one statement at a time: found {0}")]
    Count(usize),
    /// It would change something, or is of a kind that is not offered.
    #[error("only SELECT and EXPLAIN are allowed here: the log cannot be changed, and nothing else needs to be")]
    NotAQuery,
    /// It has more operators than a statement may.
    #[error("the statement has more than {SQL_OPERATORS_MAX} operators: write a list with IN")]
    TooManyOperators,
    /// It names more tables than a statement may.
    #[error("the statement names more than {TABLES_MAX} tables")]
    TooManyTables,
    /// It would show how many records there are that may not be seen.
    #[error("EXPLAIN is for those who may see every record")]
    ExplainsMore,
    /// It is not SQL, or names something that is not there.
    #[error("{0}")]
    Invalid(String),
}

/// What every query's session is made from.
pub(crate) struct Sessions {
    runtime: Arc<RuntimeEnv>,
    config: SessionConfig,
}

impl Sessions {
    pub(crate) fn new(segments: Arc<dyn ObjectStore>, threads: usize) -> Result<Self, SqlError> {
        let runtime = RuntimeEnvBuilder::new()
            .with_metadata_cache_limit(FOOTERS_BYTES_MAX)
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(MEMORY_BYTES_MAX)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(invalid)?;
        let url = STORE_URL.parse().map_err(|_| SqlError::Invalid(STORE_URL.to_owned()))?;
        runtime.register_object_store(&url, segments);
        let mut config = SessionConfig::new()
            .with_target_partitions(threads)
            .with_batch_size(BATCH_ROWS)
            .with_information_schema(true);
        let options = config.options_mut();
        // A step of a recursion is not counted, nor do they end.
        options.execution.enable_recursive_ctes = false;
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = true;
        Ok(Self { runtime, config })
    }

    /// A session in which there is nothing but a snapshot.
    pub(crate) fn session(&self, table: RecordsTable) -> Result<SessionContext, SqlError> {
        self.session_of(table, self.config.clone())
    }

    fn session_of(&self, table: RecordsTable, config: SessionConfig) -> Result<SessionContext, SqlError> {
        let builder =
            SessionStateBuilder::new_with_default_features().with_config(config).with_runtime_env(self.runtime.clone());
        let builder = ends(builder).with_physical_optimizer_rule(Arc::new(CutsOut));
        let session = SessionContext::new_with_state(builder.build());
        session.register_table("records", Arc::new(table)).map_err(invalid)?;
        session.register_udf(ScalarUDF::clone(&MATCH));
        Ok(session)
    }

    /// Plans a caller's statement over what they may see of a snapshot, to be run.
    pub(crate) async fn plan(
        &self,
        statement: &str,
        snapshot: Snapshot,
        view: &View,
        among: Expr,
        catalog: Option<&Catalog>,
    ) -> Result<DataFrame, SqlError> {
        let (session, plan) = self.planned(statement, snapshot, view, among, catalog).await?;
        bounds::check(&plan).map_err(invalid)?;
        session.execute_logical_plan(plan).await.map_err(invalid)
    }

    /// Plans a caller's statement, which may have places for parameters. Whoever runs it looks at its bounds first.
    pub(crate) async fn planned(
        &self,
        statement: &str,
        snapshot: Snapshot,
        view: &View,
        among: Expr,
        catalog: Option<&Catalog>,
    ) -> Result<(SessionContext, LogicalPlan), SqlError> {
        let statement = match catalog {
            Some(_) => catalog::understood(statement)?,
            None => statement.into(),
        };
        let parsed = parse(&statement)?;
        if view.is_restricted() && is_explain(&parsed) {
            return Err(SqlError::ExplainsMore);
        }
        let mut config = self.config.clone().with_batch_size(SQL_BATCH_ROWS);
        if catalog.is_some() {
            config = catalog::configured(config);
        }
        let session = self.session_of(RecordsTable::visible(snapshot, view), config)?;
        if among != lit(true) {
            let found = session.table("records").await.and_then(|all| all.filter(among)).map_err(invalid)?.into_view();
            session.deregister_table("records").map_err(invalid)?;
            session.register_table("records", found).map_err(invalid)?;
        }
        if statement.to_ascii_lowercase().contains("calls") {
            let view = session.sql(&calls::VIEW).await.map_err(invalid)?.into_view();
            session.register_table("calls", view).map_err(invalid)?;
        }
        bounds::withdraw(&session);
        if let Some(catalog) = catalog {
            catalog.register(&session, &statement).map_err(invalid)?;
        }
        let plan = session.state().statement_to_plan(parsed).await.map_err(invalid)?;
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        options.verify_plan(&plan).map_err(|_| SqlError::NotAQuery)?;
        Ok((session, plan))
    }
}

/// The first line of what DataFusion says; the rest is for its developers.
pub(crate) fn invalid(error: impl std::fmt::Display) -> SqlError {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    SqlError::Invalid(line.trim_start_matches("Error during planning: ").trim_start_matches("SQL error: ").to_owned())
}

/// Reads one statement and refuses all that is not a query, by its parse tree.
fn parse(statement: &str) -> Result<DfStatement, SqlError> {
    if statement.len() > SQL_BYTES_MAX {
        return Err(SqlError::TooLong(statement.len()));
    }
    check_nesting(statement)?;
    let mut statements = DFParserBuilder::new(statement)
        .with_dialect(&PostgreSqlDialect {})
        .with_recursion_limit(SQL_DEPTH_MAX)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(invalid)?;
    let (count, only) = (statements.len(), statements.pop_front());
    match only {
        Some(only) if count == 1 && is_query(&only) => {
            if has_too_many_tables(&only) {
                Err(SqlError::TooManyTables)
            } else {
                Ok(only)
            }
        }
        _ if count == 1 => Err(SqlError::NotAQuery),
        _ => Err(SqlError::Count(count)),
    }
}

fn is_query(statement: &DfStatement) -> bool {
    match statement {
        DfStatement::Statement(statement) => is_select(statement),
        DfStatement::Explain(explain) => is_query(&explain.statement),
        _ => false,
    }
}

fn is_explain(statement: &DfStatement) -> bool {
    match statement {
        DfStatement::Explain(_) => true,
        DfStatement::Statement(statement) => matches!(**statement, Statement::Explain { .. }),
        _ => false,
    }
}

fn is_select(statement: &Statement) -> bool {
    match statement {
        Statement::Query(query) => query.visit(&mut OnlySelects).is_continue(),
        Statement::Explain { statement, .. } => is_select(statement),
        _ => false,
    }
}

/// Breaks at a statement inside a query that is no query: `WITH x AS (DELETE …)`.
struct OnlySelects;

impl Visitor for OnlySelects {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        if is_select(statement) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// What is planned for each of them is planned as often as it is named.
fn has_too_many_tables(statement: &DfStatement) -> bool {
    match statement {
        DfStatement::Statement(statement) => statement.visit(&mut Tables(0)).is_break(),
        DfStatement::Explain(explain) => has_too_many_tables(&explain.statement),
        _ => false,
    }
}

struct Tables(usize);

impl Visitor for Tables {
    type Break = ();

    fn pre_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<()> {
        self.0 += 1;
        if self.0 > TABLES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Counts open brackets and operators before the parser recurses into them.
fn check_nesting(statement: &str) -> Result<(), SqlError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, statement).tokenize().map_err(invalid)?;
    let (mut depth, mut operators) = (0_usize, 0_usize);
    for token in tokens {
        match token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            token if is_operator(&token) => operators += 1,
            _ => {}
        }
        if depth > SQL_BRACKETS_MAX {
            return Err(SqlError::TooDeep);
        }
        if operators > SQL_OPERATORS_MAX {
            return Err(SqlError::TooManyOperators);
        }
    }
    Ok(())
}

/// Whether it is none of what stands between the parts of a list, and no word but one that ties conditions, queries or tables together.
fn is_operator(token: &Token) -> bool {
    const WORDS: [&str; 14] = [
        "AND",
        "OR",
        "NOT",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "JOIN",
        "IS",
        "LIKE",
        "ILIKE",
        "CASE",
        "AT",
        "COLLATE",
        "OVERLAPS",
    ];
    match token {
        Token::Word(word) => {
            word.quote_style.is_none() && WORDS.iter().any(|known| known.eq_ignore_ascii_case(&word.value))
        }
        Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::Comma
        | Token::Whitespace(_)
        | Token::Period
        | Token::SemiColon
        | Token::EOF => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queries_pass_the_parse_tree() {
        for good in [
            "SELECT 1",
            "select * from records limit 1",
            "EXPLAIN SELECT 1",
            "WITH x AS (SELECT 1) SELECT * FROM x",
            "VALUES (1)",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "DELETE FROM records",
            "INSERT INTO records VALUES (1)",
            "CREATE TABLE x AS SELECT 1",
            "DROP TABLE records",
            "COPY records TO 'x.csv'",
            "SET x = 1",
            "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
            "UPDATE records SET id = ''",
            "EXPLAIN DELETE FROM records",
            "TRUNCATE records",
        ] {
            assert_eq!(parse(bad).unwrap_err(), SqlError::NotAQuery, "{bad}");
        }
        let chain = |count| format!("SELECT * FROM records WHERE a = 1{}", " OR a".repeat(count));
        assert!(parse(&chain(900)).is_ok());
        assert_eq!(parse(&chain(1_000)).unwrap_err(), SqlError::TooManyOperators);
        assert_eq!(parse("SELECT 1; SELECT 2").unwrap_err(), SqlError::Count(2));
        assert_eq!(parse("").unwrap_err(), SqlError::Count(0));
        assert_eq!(parse(&"x".repeat(SQL_BYTES_MAX + 1)).unwrap_err(), SqlError::TooLong(SQL_BYTES_MAX + 1));
        assert_eq!(parse(&format!("SELECT {}1{}", "(".repeat(13), ")".repeat(13))).unwrap_err(), SqlError::TooDeep);
    }
}
