//! Numbers, names and texts that are as if by chance, and the same in each run.

/// Words of texts as JSON writes them. Some hold what JSON escapes, as people's texts do.
const WORDS: [&str; 24] = [
    "the",
    "refund",
    "is",
    "possible",
    "within",
    "three",
    "weeks",
    "of",
    "your",
    "order",
    "please",
    "send",
    "us",
    "its",
    "number",
    "and",
    "we",
    "will",
    "look",
    "at",
    "it",
    r#"\"today\""#,
    r"again.\n\n",
    "Thank",
];

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    pub(crate) fn one_of<'w>(&mut self, words: &[&'w str]) -> &'w str {
        let at = usize::try_from(self.below(words.len() as u64)).unwrap_or_default();
        words.get(at).copied().unwrap_or_default()
    }

    /// 16 hexadecimal digits that are not all 0.
    pub(crate) fn span_id(&mut self) -> String {
        format!("{:016x}", self.number() | 1)
    }

    /// 32 hexadecimal digits that are not all 0.
    pub(crate) fn trace_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.number() | 1, self.number())
    }

    pub(crate) fn uuid(&mut self) -> String {
        let (high, low) = (self.number(), self.number());
        let (second, third) = ((high >> 16) & 0xFFFF, high & 0x0FFF);
        let (fourth, last) = (low >> 52, low & 0xFFFF_FFFF_FFFF);
        format!("{:08x}-{second:04x}-4{third:03x}-a{fourth:03x}-{last:012x}", high >> 32)
    }

    /// Writes a text of so many bytes, as it stands between the quotes of JSON.
    pub(crate) fn push_text(&mut self, out: &mut String, bytes: usize) {
        let end = out.len() + bytes;
        loop {
            let word = self.one_of(&WORDS);
            if out.len() + word.len() + 1 > end {
                break;
            }
            out.push_str(word);
            out.push(' ');
        }
        out.extend(std::iter::repeat_n('.', end - out.len()));
    }
}
