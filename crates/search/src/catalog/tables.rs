//! The tables of the catalogue.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringViewArray, new_null_array};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::MemTable;
use datafusion::common::Result;
use postgres::Type;

use super::{DATABASE, SCHEMA, SETTINGS, STANDARD};
use crate::calls;
use crate::columns::VISIBLE_SCHEMA;
use crate::typed::said_as;

/// Numbers of what is in the catalogue. Those of the schemas are PostgreSQL's own.
const OF_PG_CATALOG: &str = "11";
const OF_PUBLIC: &str = "2200";
const OF_STANDARD: &str = "13000";
const OF_DATABASE: &str = "16384";
const OF_OWNER: &str = "10";
/// The views and their numbers.
const VIEWS: [(&str, &str); 2] = [("records", "16385"), ("calls", "16386")];

/// The number of a view, by its name with or without its schema.
pub(super) fn view(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("public.").unwrap_or(name);
    VIEWS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Whether a table is one that has nothing in it.
pub(super) fn is_empty(name: &str) -> bool {
    EMPTY.iter().any(|(known, _)| *known == name)
}

/// A small table: columns as `name:type` with spaces, and rows of texts that are values of these types; none: nothing.
pub(super) struct Table {
    pub(super) name: &'static str,
    columns: &'static str,
    rows: Vec<Vec<Option<String>>>,
}

impl Table {
    const fn empty(name: &'static str, columns: &'static str) -> Self {
        Self { name, columns, rows: Vec::new() }
    }

    /// Rows whose values have `|` between them; an empty one is nothing.
    fn of<R: AsRef<str>>(name: &'static str, columns: &'static str, rows: impl IntoIterator<Item = R>) -> Self {
        let value = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let rows = rows.into_iter().map(|row| row.as_ref().split('|').map(value).collect());
        Self { name, columns, rows: rows.collect() }
    }

    pub(super) fn provider(self) -> Result<Arc<MemTable>> {
        let (mut fields, mut arrays): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
        let options = CastOptions { safe: false, ..CastOptions::default() };
        for (nth, column) in self.columns.split_whitespace().enumerate() {
            let (name, word) = column.split_once(':').unwrap_or((column, "text"));
            let data_type = match word {
                "int" => DataType::Int32,
                "bool" => DataType::Boolean,
                "list" => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
                _ => DataType::Utf8View,
            };
            let texts = self.rows.iter().map(|row| row.get(nth).and_then(Option::as_deref));
            let texts: ArrayRef = Arc::new(StringViewArray::from_iter(texts));
            // No list has anything in it.
            arrays.push(match &data_type {
                DataType::List(_) => new_null_array(&data_type, self.rows.len()),
                other => cast_with_options(&texts, other, &options)?,
            });
            fields.push(Field::new(name, data_type, true));
        }
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(schema.clone(), arrays)?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
    }
}

/// The columns of both views: view, its number, place, name, type, and whether it always has a value.
fn columns() -> Vec<(&'static str, &'static str, usize, String, Type, bool)> {
    let [(records, of_records), (calls, of_calls)] = VIEWS;
    let mut found = Vec::new();
    for (nth, field) in VISIBLE_SCHEMA.fields().iter().enumerate() {
        let kind = said_as(field.data_type());
        found.push((records, of_records, nth + 1, field.name().clone(), kind, !field.is_nullable()));
    }
    for (nth, (name, of)) in calls::columns().enumerate() {
        let kind = of.and_then(|column| VISIBLE_SCHEMA.field_with_name(column).ok());
        let kind = kind.map_or(Type::Text, |field| said_as(field.data_type()));
        found.push((calls, of_calls, nth + 1, name.to_owned(), kind, false));
    }
    found
}

/// Those in `pg_catalog`.
pub(super) fn of_postgres(user: &str) -> Vec<Table> {
    let class = VIEWS.map(|(name, number)| {
        format!(
            "{number}|{name}|{OF_PUBLIC}|0|0|{OF_OWNER}|0|0|0|0|-1|0|0|f|f|p|v|{}|0|f|t|f|f|f|t|n|f|0||",
            count(name)
        )
    });
    let attributes = columns().into_iter().map(|(_, number, place, name, kind, always)| {
        let (oid, bytes) = (kind.oid(), kind.bytes());
        let storage = if bytes < 0 { "x" } else { "p" };
        format!("{number}|{name}|{oid}|{bytes}|{place}|-1|0|f|{storage}|{always}|f|f| | |f|t|0|0||-1")
    });
    let types = Type::ALL.map(|kind| {
        let (oid, name, bytes) = (kind.oid(), kind.name(), kind.bytes());
        format!("{oid}|{name}|{OF_PG_CATALOG}|{OF_OWNER}|{bytes}|f|b|{}|f|t|,|0|0|0|0|-1|0|0|f|", kind.category())
    });
    let schemas = [(OF_PG_CATALOG, "pg_catalog"), (OF_PUBLIC, SCHEMA), (OF_STANDARD, STANDARD)];
    let settings = SETTINGS.iter().map(|(name, value)| format!("{name}|{value}||{value}|user|default"));
    let user = user.replace('|', "_");
    let mut tables = vec![
        Table::of(
            "pg_namespace",
            "oid:int nspname nspowner:int nspacl:list",
            schemas.map(|(number, name)| format!("{number}|{name}|{OF_OWNER}|")),
        ),
        Table::of(
            "pg_class",
            "oid:int relname relnamespace:int reltype:int reloftype:int relowner:int relam:int relfilenode:int reltablespace:int relpages:int reltuples:int relallvisible:int reltoastrelid:int relhasindex:bool relisshared:bool relpersistence relkind relnatts:int relchecks:int relhastriggers:bool relhasrules:bool relhassubclass:bool relrowsecurity:bool relforcerowsecurity:bool relispopulated:bool relreplident relispartition:bool relrewrite:int relacl:list reloptions:list relpartbound",
            class,
        ),
        Table::of(
            "pg_attribute",
            "attrelid:int attname atttypid:int attlen:int attnum:int atttypmod:int attndims:int attbyval:bool attstorage attnotnull:bool atthasdef:bool atthasmissing:bool attidentity attgenerated attisdropped:bool attislocal:bool attinhcount:int attcollation:int attacl attstattarget:int",
            attributes,
        ),
        Table::of(
            "pg_type",
            "oid:int typname typnamespace:int typowner:int typlen:int typbyval:bool typtype typcategory typispreferred:bool typisdefined:bool typdelim typrelid:int typelem:int typarray:int typbasetype:int typtypmod:int typndims:int typcollation:int typnotnull:bool typdefault",
            types,
        ),
        Table::of(
            "pg_database",
            "oid:int datname datdba:int encoding:int datlocprovider datistemplate:bool datallowconn:bool datconnlimit:int dattablespace:int datcollate datctype daticulocale datacl:list",
            [format!("{OF_DATABASE}|{DATABASE}|{OF_OWNER}|6|c|f|t|-1|0|C|C||")],
        ),
        Table::of(
            "pg_roles",
            "rolname rolsuper:bool rolinherit:bool rolcreaterole:bool rolcreatedb:bool rolcanlogin:bool rolreplication:bool rolconnlimit:int rolvaliduntil rolbypassrls:bool oid:int",
            [format!("{user}|f|t|f|f|t|f|-1||f|{OF_OWNER}")],
        ),
        Table::of("pg_settings", "name setting unit reset_val context source", settings),
        Table::of(
            "pg_views",
            "schemaname viewname viewowner definition",
            VIEWS.map(|(name, _)| format!("{SCHEMA}|{name}|{DATABASE}|")),
        ),
    ];
    tables.extend(EMPTY.map(|(name, columns)| Table::empty(name, columns)));
    tables
}

fn count(view: &str) -> usize {
    columns().iter().filter(|(of, ..)| *of == view).count()
}

/// Those that have nothing in them here, with the columns that are asked for.
const EMPTY: [(&str, &str); 20] = [
    ("pg_am", "oid:int amname amhandler:int amtype"),
    ("pg_attrdef", "oid:int adrelid:int adnum:int adbin"),
    ("pg_auth_members", "oid:int roleid:int member:int grantor:int admin_option:bool"),
    ("pg_collation", "oid:int collname collnamespace:int"),
    (
        "pg_constraint",
        "oid:int conname connamespace:int contype condeferrable:bool condeferred:bool convalidated:bool conrelid:int contypid:int conindid:int conparentid:int confrelid:int conkey confkey",
    ),
    ("pg_depend", "classid:int objid:int objsubid:int refclassid:int refobjid:int refobjsubid:int deptype"),
    ("pg_description", "objoid:int classoid:int objsubid:int description"),
    ("pg_enum", "oid:int enumtypid:int enumsortorder:int enumlabel"),
    ("pg_extension", "oid:int extname extowner:int extnamespace:int extrelocatable:bool extversion"),
    (
        "pg_index",
        "indexrelid:int indrelid:int indnatts:int indisunique:bool indisprimary:bool indisclustered:bool indisvalid:bool indisreplident:bool indkey indpred indexprs",
    ),
    ("pg_inherits", "inhrelid:int inhparent:int inhseqno:int inhdetachpending:bool"),
    ("pg_matviews", "schemaname matviewname matviewowner definition"),
    ("pg_policy", "oid:int polname polrelid:int polcmd polpermissive:bool polroles polqual polwithcheck"),
    (
        "pg_proc",
        "oid:int proname pronamespace:int proowner:int prolang:int prokind prorettype:int proargtypes pronargs:int proretset:bool",
    ),
    ("pg_range", "rngtypid:int rngsubtype:int"),
    ("pg_rewrite", "oid:int rulename ev_class:int ev_type ev_enabled"),
    ("pg_shdescription", "objoid:int classoid:int description"),
    ("pg_tables", "schemaname tablename tableowner tablespace hasindexes:bool hasrules:bool hastriggers:bool"),
    ("pg_tablespace", "oid:int spcname spcowner:int"),
    ("pg_trigger", "oid:int tgrelid:int tgname tgisinternal:bool tgenabled"),
];

/// Those in `information_schema`.
pub(super) fn of_the_standard() -> Vec<Table> {
    let schemas = [SCHEMA, STANDARD, "pg_catalog"].map(|name| format!("{DATABASE}|{name}|{DATABASE}"));
    let tables = VIEWS.map(|(name, _)| format!("{DATABASE}|{SCHEMA}|{name}|VIEW|NO"));
    let columns = columns().into_iter().map(|(view, _, place, name, kind, always)| {
        let (standard, short) = (kind.standard_name(), kind.name());
        let nullable = if always { "NO" } else { "YES" };
        format!("{DATABASE}|{SCHEMA}|{view}|{name}|{place}||{nullable}|{standard}|pg_catalog|{short}|NO|NO||")
    });
    vec![
        Table::of("schemata", "catalog_name schema_name schema_owner", schemas),
        Table::of("tables", "table_catalog table_schema table_name table_type is_insertable_into", tables),
        Table::of(
            "views",
            "table_catalog table_schema table_name view_definition is_updatable",
            VIEWS.map(|(name, _)| format!("{DATABASE}|{SCHEMA}|{name}||NO")),
        ),
        Table::of(
            "columns",
            "table_catalog table_schema table_name column_name ordinal_position:int column_default is_nullable data_type udt_schema udt_name is_identity is_updatable character_maximum_length:int numeric_precision:int",
            columns,
        ),
        Table::empty(
            "table_constraints",
            "constraint_catalog constraint_schema constraint_name table_catalog table_schema table_name constraint_type",
        ),
        Table::empty(
            "key_column_usage",
            "constraint_catalog constraint_schema constraint_name table_schema table_name column_name ordinal_position:int",
        ),
    ]
}
