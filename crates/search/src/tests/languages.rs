//! Texts of many languages: what of them is found, and what is not, in records that are sealed and indexed and in those that are not.

use std::collections::BTreeSet;

use record::{Draft, Field};
use world::World;

use super::Log;
use crate::View;
use crate::matching::has_words;
use crate::snippets::Sought;
use crate::words::{Finder, Phrase};

/// A language, a sentence, what is looked for and has to be found, and what must not be.
struct Spoken(&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const LANGUAGES: [Spoken; 26] = [
    Spoken(
        "English",
        "The refund policy doesn't cover items from St. John's.",
        &["REFUND", "refund policy", "pol*", "doesn't cover", "john's", "St John"],
        &["refunds", "policy refund", "does", "cover the"],
    ),
    Spoken(
        "German",
        "Die Größe der Fußgängerübergänge überprüfen wir später.",
        &["größe", "GRÖßE", "fußgänger*", "*übergänge", "überprüfen wir", "ÜBERPRÜFEN"],
        &["grosse", "übergänge", "größe die", "fuß"],
    ),
    Spoken(
        "French",
        "L'été dernier, l'élève a mangé du bœuf à Besançon.",
        &["été", "ÉTÉ", "l'été", "l élève", "bœuf", "besançon", "à Besançon", "ÉLÈVE"],
        &["ete", "boeuf", "lété", "besancon"],
    ),
    Spoken(
        "Spanish",
        "¿Cuándo llegará mi pedido? ¡El niño espera mañana!",
        &["cuándo", "CUÁNDO", "¿cuándo", "niño", "el niño espera", "mañ*", "pedido el"],
        &["cuando", "nino", "manana"],
    ),
    Spoken(
        "Portuguese",
        "A situação não está à altura das expectativas; põe-se o coração.",
        &["situação", "SITUAÇÃO", "não está", "põe-se", "se o coração", "cora*"],
        &["situacao", "nao", "põese"],
    ),
    Spoken(
        "Italian",
        "Perché l'università dell'Aquila è più città che paese?",
        &["perché", "PERCHÉ", "l'università", "dell aquila", "più città", "è"],
        &["perche", "universita", "e"],
    ),
    Spoken(
        "Polish",
        "Zażółć gęślą jaźń, Łódź czeka na źródło.",
        &["zażółć", "ZAŻÓŁĆ GĘŚLĄ JAŹŃ", "łódź", "źród*", "jaźń łódź"],
        &["lodz", "zazolc", "jazn"],
    ),
    Spoken(
        "Turkish",
        "İstanbul'da ığdır çiçeği, ŞİŞLİ'de güneş.",
        &["istanbul", "İSTANBUL", "istanbul'da", "ığdır", "şişli", "çiçeği", "güneş"],
        &["igdir", "sisli", "ıstanbul"],
    ),
    Spoken(
        "Russian",
        "Съешь ещё этих мягких французских булок, да выпей чаю.",
        &["СЪЕШЬ", "ещё этих", "франц*", "*ких", "булок да"],
        &["еще", "булки", "этих ещё"],
    ),
    Spoken(
        "Ukrainian",
        "Ґанок їхньої хати — це щастя; з'їж п'ять яблук.",
        &["ґанок", "ЇХНЬОЇ", "з'їж", "п'ять яблук", "хати це", "щас*"],
        &["ганок", "пять", "зїж"],
    ),
    Spoken(
        "Greek",
        "Ο ΟΔΟΣ της Αθήνας είναι ο δρόμος προς τον Πειραιά.",
        &["οδος", "οδοσ", "ΑΘΉΝΑΣ", "δρόμος", "ΔΡΌΜΟΣ ΠΡΟΣ", "προς τον"],
        &["δρομος", "οδου"],
    ),
    Spoken(
        "Arabic",
        "سياسة الاسترداد، في المدينة: السَّلامُ عليكم؟",
        &["الاسترداد", "سياسة الاسترداد", "الاست*", "السَّلامُ", "المدينة السَّلامُ"],
        &["استرداد", "السلام", "المدينه"],
    ),
    Spoken(
        "Hebrew",
        "בית־ספר חדש נפתח בתל־אביב: שָׁלוֹם לכולם, צה״ל וג׳ירפה.",
        &["ספר", "בית", "בית ספר", "בתל*", "אביב", "שָׁלוֹם", "בית־ספר"],
        &["שלום", "ספרים", "חדש בית"],
    ),
    Spoken(
        "Persian",
        "من می‌خواهم کتاب‌ها را پس بدهم، ۱۲۳ تومان.",
        &["می‌خواهم", "کتاب‌ها را", "کتاب*", "۱۲۳", "پس بدهم"],
        &["خواهم", "كتاب", "123"],
    ),
    Spoken(
        "Hindi",
        "धन्यवाद, वापसी की नीति हिन्दी में क्षमा करें।",
        &["हिन्दी", "वापसी की नीति", "क्षमा", "धन्य*", "करें"],
        &["हिन्द", "क्ष", "नीति की"],
    ),
    Spoken(
        "Bengali",
        "ফেরত নীতি বাংলায় পড়ুন, দুঃখিত।",
        &["ফেরত নীতি", "বাংলায়", "পড়ুন", "দুঃখিত", "বাং*"],
        &["বাংলা", "নীতি ফেরত"],
    ),
    Spoken(
        "Tamil",
        "பணத்தைத் திரும்பப் பெறும் கொள்கை தமிழில் உள்ளது.",
        &["தமிழில்", "கொள்கை தமிழில்", "பெறும்", "தமி*", "திரும்பப்"],
        &["தமிழ்", "கொள்கை உள்ளது"],
    ),
    Spoken(
        "Thai",
        "นโยบายการคืนเงินใช้ได้ภายในสามสิบวัน",
        &["คืนเงิน", "นโยบาย", "ภายใน", "การคืนเงิน", "วัน"],
        &["เงินคืน", "สี่สิบ", "นโยบายคืน"],
    ),
    Spoken(
        "Vietnamese",
        "Chính sách hoàn tiền được áp dụng ở Đà Nẵng.",
        &["chính sách", "HOÀN TIỀN", "được", "đà nẵng", "ĐÀ NẴNG", "áp dụng"],
        &["chinh sach", "da nang", "duoc"],
    ),
    Spoken(
        "Chinese, simplified",
        "退款政策适用于三十天以内的订单，包括GPT模型。",
        &["退款", "款政", "政策适用", "订单", "gpt模型", "GPT", "订单，包括"],
        &["退策", "訂單", "款退", "模型gpt"],
    ),
    Spoken(
        "Chinese, traditional",
        "退款政策適用於三十天以內的訂單。㐀𠀀字也是。",
        &["退款", "訂單", "適用於", "㐀", "𠀀字"],
        &["订单", "用適"],
    ),
    Spoken(
        "Japanese",
        "人々はラーメンを食べた。〇〇さんの返金ポリシー、ｶﾞｲﾄﾞ。",
        &["人々", "々は", "ラーメン", "返金", "ポリシー", "〇", "〇さん", "食べた", "ｶﾞｲ"],
        &["金返", "ラメン", "らーめん"],
    ),
    Spoken(
        "Korean",
        "환불 정책은 서른 날 안에 적용됩니다.",
        &["환불", "환불 정책은", "정책*", "*책은", "적용됩니다"],
        &["정책", "책은", "불"],
    ),
    Spoken(
        "Swahili",
        "Sera ya kurejesha pesa inatumika ndani ya siku thelathini, ng'ombe.",
        &["kurejesha", "SERA YA", "kureje*", "ng'ombe", "pesa inatumika"],
        &["rejesha", "ngombe", "pesa sera"],
    ),
    Spoken("Georgian", "თბილისი არის დედაქალაქი.", &["თბილისი", "თბილ*", "არის დედაქალაქი"], &["ქალაქი"]),
    Spoken(
        "signs",
        "Works 👍🏽 and ❤️, 👩‍💻 → done ✅ C++ #1 50%",
        &["👍", "👍🏽", "❤️", "❤", "👩‍💻", "✅", "works 👍", "50%", "→ done"],
        &["👎", "👍 and", "510"],
    ),
];

/// How many records there are for each language in the part that is sealed.
const TIMES: usize = 45;

fn text(language: usize, nth: usize) -> String {
    let Spoken(_, sentence, ..) = LANGUAGES[language];
    match nth % 3 {
        0 => sentence.to_owned(),
        1 => serde_json::json!([{"role": "user", "parts": [{"type": "text", "content": sentence}]}]).to_string(),
        // As senders write JSON that keep to ASCII.
        _ => {
            let json = serde_json::json!({ "note": sentence }).to_string();
            let units = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
            json.chars().map(|c| if c.is_ascii() { c.to_string() } else { units(c) }).collect()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_and_phrases_of_many_languages_are_found_and_others_are_not() {
    let world = World::real();
    let languages = LANGUAGES.len();
    let draft = |n: usize| -> Draft {
        let mut draft = super::draft(&world, u64::try_from(n).unwrap() + 3);
        let bytes = text(n % languages, n / languages).into_bytes();
        draft.content = vec![Field { name: "gen_ai.output.messages".into(), media: "text/plain".into(), bytes }];
        draft
    };
    let log = Log::of((0..languages * TIMES).map(draft).collect()).await;
    log.index();
    let (mut found, mut wrong) = (0, Vec::new());
    for (language, Spoken(name, _, there, absent)) in LANGUAGES.iter().enumerate() {
        for (wanted, is_there) in there.iter().map(|text| (text, true)).chain(absent.iter().map(|text| (text, false))) {
            let query = format!("\"{wanted}\"");
            let rows = log.rows(&View::everything(), &query).await;
            let index = |row: &serde_json::Value| usize::try_from(row["log_index"].as_u64().unwrap()).unwrap();
            let of_it: BTreeSet<usize> = rows.iter().map(index).filter(|n| n % languages == language).collect();
            let expected =
                if is_there { (0..TIMES).map(|n| n * languages + language).collect() } else { BTreeSet::new() };
            if of_it != expected {
                wrong.push(format!("{name}: {wanted} is found in {} of {}", of_it.len(), expected.len()));
            }
            found += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {found}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_found_in_a_language_is_what_is_marked() {
    for (language, Spoken(name, sentence, there, absent)) in LANGUAGES.iter().enumerate() {
        for (wanted, is_there) in there.iter().map(|text| (text, true)).chain(absent.iter().map(|text| (text, false))) {
            let sought = Sought::of(&has_words(datafusion::prelude::col("output"), wanted));
            let finder = Finder::new(Phrase::of(wanted).unwrap());
            for nth in 0..3 {
                let said = text(language, nth);
                let snippets = sought.snippets(|column| (column == "output").then_some(said.as_str()));
                assert_eq!(snippets.len(), usize::from(is_there), "{name}: {wanted}");
                for snippet in snippets {
                    assert_eq!(snippet.text, *sentence, "{name}: as it was said");
                    assert!(!snippet.marks.is_empty(), "{name}: {wanted}");
                    for (start, end) in snippet.marks {
                        let [start, end] = [start, end].map(|at| usize::try_from(at).unwrap());
                        let marked: String = sentence.chars().skip(start).take(end - start).collect();
                        assert!(finder.is_in(&marked), "{name}: {marked} is marked for {wanted}");
                    }
                }
            }
        }
    }
}
