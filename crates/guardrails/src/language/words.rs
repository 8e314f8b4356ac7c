//! The small words of the languages, and the scripts.

/// A language that can be told.
pub(super) struct Known {
    /// ISO 639-1.
    pub(super) code: &'static str,
    /// Its most frequent small words, in small letters, with spaces between.
    pub(super) words: &'static str,
    /// The script that tells it without any word.
    pub(super) script: Option<Script>,
}

const fn by_words(code: &'static str, words: &'static str) -> Known {
    Known { code, words, script: None }
}

const fn by_script(code: &'static str, script: Script) -> Known {
    Known { code, words: "", script: Some(script) }
}

/// The languages, at most 32.
pub(super) const LANGUAGES: [Known; 27] = [
    by_words(
        "en",
        "the of and to in is that it was for on are as with his they at be this from have or by one had not but what all were \
        when we there can an your which their if will each about how do you i has been would could should",
    ),
    by_words(
        "de",
        "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat dass sie \
        nach wird bei einer um am sind noch wie einem über so zum war haben nur oder aber vor zur bis ich wir wurde",
    ),
    by_words(
        "fr",
        "de la le et les des en un une du est dans que pour qui il au sur ne pas plus par ce se son avec sa mais comme ou cette \
        sont elle nous vous je été aux ses leur être fait à a d l n c qu",
    ),
    by_words(
        "es",
        "de la que el en y a los se del las un por con no una su para es al lo como más pero sus le ya o este sí porque esta \
        entre cuando muy sin sobre también me hasta hay donde quien desde todo nos ha sido fue todavía",
    ),
    by_words(
        "it",
        "di e il la che in a un per è una non del si con i le da al sono come lo gli della ma anche nel dei più alla delle ha \
        se questo ed io ci mi o era suo quando essere stato ancora dal l",
    ),
    by_words(
        "pt",
        "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu sua ou ser \
        quando muito há nos já está eu também só pelo pela até isso ela entre ainda",
    ),
    by_words(
        "nl",
        "de van het een en in is dat op te zijn met voor niet aan er om ook als dan maar bij nog uit door over je ik hij ze \
        wordt naar heeft hebben deze kan geen of werd was tot wat meer dit al zo",
    ),
    by_words(
        "sv",
        "och att det i en jag hon som han på den med var sig för så till är men ett om hade de av icke mig du henne då sin nu \
        har inte hans honom skulle hennes där min man ej vid kunde något från ut när efter upp vi dem vara vad över än dig kan",
    ),
    by_words(
        "da",
        "og i jeg det at en den til er som på de med han af for ikke der var mig sig men et har om vi min havde ham hun nu over da \
        fra du ud sin dem os op man hans hvor eller hvad skal selv her alle vil blev kunne ind når være",
    ),
    by_words(
        "no",
        "og i jeg det at en et den til er som på de med han av ikke der så var meg seg men har om vi min hadde hun nå over da ved \
        fra du ut sin dem oss opp man kan hans hvor eller hva skal selv her alle vil ble kunne inn når være noe",
    ),
    by_words(
        "fi",
        "ja on ei se että hän oli joka mutta ovat kun niin myös olla kuin tai hänen sen tämä ole ne mitä vain jos minä sitten siitä \
        sitä vielä voi nyt kaikki mukaan jo kanssa ollut siinä ennen jälkeen",
    ),
    by_words(
        "pl",
        "i w na z się do nie że jest to o jak za od po co ale przez dla tak są był jego czy tylko jako już być może które który \
        tym ich tego była ze jej lub oraz przy te ma też jeszcze zostało",
    ),
    by_words(
        "cs",
        "a se v na je že s z do o k i ve to pro jsem za si ale by jako po jsou tak od byl jeho které který když nebo ze co už při \
        aby není bylo být jen také podle jak až této",
    ),
    by_words(
        "ro",
        "de și în a la cu pe nu o că un este din care mai pentru se să au sunt ca fi sau dar ce al prin fost lui după era cel ale \
        acest această când între fără",
    ),
    by_words(
        "hu",
        "a az és hogy nem is egy ez volt de ha csak meg már mint még vagy el van azt ki lehet minden kell olyan után sem között \
        ezt amely pedig mert így nagyon",
    ),
    by_words(
        "tr",
        "ve bir bu da de için ile çok olarak daha en olan gibi kadar ne ama o sonra her değil var ki ya mi mı ben sen biz onun \
        ise göre oldu şey bana",
    ),
    by_words(
        "id",
        "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena tersebut bisa ada mereka lebih kata \
        tahun sudah atau saat oleh menjadi orang kami adalah telah",
    ),
    by_words(
        "ru",
        "и в не на что он я с как а то это по но все она так его к у же был за бы от из ты о до вы ещё было который мы для при",
    ),
    by_words(
        "uk",
        "і в не на що з як це та до він я а про за від по у є був але так його для все вона ми бути який й чи ще також або",
    ),
    by_script("el", Script::Greek),
    by_script("he", Script::Hebrew),
    by_script("ar", Script::Arabic),
    by_script("hi", Script::Devanagari),
    by_script("th", Script::Thai),
    by_script("zh", Script::Han),
    by_script("ja", Script::Kana),
    by_script("ko", Script::Hangul),
];

/// A script; what is none of these has no say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Latin,
    Cyrillic,
    Greek,
    Hebrew,
    Arabic,
    Devanagari,
    Thai,
    Han,
    Kana,
    Hangul,
    Other,
}

/// The scripts by name, in their order.
pub(super) const SCRIPTS: [(&str, Script); 11] = [
    ("latin", Script::Latin),
    ("cyrillic", Script::Cyrillic),
    ("greek", Script::Greek),
    ("hebrew", Script::Hebrew),
    ("arabic", Script::Arabic),
    ("devanagari", Script::Devanagari),
    ("thai", Script::Thai),
    ("han", Script::Han),
    ("kana", Script::Kana),
    ("hangul", Script::Hangul),
    ("other", Script::Other),
];

impl Script {
    /// The script of a letter outside ASCII, by the blocks of Unicode.
    pub(super) fn of(letter: char) -> Option<Self> {
        Some(match u32::from(letter) {
            0xC0..=0x24F | 0x1E00..=0x1EFF if letter != '×' && letter != '÷' => Self::Latin,
            0x370..=0x3FF | 0x1F00..=0x1FFF => Self::Greek,
            0x400..=0x52F => Self::Cyrillic,
            0x590..=0x5FF => Self::Hebrew,
            0x600..=0x6FF | 0x750..=0x77F => Self::Arabic,
            0x900..=0x97F => Self::Devanagari,
            0xE00..=0xE7F => Self::Thai,
            0x3040..=0x30FF => Self::Kana,
            0x3400..=0x4DBF | 0x4E00..=0x9FFF => Self::Han,
            0x1100..=0x11FF | 0xAC00..=0xD7AF => Self::Hangul,
            _ if letter.is_alphabetic() => Self::Other,
            _ => return None,
        })
    }
}
