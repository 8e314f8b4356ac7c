//! The stage after a filter: `| stats count(), p95(duration_ms) by model, 1h` or `| top 10 actor_id`.

use super::compile::span_micros;
use super::parse::{Parser, parse_filter};
use super::{Query, QueryError, Span, nearest};

/// The most functions of one stage.
const MEASURES_MAX: usize = 20;
/// The most fields that one stage groups by.
const GROUPS_MAX: usize = 8;
/// The most values that `top` is asked for.
const TOP_MAX: usize = 10_000;
/// How many values `top` shows when nothing is said.
const TOP: usize = 10;
/// The longest time bucket, 520 weeks, in microseconds.
const BUCKET_MICROS_MAX: i64 = 520 * 604_800 * 1_000_000;

/// What is made of the records that a filter finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Measures of groups.
    Stats { measures: Vec<Measure>, by: Vec<Name>, bucket: Option<Bucket> },
    /// The most frequent values.
    Top { count: usize, fields: Vec<Name> },
}

/// A field, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// The records of as much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) micros: i64,
    pub(crate) span: Span,
}

/// A function of the records of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measure {
    pub(crate) function: Function,
    pub(crate) field: Option<Name>,
    /// What its column is to be called.
    pub(crate) called: Option<String>,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Count,
    Distinct,
    Sum,
    Average,
    Least,
    Greatest,
    /// Per cent, 1 to 99.
    Percentile(u8),
}

/// The functions by name, but for the percentiles.
const FUNCTIONS: [(&str, Function); 6] = [
    ("count", Function::Count),
    ("dc", Function::Distinct),
    ("sum", Function::Sum),
    ("avg", Function::Average),
    ("min", Function::Least),
    ("max", Function::Greatest),
];

impl Function {
    fn named(name: &str) -> Option<Self> {
        if let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) {
            return Some(*function);
        }
        let percent = name.strip_prefix('p').filter(|digits| digits.starts_with(|c: char| matches!(c, '1'..='9')))?;
        percent.parse().ok().filter(|percent| *percent < 100).map(Self::Percentile)
    }

    /// Its name.
    pub(crate) fn name(self) -> String {
        if let Self::Percentile(percent) = self {
            return format!("p{percent}");
        }
        FUNCTIONS.iter().find(|(_, function)| *function == self).map_or_else(String::new, |(name, _)| (*name).into())
    }
}

/// Reads a filter, and the stage after it if there is one.
pub(crate) fn parse_staged(text: &str) -> Result<(Query, Option<Stage>), QueryError> {
    let (query, rest) = parse_filter(text)?;
    let stage = rest.map(|parser| Reader { text, tokens: tokens(parser)?, at: 0 }.stage()).transpose()?;
    Ok((query, stage))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// A name in quotes: never a word of the language.
    Quoted(String),
    Sign(char),
}

fn tokens(mut parser: Parser<'_>) -> Result<Vec<(Token, Span)>, QueryError> {
    let mut tokens = Vec::new();
    loop {
        parser.skip_space();
        let start = parser.at;
        let token = match parser.peek() {
            None => return Ok(tokens),
            Some('|') => {
                return Err(parser.error(start, start + 1, "a search ends in one stage: this | is one too many"));
            }
            Some('"') => Token::Quoted(parser.quoted()?),
            Some(sign @ (',' | '(' | ')')) => {
                parser.at += 1;
                Token::Sign(sign)
            }
            Some(_) => {
                let rest = parser.rest();
                let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | '|' | '"');
                let word = rest.get(..rest.find(ends).unwrap_or(rest.len())).unwrap_or_default();
                parser.at += word.len();
                Token::Word(word.to_owned())
            }
        };
        tokens.push((token, Span { start, end: parser.at }));
    }
}

struct Reader<'t> {
    text: &'t str,
    tokens: Vec<(Token, Span)>,
    at: usize,
}

