//! Statements by a grammar, so that most of them are valid: the choices are an input of the fuzzer.

mod changes;
mod expressions;
mod queries;
mod vocabulary;

use libfuzzer_sys::arbitrary::Unstructured;
use vocabulary::{GAPS, NAMES, OTHERS};

/// A mark in literals.
pub(crate) const SECRET: &str = "zqsecret";

/// The depth to which expressions and queries are nested.
const DEEPEST: usize = 5;
/// The length at which a statement is brought to its end.
const LONGEST: usize = 1 << 10;

/// Makes a text of one statement, and sometimes of more.
pub(crate) fn statements(choices: &mut Unstructured<'_>) -> String {
    let mut generator = Generator { choices, out: String::new(), depth: 0 };
    if generator.one_in(8) {
        generator.put(&[";", "/*;*/", "--;\n", "; ;", "\t"]);
    }
    generator.statement();
    while generator.one_in(5) {
        generator.out.push(';');
        generator.gap();
        generator.statement();
    }
    generator.out
}

struct Generator<'a, 'b> {
    choices: &'a mut Unstructured<'b>,
    out: String,
    depth: usize,
}

impl Generator<'_, '_> {
    /// A number below a bound; 0 once the choices are used up.
    fn choose(&mut self, bound: u8) -> u8 {
        self.choices.arbitrary::<u8>().map_or(0, |number| number % bound)
    }

    fn one_in(&mut self, bound: u8) -> bool {
        self.choose(bound) == 1
    }

    fn gap(&mut self) {
        let gap = usize::from(self.choose(12));
        self.out.push_str(GAPS[gap]);
    }

    /// One of these texts, as it is.
    fn put(&mut self, texts: &[&str]) {
        let count = u8::try_from(texts.len()).expect("there are few");
        let text = texts[usize::from(self.choose(count))];
        self.out.push_str(text);
    }

    /// Key words, in any case, with gaps around.
    fn words(&mut self, words: &str) {
        self.gap();
        match self.choose(6) {
            0 => self.out.push_str(&words.to_ascii_uppercase()),
            _ => self.out.push_str(words),
        }
        self.gap();
    }

    fn name(&mut self) {
        self.put(&NAMES);
    }

    fn relation(&mut self) {
        if self.one_in(6) {
            self.out.push_str("only ");
        }
        if self.one_in(5) {
            self.name();
            self.out.push('.');
        }
        self.name();
    }

    fn list(&mut self, item: fn(&mut Self)) {
        item(self);
        while self.one_in(3) && self.out.len() < LONGEST {
            self.out.push(',');
            item(self);
        }
    }

    fn parenthesized(&mut self, content: fn(&mut Self)) {
        self.out.push('(');
        content(self);
        self.out.push(')');
    }

    fn statement(&mut self) {
        match self.choose(16) {
            0..=6 => self.query(),
            7 => self.insert(),
            8 => self.update(),
            9 => self.delete(),
            10 => self.merge(),
            11 => {
                self.words("explain");
                self.query();
            }
            12 => {
                self.with_clause();
                match self.choose(3) {
                    0 => self.insert(),
                    1 => self.update(),
                    _ => self.delete(),
                }
            }
            _ => self.put(&OTHERS),
        }
    }
}
