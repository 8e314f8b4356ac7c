//! The functions that are asked with the catalogue.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use postgres::Type;

use super::{DATABASE, SCHEMA, SERVER_VERSION, setting, tables};

/// The longest text that one of them looks at, in bytes: they are of names, and what they make is not counted.
const NAME_BYTES_MAX: usize = 256;

/// What a function makes of what it is given.
type Make = fn(&[ScalarValue]) -> Result<ScalarValue>;

/// A function that takes anything and looks at what it knows of.
#[derive(Debug)]
struct Function {
    name: &'static str,
    returns: DataType,
    signature: Signature,
    make: Makes,
}

#[derive(Debug)]
enum Makes {
    Always(ScalarValue),
    From(Make),
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let make = match &self.make {
            Makes::Always(value) => return Ok(ColumnarValue::Scalar(value.clone())),
            Makes::From(make) => make,
        };
        let make = |given: &[ScalarValue]| {
            let is_long =
                |value: &ScalarValue| value.try_as_str().flatten().is_some_and(|text| text.len() > NAME_BYTES_MAX);
            if given.iter().any(is_long) {
                return Err(DataFusionError::Execution(format!(
                    "{} is of names, which have at most {NAME_BYTES_MAX} bytes",
                    self.name
                )));
            }
            make(given)
        };
        if let Some(scalars) = args.args.iter().map(scalar).collect::<Option<Vec<_>>>() {
            return make(&scalars).map(ColumnarValue::Scalar);
        }
        let arrays: Vec<ArrayRef> = ColumnarValue::values_to_arrays(&args.args)?;
        let row = |row| {
            let values = arrays.iter().map(|array| ScalarValue::try_from_array(array, row));
            make(&values.collect::<Result<Vec<_>>>()?)
        };
        if args.number_rows == 0 {
            return Ok(ColumnarValue::Array(datafusion::arrow::array::new_empty_array(&self.returns)));
        }
        let rows = (0..args.number_rows).map(row).collect::<Result<Vec<_>>>()?;
        ScalarValue::iter_to_array(rows).map(ColumnarValue::Array)
    }
}

fn scalar(value: &ColumnarValue) -> Option<ScalarValue> {
    match value {
        ColumnarValue::Scalar(value) => Some(value.clone()),
        ColumnarValue::Array(_) => None,
    }
}

fn text(text: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(text.into()))
}

fn texts(texts: &[&str]) -> ScalarValue {
    let values: Vec<ScalarValue> = texts.iter().map(|one| text(*one)).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8))
}

/// What the first thing that a function is given says.
fn said(given: &[ScalarValue]) -> Option<&str> {
    given.first()?.try_as_str().flatten()
}

/// Functions that say the same whatever they are given.
fn constants(user: &str) -> Vec<(&'static str, ScalarValue)> {
    let (yes, nothing) = (ScalarValue::Boolean(Some(true)), ScalarValue::Utf8(None));
    let version = format!("PostgreSQL {SERVER_VERSION} (Testimony {})", env!("CARGO_PKG_VERSION"));
    let mut found = vec![
        ("version", text(version)),
        ("current_database", text(DATABASE)),
        ("current_catalog", text(DATABASE)),
        ("current_schema", text(SCHEMA)),
        ("current_schemas", texts(&["pg_catalog", SCHEMA])),
        ("pg_get_userbyid", text(DATABASE)),
        ("pg_encoding_to_char", text("UTF8")),
        ("pg_is_in_recovery", ScalarValue::Boolean(Some(false))),
        ("pg_backend_pid", ScalarValue::Int32(Some(1))),
    ];
    found.extend(["current_user", "session_user", "user", "current_role"].map(|name| (name, text(user))));
    let visible = ["pg_table_is_visible", "pg_type_is_visible", "pg_function_is_visible"];
    found.extend(visible.map(|name| (name, yes.clone())));
    let allowed = [
        "has_table_privilege",
        "has_schema_privilege",
        "has_database_privilege",
        "has_column_privilege",
        "pg_has_role",
    ];
    found.extend(allowed.map(|name| (name, yes.clone())));
    let unsaid = [
        "obj_description",
        "col_description",
        "shobj_description",
        "pg_get_expr",
        "pg_get_viewdef",
        "pg_get_constraintdef",
        "pg_get_indexdef",
        "pg_get_ruledef",
        "pg_get_triggerdef",
        "pg_get_partkeydef",
        "pg_get_function_result",
        "pg_get_function_arguments",
    ];
    found.extend(unsaid.map(|name| (name, nothing.clone())));
    let sizes = ["pg_relation_size", "pg_table_size", "pg_total_relation_size", "pg_indexes_size"];
    found.extend(sizes.map(|name| (name, ScalarValue::Int64(Some(0)))));
    found
}

/// All of them, for a user.
pub(super) fn all(user: &str) -> Vec<ScalarUDF> {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    let made: [(&'static str, DataType, Make); 6] = [
        ("format_type", DataType::Utf8, format_type),
        ("quote_ident", DataType::Utf8, |given| {
            Ok(said(given).map_or(ScalarValue::Utf8(None), |name| text(quoted(name))))
        }),
        ("parse_ident", list, parse_ident),
        ("current_setting", DataType::Utf8, current_setting),
        ("set_config", DataType::Utf8, |given| {
            Ok(ScalarValue::Utf8(given.get(1).and_then(|value| value.try_as_str()?.map(str::to_owned))))
        }),
        ("to_regclass", DataType::Int32, |given| {
            Ok(ScalarValue::Int32(said(given).and_then(tables::view).and_then(|number| number.parse().ok())))
        }),
    ];
    let signature =
        || Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], Volatility::Immutable);
    let function = |name, returns, make| ScalarUDF::from(Function { name, returns, signature: signature(), make });
    let constants = constants(user).into_iter();
    let constants = constants.map(|(name, value)| function(name, value.data_type(), Makes::Always(value)));
    let made = made.into_iter().map(|(name, returns, make)| function(name, returns, Makes::From(make)));
    constants.chain(made).collect()
}

/// The name of a type by its number.
fn format_type(given: &[ScalarValue]) -> Result<ScalarValue> {
    let number = given.first().map(|value| value.cast_to(&DataType::Int64)).transpose()?;
    let Some(ScalarValue::Int64(Some(number))) = number else { return Ok(ScalarValue::Utf8(None)) };
    let known = Type::ALL.into_iter().find(|kind| i64::from(kind.oid()) == number);
    Ok(text(known.map_or("???", Type::standard_name)))
}

/// A name, between quotes where it must be.
fn quoted(name: &str) -> String {
    let begins = name.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '_');
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    if begins && name.chars().all(is_plain) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The parts of a name that has points between them.
fn parse_ident(given: &[ScalarValue]) -> Result<ScalarValue> {
    let parts: Vec<&str> = said(given).unwrap_or_default().split('.').map(|part| part.trim_matches('"')).collect();
    Ok(texts(&parts))
}

fn current_setting(given: &[ScalarValue]) -> Result<ScalarValue> {
    let name = said(given).unwrap_or_default();
    match setting(name) {
        Some(value) => Ok(text(value)),
        None if given.get(1) == Some(&ScalarValue::Boolean(Some(true))) => Ok(ScalarValue::Utf8(None)),
        None => Err(DataFusionError::Plan(format!("unrecognized configuration parameter \"{name}\""))),
    }
}
