use world::World;

use super::*;
use crate::tests::{Log, draft};

#[tokio::test]
async fn a_statement_is_described_before_it_is_run() {
    let world = World::real();
    let log = Log::of(vec![draft(&world, 1)]).await;
    let catalog = Catalog { user: "ada".to_owned() };
    let described = async |text: &str, samples: &[&str]| {
        let [statement] = <[Statement; 1]>::try_from(Statement::all(text).unwrap()).unwrap();
        let samples = samples.iter().map(|sample| (*sample).to_owned()).collect();
        let everything = View::everything();
        let described = log.engine.describe(&everything, statement, samples, &catalog, Limits::default()).await;
        match described {
            Ok(Described { columns, parameters }) => {
                let columns: Vec<String> =
                    columns.iter().map(|column| format!("{} {:?}", column.name, column.kind)).collect();
                format!("{} | {parameters:?}", columns.join(", "))
            }
            Err(error) => format!("ERROR: {error}"),
        }
    };
    let lines = [
        described("SELECT model, count(*) AS n FROM calls WHERE time >= $1 AND model = $2 GROUP BY 1 LIMIT $3", &[])
            .await,
        described("SELECT id FROM records WHERE log_index IN ($1, $2) AND duration_ms > $3 AND stream = $4", &[]).await,
        described("SELECT $1 AS said, 1 AS one", &["''"]).await,
        described("SELECT count(*) AS n FROM records WHERE match(input, $1)", &["''"]).await,
        described("SELECT no_such FROM records WHERE id = $1", &["''"]).await,
        described("DELETE FROM records", &[]).await,
        described("EXPLAIN SELECT 1", &[]).await,
    ];
    insta::assert_snapshot!(lines.join("\n"));
}