impl Reader<'_> {
    fn error(&self, span: Span, what: impl Into<String>) -> QueryError {
        QueryError { query: self.text.to_owned(), span, what: what.into() }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    /// Where the next token stands, or the end of the query.
    fn here(&self) -> Span {
        let end = Span { start: self.text.len(), end: self.text.len() };
        self.tokens.get(self.at).map_or(end, |(_, span)| *span)
    }

    fn take(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    /// Takes a name, or says what is missing here.
    fn name(&mut self, missing: &str) -> Result<Name, QueryError> {
        let span = self.here();
        match self.peek() {
            Some(Token::Word(text) | Token::Quoted(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(Name { text, span })
            }
            _ => Err(self.error(span, missing)),
        }
    }

    fn stage(mut self) -> Result<Stage, QueryError> {
        let name = self.name("a stage follows |: stats count() by model, or top 10 model")?;
        let stage = match name.text.to_ascii_lowercase().as_str() {
            "stats" => self.stats()?,
            "top" => self.top()?,
            other => {
                let near = nearest(other, ["stats", "top"].into_iter());
                let meant =
                    near.map_or_else(|| "there are stats and top".into(), |near| format!("did you mean {near:?}?"));
                return Err(self.error(name.span, format!("there is no stage {:?}: {meant}", name.text)));
            }
        };
        match self.peek() {
            None => Ok(stage),
            Some(_) => {
                Err(self.error(self.here(), "this is one too many; what stands in a list is separated by commas"))
            }
        }
    }

    fn stats(&mut self) -> Result<Stage, QueryError> {
        let mut measures = vec![self.measure()?];
        while self.take(',') {
            measures.push(self.measure()?);
        }
        if let Some(extra) = measures.get(MEASURES_MAX) {
            return Err(self.error(extra.span, format!("a stage has at most {MEASURES_MAX} functions")));
        }
        let (mut by, mut bucket) = (Vec::new(), None);
        if self.take_word("by") {
            loop {
                let name = self.name("a field or a span of time such as 1h follows here")?;
                match (span_micros(&name.text), bucket) {
                    (None, _) => by.push(name),
                    (Some(micros), None) => bucket = Some(self.bucket(micros, name.span)?),
                    (Some(_), Some(_)) => {
                        return Err(self.error(name.span, "there is one time bucket, and this is another"));
                    }
                }
                if !self.take(',') {
                    break;
                }
            }
        }
        self.check_groups(&by)?;
        Ok(Stage::Stats { measures, by, bucket })
    }

    fn bucket(&self, micros: i64, span: Span) -> Result<Bucket, QueryError> {
        if (1..=BUCKET_MICROS_MAX).contains(&micros) {
            return Ok(Bucket { micros, span });
        }
        Err(self.error(span, "a time bucket is 1s to 520w long"))
    }

    fn check_groups(&self, groups: &[Name]) -> Result<(), QueryError> {
        match groups.get(GROUPS_MAX) {
            Some(extra) => Err(self.error(extra.span, format!("a stage groups by at most {GROUPS_MAX} fields"))),
            None => Ok(()),
        }
    }

    fn measure(&mut self) -> Result<Measure, QueryError> {
        let name = self.name("a function follows here: count() or p95(duration_ms)")?;
        let function = self.function(&name)?;
        if !self.take('(') {
            return Err(self.error(name.span, format!("{0} is a function and is written {0}()", function.name())));
        }
        let open = Span { start: name.span.end, end: name.span.end + 1 };
        let field = match self.peek() {
            Some(Token::Sign(')')) => None,
            _ => Some(self.name("a field follows here, or a )")?),
        };
        if !self.take(')') {
            let at = if self.peek().is_some() { self.here() } else { open };
            return Err(self.error(at, format!("{} takes one field, and then a )", function.name())));
        }
        if field.is_none() && function != Function::Count {
            let what = format!("{} is of a field: {0}(duration_ms)", function.name());
            return Err(self.error(name.span, what));
        }
        let called = self.take_word("as").then(|| self.name("a name follows as")).transpose()?;
        let end = self.at.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(open.end, |(_, span)| span.end);
        let span = Span { start: name.span.start, end };
        Ok(Measure { function, field, called: called.map(|name| name.text), span })
    }

    fn function(&self, name: &Name) -> Result<Function, QueryError> {
        let written = name.text.to_ascii_lowercase();
        if let Some(function) = Function::named(&written) {
            return Ok(function);
        }
        let is_percentile = written.strip_prefix('p').is_some_and(|rest| rest.parse::<f64>().is_ok());
        let what = match nearest(&written, FUNCTIONS.iter().map(|(known, _)| *known)) {
            _ if written == "by" => "a function comes before by: stats count() by model".to_owned(),
            _ if is_percentile => "a percentile is p1 to p99".to_owned(),
            Some(near) => format!("there is no function {:?}: did you mean {near:?}?", name.text),
            None => {
                format!("there is no function {:?}: there are count, dc, sum, avg, min, max, and p1 to p99", name.text)
            }
        };
        Err(self.error(name.span, what))
    }

    fn top(&mut self) -> Result<Stage, QueryError> {
        let mut count = TOP;
        if let Some(Token::Word(word)) = self.peek()
            && word.chars().all(|c| c.is_ascii_digit())
        {
            let number = word.parse().ok().filter(|number| (1..=TOP_MAX).contains(number));
            count = number.ok_or_else(|| self.error(self.here(), format!("top gives 1 to {TOP_MAX} values")))?;
            self.at += 1;
        }
        let mut fields = Vec::new();
        loop {
            let name = self.name("a field follows here: top 10 model")?;
            if span_micros(&name.text).is_some() {
                return Err(self.error(name.span, "time buckets are for stats: stats count() by 1h"));
            }
            fields.push(name);
            if !self.take(',') {
                break;
            }
        }
        self.check_groups(&fields)?;
        Ok(Stage::Top { count, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A stage in a form that is easy to compare.
    fn shape(text: &str) -> String {
        let names = |names: &[Name]| names.iter().map(|name| name.text.clone()).collect::<Vec<_>>().join(" ");
        match parse_staged(text).map(|(_, stage)| stage) {
            Err(error) => error.to_string(),
            Ok(None) => "none".into(),
            Ok(Some(Stage::Top { count, fields })) => format!("top {count} of {}", names(&fields)),
            Ok(Some(Stage::Stats { measures, by, bucket })) => {
                let measure = |measure: &Measure| {
                    let field = measure.field.as_ref().map(|name| name.text.as_str()).unwrap_or_default();
                    let called = measure.called.as_ref().map(|name| format!("={name}")).unwrap_or_default();
                    format!("{}({field}){called}", measure.function.name())
                };
                let measures: Vec<String> = measures.iter().map(measure).collect();
                format!("{} of {} in {:?}", measures.join(" "), names(&by), bucket.map(|bucket| bucket.micros))
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(shape(text), expect, "{text}");
    }

    #[test]
    fn stages_read_as_people_mean_them() {
        check("a b", "none");
        check("\"a | top b\"", "none");
        check("| stats count()", "count() of  in None");
        check("a|stats count(),p95( duration_ms )by model,1h", "count() p95(duration_ms) of model in Some(3600000000)");
        check("x | STATS dc(user) AS users BY 1d, \"x.y z\"", "dc(user)=users of x.y z in Some(86400000000)");
        check("x | stats count() as \"by\" by env", "count()=by of env in None");
        check("x | top user", "top 10 of user");
        check("x | top 3 user, model", "top 3 of user model");
    }

    #[test]
    fn what_is_wrong_with_a_stage_is_pointed_at() {
        let wrong = [
            "a |",
            "a | stat count()",
            "a | where b",
            "a | stats",
            "a | stats count() | top b",
            "a | stats cuont()",
            "a | stats median(status)",
            "a | stats p100(status)",
            "a | stats count by model",
            "a | stats by model",
            "a | stats count() by",
            "a | stats count() by model env",
            "a | stats count(), by model",
            "a | stats sum()",
            "a | stats sum(status",
            "a | stats sum(status model)",
            "a | stats sum((status))",
            "a | stats count() as",
            "a | stats count() by 1h, 5m",
            "a | stats count() by 0s",
            "a | stats count() by \"open",
            "a | top",
            "a | top 10",
            "a | top 0 model",
            "a | top 10 model env",
            "a | top 10 model,",
            "a | top 1h",
            "a | top a.a,a.b,a.c,a.d,a.e,a.f,a.g,a.h,a.i",
        ];
        insta::assert_snapshot!(wrong.map(shape).join("\n\n"));
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in any::<String>()) {
            let _ = parse_staged(&format!("a | stats {text}")).map_err(|error| error.to_string());
            let _ = parse_staged(&text).map_err(|error| error.to_string());
        }

        #[test]
        fn no_sequence_of_tokens_makes_parsing_panic(
            tokens in prop::collection::vec("[|(),\" a1]|stats|top|by|as|count|p95|1h|é", 0..30),
        ) {
            let _ = parse_staged(&format!("|{}", tokens.concat())).map_err(|error| error.to_string());
        }
    }
}
