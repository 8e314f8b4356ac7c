//! `match(text, 'some words')` in SQL, and what the query language makes of a text to look for: whether these words stand in it in a row,
//! as [`crate::words`] reads both.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility, lit,
};

use crate::words::{Finder, PHRASE_WORDS_MAX, Phrase};

const NAME: &str = "match";

/// The function.
pub(crate) static MATCH: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(Match::default())));

/// A condition: the field has these words in a row. The words must make a [`Phrase`].
pub(crate) fn has_words(field: Expr, words: &str) -> Expr {
    MATCH.call(vec![field, lit(words)])
}

/// What such a condition looks for, if the expression is one on a column with words that are known.
pub(crate) fn phrase_wanted(expression: &Expr) -> Option<Phrase> {
    column_and_phrase(expression).map(|(_, phrase)| phrase)
}

/// The same, and in which column.
pub(crate) fn column_and_phrase(expression: &Expr) -> Option<(&str, Phrase)> {
    let Expr::ScalarFunction(call) = expression else { return None };
    match call.args.as_slice() {
        [Expr::Column(column), words] if call.func.name() == NAME => Some((&column.name, phrase_written(words)?)),
        _ => None,
    }
}

fn phrase_written(words: &Expr) -> Option<Phrase> {
    match words {
        Expr::Literal(words, _) => Phrase::of(words.try_as_str()??),
        _ => None,
    }
}

#[derive(Debug)]
struct Match {
    signature: Signature,
    /// Made ready once for all batches of a query, as soon as it is planned.
    finder: Option<Arc<Finder>>,
}

impl Default for Match {
    fn default() -> Self {
        let texts = TypeSignature::Exact(vec![DataType::Utf8View, DataType::Utf8View]);
        Self { signature: Signature::new(texts, Volatility::Immutable), finder: None }
    }
}

/// What it finds follows from its arguments, which are compared besides.
impl PartialEq for Match {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Match {}

impl Hash for Match {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl ScalarUDFImpl for Match {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let phrase = if self.finder.is_none() { args.get(1).and_then(phrase_written) } else { None };
        let Some(phrase) = phrase else { return Ok(ExprSimplifyResult::Original(args)) };
        let ready = Self { finder: Some(Arc::new(Finder::new(phrase))), ..Self::default() };
        Ok(ExprSimplifyResult::Simplified(ScalarUDF::from(ready).call(args)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [texts, words] = args.args.as_slice() else {
            return plan_err!("match takes a text and the words to look for");
        };
        let ColumnarValue::Scalar(words) = words else {
            return plan_err!("the words that match looks for are written out: match(input, 'refund policy')");
        };
        let Some(words) = words.try_as_str().flatten() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
        };
        let finder = self.finder.clone().or_else(|| Phrase::of(words).map(|phrase| Arc::new(Finder::new(phrase))));
        let Some(finder) = finder else {
            return plan_err!(
                "match looks for one to {PHRASE_WORDS_MAX} words, and there are none, or more, in {words:?}"
            );
        };
        let texts: ArrayRef = cast(&texts.to_array(args.number_rows)?, &DataType::Utf8View)?;
        let found: BooleanArray = texts.as_string_view().iter().map(|text| Some(finder.is_in(text?))).collect();
        debug_assert_eq!(found.len(), texts.len());
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}
