//! Rows value by value, as PostgreSQL's protocol says them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Float32Type, Float64Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    IntervalUnit, Schema, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{EncoderOptions, NullableEncoder, make_encoder};
use datafusion::arrow::util::display::FormatOptions;

use postgres::{Column, Type, Value};

use crate::answer::Answer;

/// The type in which values of a column are said.
pub(crate) fn said_as(data_type: &DataType) -> Type {
    use DataType as D;
    match data_type {
        D::Boolean => Type::Bool,
        D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16 => Type::Int4,
        D::Int64 | D::UInt32 | D::UInt64 => Type::Int8,
        D::Float16 | D::Float32 => Type::Float4,
        D::Float64 => Type::Float8,
        D::Decimal32(..) | D::Decimal64(..) | D::Decimal128(..) | D::Decimal256(..) => Type::Numeric,
        D::Null | D::Utf8 | D::LargeUtf8 | D::Utf8View => Type::Text,
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => Type::Bytes,
        D::Date32 | D::Date64 => Type::Date,
        D::Time32(_) | D::Time64(_) => Type::Time,
        D::Timestamp(_, None) => Type::Timestamp,
        D::Timestamp(_, Some(_)) => Type::TimestampTz,
        D::Interval(_) | D::Duration(_) => Type::Interval,
        D::Dictionary(_, values) => said_as(values),
        // Lists, maps and what else has parts.
        _ => Type::Json,
    }
}

/// The one type in which all columns that are said as one are held; none: as they are.
fn held_as(said: Type, data_type: &DataType) -> Option<DataType> {
    Some(match said {
        Type::Bool => DataType::Boolean,
        Type::Int4 => DataType::Int32,
        Type::Int8 => DataType::Int64,
        Type::Float4 => DataType::Float32,
        Type::Float8 => DataType::Float64,
        Type::Numeric | Type::Text => DataType::Utf8View,
        Type::Bytes => DataType::BinaryView,
        Type::Date => DataType::Date32,
        Type::Time => DataType::Time64(TimeUnit::Microsecond),
        Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TimestampTz => match data_type {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            other => other.clone(),
        },
        Type::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        Type::Json => return None,
    })
}

/// The columns of a schema.
pub(crate) fn typed(schema: &Schema) -> Vec<Column> {
    let typed = |field: &FieldRef| Column { name: field.name().clone(), kind: said_as(field.data_type()) };
    schema.fields().iter().map(typed).collect()
}

/// The rows of an answer, which can be looked at from any of them on.
#[derive(Debug, Clone)]
pub struct Rows {
    columns: Vec<Column>,
    parts: Vec<RecordBatch>,
    len: usize,
}

impl Answer {
    /// The rows value by value.
    ///
    /// # Errors
    /// When there is a value that no type of theirs can say, such as a number beyond eight bytes with a sign.
    pub fn typed(&self) -> Result<Rows, ArrowError> {
        let columns = typed(&self.schema);
        let parts = self.batches.iter().map(|batch| held(batch, &columns)).collect::<Result<_, _>>()?;
        Ok(Rows { columns, parts, len: self.len() })
    }
}

/// A batch whose columns are as their kinds hold them. A value that cannot be is an error and not none.
fn held(batch: &RecordBatch, columns: &[Column]) -> Result<RecordBatch, ArrowError> {
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    let hold = |(column, typed): (&ArrayRef, &Column)| match held_as(typed.kind, column.data_type()) {
        Some(as_type) => cast_with_options(column, &as_type, &options),
        None => Ok(column.clone()),
    };
    let arrays = batch.columns().iter().zip(columns).map(hold).collect::<Result<Vec<_>, _>>()?;
    let field = |(array, typed): (&ArrayRef, &Column)| Field::new(&typed.name, array.data_type().clone(), true);
    let schema = Schema::new(arrays.iter().zip(columns).map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), arrays)
}

impl Rows {
    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// How many rows there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Shows so many rows from one of them on.
    ///
    /// # Errors
    /// When a value cannot be written, or `see` says so.
    pub fn each<E: From<ArrowError>>(
        &self,
        from: usize,
        count: usize,
        mut see: impl FnMut(Vec<Value<'_>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut before, end) = (0, from.saturating_add(count));
        let options = EncoderOptions::default();
        for part in &self.parts {
            let rows = from.max(before)..end.min(before + part.num_rows());
            if !rows.is_empty() {
                let schema = part.schema();
                let fields = schema.fields().iter().zip(part.columns()).zip(&self.columns);
                let mut readers = fields
                    .map(|((field, array), typed)| Reader::of(typed.kind, field, array, &options))
                    .collect::<Result<Vec<_>, _>>()?;
                for row in rows {
                    see(readers.iter_mut().map(|reader| reader.value(row - before)).collect())?;
                }
            }
            before += part.num_rows();
        }
        Ok(())
    }
}

/// What gives the values of one column.
struct Reader<'a> {
    kind: Type,
    array: &'a dyn Array,
    /// Of what has parts.
    document: Option<NullableEncoder<'a>>,
}

impl<'a> Reader<'a> {
    fn of(
        kind: Type,
        field: &'a FieldRef,
        array: &'a ArrayRef,
        options: &'a EncoderOptions,
    ) -> Result<Self, ArrowError> {
        let has_parts = kind == Type::Json;
        let document = has_parts.then(|| make_encoder(field, array.as_ref(), options)).transpose()?;
        Ok(Self { kind, array: array.as_ref(), document })
    }

    fn value(&mut self, row: usize) -> Value<'a> {
        let array = self.array;
        if array.is_null(row) {
            return Value::Null;
        }
        match self.kind {
            Type::Bool => Value::Bool(array.as_boolean().value(row)),
            Type::Int4 => Value::Int4(array.as_primitive::<Int32Type>().value(row)),
            Type::Int8 => Value::Int8(array.as_primitive::<Int64Type>().value(row)),
            Type::Float4 => Value::Float4(array.as_primitive::<Float32Type>().value(row)),
            Type::Float8 => Value::Float8(array.as_primitive::<Float64Type>().value(row)),
            Type::Numeric => Value::Numeric(array.as_string_view().value(row).into()),
            Type::Text => Value::Text(array.as_string_view().value(row).into()),
            Type::Bytes => Value::Bytes(array.as_binary_view().value(row)),
            Type::Date => Value::Date(array.as_primitive::<Date32Type>().value(row)),
            Type::Time => Value::Time(array.as_primitive::<Time64MicrosecondType>().value(row)),
            Type::Timestamp => Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)),
            Type::TimestampTz => Value::TimestampTz(array.as_primitive::<TimestampMicrosecondType>().value(row)),
            Type::Interval => {
                let span = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                Value::Interval(span.months, span.days, span.nanoseconds / 1_000)
            }
            Type::Json => {
                let mut text = Vec::new();
                if let Some(document) = &mut self.document {
                    document.encode(row, &mut text);
                }
                Value::Json(String::from_utf8_lossy(&text).into_owned().into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
