//! What makes a number valid. Each function gets digits and capitals without separators, in a form that its rule allows.

fn digit(byte: u8) -> u32 {
    u32::from(byte.wrapping_sub(b'0'))
}

fn value(number: &[u8]) -> u64 {
    number.iter().fold(0_u64, |value, byte| value.wrapping_mul(10).wrapping_add(u64::from(digit(*byte))))
}

fn weighted(number: &[u8], weights: &[u32]) -> u32 {
    number.iter().zip(weights).map(|(byte, weight)| digit(*byte) * weight).sum()
}

fn is_date(month: u64, day: u64) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

fn is_one_digit(number: &[u8]) -> bool {
    number.windows(2).all(|two| matches!(two, [a, b] if a == b))
}

/// ISO/IEC 7812-1, annex B.
fn luhn(number: &[u8]) -> bool {
    let sum: u32 = number
        .iter()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let doubled = digit(*byte) << (place % 2);
            if doubled > 9 { doubled - 9 } else { doubled }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Luhn's check digit, and a prefix and a length that the networks use (Visa, Mastercard, American Express, Discover, JCB, Diners Club, `UnionPay`).
pub(super) fn payment_card(number: &[u8]) -> bool {
    let prefix = |digits: usize| number.get(..digits).map_or(0, value);
    let is_known = match number.len() {
        13 => prefix(1) == 4,
        14 => matches!(prefix(3), 300..=305) || matches!(prefix(2), 36 | 38 | 39),
        15 => matches!(prefix(2), 34 | 37),
        16 => {
            prefix(1) == 4
                || matches!(prefix(2), 51..=55 | 62 | 65)
                || matches!(prefix(3), 644..=649)
                || matches!(prefix(4), 2221..=2720 | 6011 | 3528..=3589)
        }
        19 => prefix(1) == 4 || prefix(2) == 62,
        _ => false,
    };
    is_known && luhn(number)
}

/// Social Security Administration, POMS RM 10201.035: numbers that are never assigned, and the two that were printed as examples.
pub(super) fn us_ssn(number: &[u8]) -> bool {
    let (area, group, serial) = (value(&number[..3]), value(&number[3..5]), value(&number[5..]));
    let is_assigned = !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0;
    is_assigned && !is_one_digit(number) && !matches!(value(number), 78_051_120 | 219_099_999 | 123_456_789)
}

/// Bundeszentralamt für Steuern: among the first ten digits one occurs twice or three times and the rest at most once; ISO 7064 MOD 11,10.
pub(super) fn de_steuer_id(number: &[u8]) -> bool {
    let mut counts = [0_u8; 10];
    for byte in &number[..10] {
        counts[digit(*byte) as usize % 10] += 1;
    }
    let repeated = counts.iter().filter(|count| **count > 1).count();
    let most = counts.iter().max().copied().unwrap_or(0);
    let product = number[..10].iter().fold(10, |product, byte| {
        let sum = (digit(*byte) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    number[0] != b'0' && repeated == 1 && most <= 3 && (11 - product) % 10 == digit(number[10])
}

/// Burgerservicenummer: the sum with weights 9 to 2 and minus one is divisible by eleven.
pub(super) fn nl_bsn(number: &[u8]) -> bool {
    let sum = weighted(&number[..8], &[9, 8, 7, 6, 5, 4, 3, 2]);
    value(number) > 9_999_999 && !is_one_digit(number) && (sum + 11 - digit(number[8])).is_multiple_of(11)
}

const SPANISH_LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

/// Real Decreto 1553/2005: the letter is the remainder by 23.
pub(super) fn es_dni(number: &[u8]) -> bool {
    let place = usize::try_from(value(&number[..8]) % 23).unwrap_or(0);
    !is_one_digit(&number[..8]) && SPANISH_LETTERS.get(place) == number.last()
}

/// As the DNI, with X, Y, Z for 0, 1, 2.
pub(super) fn es_nie(number: &[u8]) -> bool {
    let mut digits = [0; 9];
    digits.copy_from_slice(&number[..9]);
    if !matches!(digits[0], b'X'..=b'Z') {
        return false;
    }
    digits[0] = digits[0] - b'X' + b'0';
    es_dni(&digits)
}

/// INSEE: sex, year, month, department (2A and 2B count as 19 and 18), commune, order; the key is 97 minus the remainder.
pub(super) fn fr_nir(number: &[u8]) -> bool {
    let mut digits = [0; 13];
    digits.copy_from_slice(&number[..13]);
    match &number[5..7] {
        b"2A" => digits[5..7].copy_from_slice(b"19"),
        b"2B" => digits[5..7].copy_from_slice(b"18"),
        _ => {}
    }
    let month = value(&digits[3..5]);
    let is_form = digits.iter().all(u8::is_ascii_digit) && matches!(digits[0], b'1'..=b'4' | b'7' | b'8');
    let is_month = (1..=12).contains(&month) || (20..=42).contains(&month);
    let is_keyed = number.get(13..15).is_none_or(|key| value(key) == 97 - value(&digits) % 97);
    is_form && is_month && is_keyed
}

/// Decreto ministeriale 12 marzo 1974: month letter, day (plus 40 for women), check letter by odd and even places.
pub(super) fn it_codice_fiscale(number: &[u8]) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let place = |byte: u8| if byte.is_ascii_digit() { digit(byte) } else { u32::from(byte - b'A') };
    let sum: u32 = number[..15]
        .iter()
        .enumerate()
        .map(|(index, byte)| if index % 2 == 0 { ODD[place(*byte) as usize % 26] } else { place(*byte) })
        .sum();
    let day = value(&number[9..11]);
    let is_day = (1..=31).contains(&day) || (41..=71).contains(&day);
    b"ABCDEHLMPRST".contains(&number[8]) && is_day && u32::from(number[15] - b'A') == sum % 26
}

/// PESEL: month with the century in it, day, weights 1 3 7 9.
pub(super) fn pl_pesel(number: &[u8]) -> bool {
    let sum = weighted(&number[..10], &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
    is_date(value(&number[2..4]) % 20, value(&number[4..6])) && (10 - sum % 10) % 10 == digit(number[10])
}

/// Receita Federal: two check digits with weights from 10 and from 11 down.
pub(super) fn br_cpf(number: &[u8]) -> bool {
    let check = |sum: u32| (sum * 10 % 11) % 10;
    let first = check(weighted(&number[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]));
    let second = check(weighted(&number[..10], &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]));
    !is_one_digit(number) && first == digit(number[9]) && second == digit(number[10])
}

/// Skatteverket: a date (plus 60 for a coordination number) and Luhn's digit over the last ten.
pub(super) fn se_personnummer(number: &[u8]) -> bool {
    let number = &number[number.len() - 10..];
    let day = value(&number[4..6]);
    is_date(value(&number[2..4]), if day > 60 { day - 60 } else { day }) && luhn(number)
}

/// HMRC, NIM39110: letters and pairs that are never used, and the last letter.
pub(super) fn uk_nino(number: &[u8]) -> bool {
    let (first, second) = (number[0], number[1]);
    let is_pair = !b"DFIQUV".contains(&first) && !b"DFIOQUV".contains(&second);
    let is_used = !matches!(&number[..2], b"BG" | b"GB" | b"KN" | b"NK" | b"NT" | b"TN" | b"ZZ");
    is_pair && is_used && matches!(number[8], b'A'..=b'D')
}

/// Swiss AHV number: an EAN-13 with the country's prefix 756.
pub(super) fn ch_ahv(number: &[u8]) -> bool {
    let sum = weighted(&number[..12], &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3]);
    number.starts_with(b"756") && (10 - sum % 10) % 10 == digit(number[12])
}

/// Belgian register: a date and 97 minus the remainder, with a 2 before it for those born from 2000 on.
pub(super) fn be_rijksregister(number: &[u8]) -> bool {
    let (base, check) = (value(&number[..9]), value(&number[9..]));
    let is_day = value(&number[2..4]) <= 12 && value(&number[4..6]) <= 31;
    is_day && (check == 97 - base % 97 || check == 97 - (base + 2_000_000_000) % 97)
}
