//! What was written is read back by the readers of Arrow and Parquet, and is the same rows as in JSON lines.

use std::io::Cursor;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{RECORDS, log};
use crate::answer::{Answer, json_lines};
use crate::{Format, Limits, Search, View};

fn read_back(answer: &Answer, format: Format) -> (SchemaRef, Vec<RecordBatch>) {
    let written = answer.write(format).unwrap();
    if format == Format::Parquet {
        let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(written)).unwrap();
        return (builder.schema().clone(), builder.build().unwrap().map(Result::unwrap).collect());
    }
    let reader = StreamReader::try_new(Cursor::new(written), None).unwrap();
    (reader.schema(), reader.map(Result::unwrap).collect())
}

#[track_caller]
fn check_forms(answer: &Answer) {
    let told = String::from_utf8(answer.write(Format::JsonLines).unwrap()).unwrap();
    for format in [Format::Parquet, Format::Arrow] {
        let (schema, batches) = read_back(answer, format);
        assert_eq!(schema.metadata().contains_key("testimony.truncated"), answer.is_truncated(), "{format:?}");
        let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, answer.schema.fields().iter().map(|field| field.name()).collect::<Vec<_>>());
        assert!(!format!("{schema:?}").contains("View"), "{schema:?}");
        assert_eq!(String::from_utf8(json_lines(&batches).unwrap()).unwrap(), told, "{format:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_were_written_are_read_back_as_they_were() {
    let log = log().await;
    for (query, rows_max) in [
        ("", 100_000),
        ("", 7),
        ("env:nowhere", 10),
        ("| stats count(), p95(duration_ms), min(time) by model, 1d", 1_000),
        ("| top 10 user", 1_000),
    ] {
        let search = Search { query: query.into(), ..Search::default() };
        let limits = Limits { rows_max, ..Limits::default() };
        let answer = log.engine.search(&View::everything(), search, limits).await.unwrap();
        assert!(rows_max != 100_000 || answer.rows() as u64 == RECORDS);
        check_forms(&answer);
    }
    for statement in [
        "SELECT array_agg(DISTINCT model) AS models, named_struct('a', max(actor_id), 'b', make_array(min(id))) AS nested, attributes AS map \
         FROM records GROUP BY attributes",
        "SELECT NULL AS nothing, count(*) > 3 AS many, max(time) - min(time) AS span, DATE '2026-11-25' AS day FROM records",
        "SELECT a.id, b.id FROM records a JOIN records b USING (call_id) ORDER BY a.log_index",
        "SELECT * FROM calls",
        "EXPLAIN SELECT 1",
    ] {
        let asked = log.engine.sql(&View::everything(), statement.into(), Search::default(), Limits::default());
        check_forms(&asked.await.unwrap());
    }
}
