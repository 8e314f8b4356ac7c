//! Cards and national numbers: how they are written, and what makes one valid.

use std::ops::Range;

use super::valid;
use crate::check::Window;

/// How far before a number the word may stand that says what it is, in bytes.
const CONTEXT_BYTES_MAX: usize = 64;
/// The longest form.
pub(super) const FORM_BYTES_MAX: usize = 24;

/// A kind of number.
#[derive(Debug)]
pub(super) struct Number {
    pub(super) name: &'static str,
    /// How it is written so that no word has to say what it is. `9` is a digit, `A` a capital, `X` either, all else itself.
    forms: &'static [&'static str],
    /// How it is written when a word says so.
    named_forms: &'static [&'static str],
    /// Such words, in lower case.
    words: &'static [&'static str],
    /// Judges the digits and letters without separators.
    is_valid: fn(&[u8]) -> bool,
    pub(super) score: f32,
}

/// One line a kind. The source of each rule is with its function in `valid`.
pub(super) const NUMBERS: &[Number] = &[
    Number {
        name: "payment-card",
        forms: &[
            "9999 9999 9999 9999",
            "9999-9999-9999-9999",
            "9999999999999999",
            "9999 999999 99999",
            "9999-999999-99999",
            "999999999999999",
            "9999 999999 9999",
            "99999999999999",
            "9999 9999 9999 9999 999",
            "9999999999999999999",
        ],
        named_forms: &["9999999999999"],
        words: &["card", "visa"],
        is_valid: valid::payment_card,
        score: 0.95,
    },
    Number {
        name: "us-ssn",
        forms: &["999-99-9999"],
        named_forms: &["999 99 9999", "999999999"],
        words: &["ssn", "social security"],
        is_valid: valid::us_ssn,
        score: 0.8,
    },
    Number {
        name: "de-steuer-id",
        forms: &["99 999 999 999"],
        named_forms: &["99999999999"],
        words: &["steuer", "tax id", "idnr", "tin"],
        is_valid: valid::de_steuer_id,
        score: 0.9,
    },
    Number {
        name: "nl-bsn",
        forms: &[],
        named_forms: &["999999999", "9999.99.999", "999 999 999"],
        words: &["bsn", "burgerservice", "sofi"],
        is_valid: valid::nl_bsn,
        score: 0.9,
    },
    Number {
        name: "es-dni",
        forms: &["99999999A", "99999999-A"],
        named_forms: &["99.999.999-A", "99999999 A"],
        words: &["dni", "nif"],
        is_valid: valid::es_dni,
        score: 0.9,
    },
    Number {
        name: "es-nie",
        forms: &["A9999999A", "A-9999999-A"],
        named_forms: &[],
        words: &[],
        is_valid: valid::es_nie,
        score: 0.9,
    },
    Number {
        name: "fr-nir",
        forms: &["9 99 99 XX 999 999 99", "99999XX99999999"],
        named_forms: &["9 99 99 XX 999 999"],
        words: &["nir", "curit", "insee"],
        is_valid: valid::fr_nir,
        score: 0.95,
    },
    Number {
        name: "it-codice-fiscale",
        forms: &["AAAAAA99A99A999A"],
        named_forms: &[],
        words: &[],
        is_valid: valid::it_codice_fiscale,
        score: 0.95,
    },
    Number {
        name: "pl-pesel",
        forms: &[],
        named_forms: &["99999999999"],
        words: &["pesel"],
        is_valid: valid::pl_pesel,
        score: 0.95,
    },
    Number {
        name: "br-cpf",
        forms: &["999.999.999-99"],
        named_forms: &["99999999999"],
        words: &["cpf"],
        is_valid: valid::br_cpf,
        score: 0.95,
    },
    Number {
        name: "se-personnummer",
        forms: &["999999-9999", "999999+9999", "99999999-9999"],
        named_forms: &["9999999999", "999999999999"],
        words: &["personnummer", "person nr", "personnr", "pnr"],
        is_valid: valid::se_personnummer,
        score: 0.9,
    },
    Number {
        name: "uk-nino",
        forms: &["AA999999A", "AA 99 99 99 A"],
        named_forms: &[],
        words: &[],
        is_valid: valid::uk_nino,
        score: 0.85,
    },
    Number {
        name: "ch-ahv",
        forms: &["999.9999.9999.99", "9999999999999"],
        named_forms: &[],
        words: &[],
        is_valid: valid::ch_ahv,
        score: 0.95,
    },
    Number {
        name: "be-rijksregister",
        forms: &["99.99.99-999.99"],
        named_forms: &["99999999999"],
        words: &["rijksregister", "registre national", "insz", "niss"],
        is_valid: valid::be_rijksregister,
        score: 0.95,
    },
];

/// A way to write a number of a kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// The row in [`NUMBERS`].
    pub(super) row: usize,
    form: &'static str,
    is_named: bool,
}

/// The forms that can begin with so many digits, by that number: at a place only a few have to be tried.
pub(super) fn forms_by_digits() -> Vec<Vec<Form>> {
    let rows = NUMBERS.iter().enumerate();
    let forms = rows.flat_map(|(row, rule)| {
        let unnamed = rule.forms.iter().map(move |form| Form { row, form, is_named: false });
        unnamed.chain(rule.named_forms.iter().map(move |form| Form { row, form, is_named: true }))
    });
    let mut by_digits = vec![Vec::new(); FORM_BYTES_MAX];
    for form in forms {
        let digits = form.form.bytes().take_while(|mark| *mark == b'9').count();
        let may_go_on = form.form.as_bytes().get(digits) == Some(&b'X');
        for (count, forms) in by_digits.iter_mut().enumerate() {
            if count == digits || (may_go_on && count > digits) {
                forms.push(form);
            }
        }
    }
    by_digits
}

/// The number that is written in a form at a place.
pub(super) fn number(form: &Form, window: &Window<'_>, start: usize) -> Option<Range<usize>> {
    let bytes = window.text.as_bytes();
    let rule = NUMBERS.get(form.row)?;
    let end = start + form.form.len();
    window.count_work(form.form.len());
    let (number, length) = read_form(form.form, bytes, start)?;
    if !super::ends_a_number(bytes, end) || !(rule.is_valid)(number.get(..length)?) {
        return None;
    }
    if form.is_named {
        let before = bytes.get(start.saturating_sub(CONTEXT_BYTES_MAX)..start)?.to_ascii_lowercase();
        window.count_work(CONTEXT_BYTES_MAX);
        rule.words.iter().find(|word| memchr::memmem::find(&before, word.as_bytes()).is_some())?;
    }
    Some(start..end)
}

/// The digits and letters of what is written in a form.
fn read_form(form: &str, bytes: &[u8], start: usize) -> Option<([u8; FORM_BYTES_MAX], usize)> {
    let text = bytes.get(start..start + form.len())?;
    let mut number = [0; FORM_BYTES_MAX];
    let mut length = 0;
    for (mark, byte) in form.bytes().zip(text) {
        let (fits, counts) = match mark {
            b'9' => (byte.is_ascii_digit(), true),
            b'A' => (byte.is_ascii_uppercase(), true),
            b'X' => (byte.is_ascii_uppercase() || byte.is_ascii_digit(), true),
            _ => (mark == *byte, false),
        };
        if !fits {
            return None;
        }
        if counts {
            *number.get_mut(length)? = *byte;
            length += 1;
        }
    }
    Some((number, length))
}
