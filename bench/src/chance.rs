//! Numbers, names and texts that are as if by chance, and the same in each run.

use world::{Entropy, SeededEntropy};

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

/// What is drawn from one seed.
pub(crate) struct Chance(SeededEntropy);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    pub(crate) fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    pub(crate) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap_or_default()
    }

    /// A number below `end`, small ones by far the likeliest: its logarithm is spread evenly (Zipf's law with exponent 1).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative, and what is behind its point is left out"
    )]
    pub(crate) fn zipf(&mut self, end: u64) -> u64 {
        let even = (self.number() >> 11) as f64 / (1_u64 << 53) as f64;
        ((even * ((end + 1) as f64).ln()).exp() as u64).saturating_sub(1).min(end - 1)
    }

    /// What an identifier needs of chance.
    pub(crate) fn bytes(&self) -> [u8; 10] {
        let entropy: &dyn Entropy = &self.0;
        entropy.bytes()
    }

    pub(crate) fn one_of<'w>(&mut self, words: &[&'w str]) -> &'w str {
        let at = self.index(words.len());
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
