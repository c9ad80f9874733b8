//! The patterns of LIKE and GLOB, compared so that it can be interrupted.

use rusqlite::Result;

use super::stop_check::WorkBudget;

/// The special characters of a pattern; 0 where there is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Syntax {
    any: u32,
    one: u32,
    /// The begin of a set.
    set: u32,
    escape: u32,
    ignores_case: bool,
}

impl Syntax {
    pub(super) const LIKE: Self =
        Self { any: '%' as u32, one: '_' as u32, set: 0, escape: 0, ignores_case: true };
    pub(super) const GLOB: Self =
        Self { any: '*' as u32, one: '?' as u32, set: '[' as u32, escape: 0, ignores_case: false };

    /// With a character before those that stand for themselves.
    pub(super) fn escaped_by(self, escape: u32) -> Self {
        let unless_escape = |special| if special == escape { 0 } else { special };
        Self { any: unless_escape(self.any), one: unless_escape(self.one), escape, ..self }
    }
}

/// A part of a pattern.
enum Part {
    /// Any number of characters.
    Any,
    One,
    Character(u32),
    /// One character in, or with `is_inverted` outside of, these ranges.
    Set {
        ranges: Vec<(u32, u32)>,
        is_inverted: bool,
    },
    /// The end of a pattern that is not complete: no text matches.
    Never,
}

/// A pattern, ready to be compared.
pub(super) struct Pattern {
    parts: Vec<Part>,
    ignores_case: bool,
}

impl Pattern {
    /// Reads a pattern; any bytes are one.
    pub(super) fn read(mut text: &[u8], syntax: Syntax) -> Self {
        let mut parts = Vec::new();
        while !text.is_empty() {
            let character = read_character(&mut text);
            parts.push(if character == syntax.any {
                Part::Any
            } else if character == syntax.escape {
                match read_character(&mut text) {
                    0 => Part::Never,
                    literal => Part::Character(literal),
                }
            } else if character == syntax.set {
                read_set(&mut text)
            } else if character == syntax.one {
                Part::One
            } else {
                Part::Character(character)
            });
        }
        Self { parts, ignores_case: syntax.ignores_case }
    }

    /// Returns true if the whole text matches.
    pub(super) fn matches(&self, text: &[u8], work: &mut WorkBudget<'_>) -> Result<bool> {
        let mut rest = text;
        let mut index = 0;
        // The part behind the last [`Part::Any`], and the text from which it was tried: no earlier one helps.
        let mut last_any: Option<(usize, &[u8])> = None;
        loop {
            match self.parts.get(index) {
                Some(Part::Any) => {
                    index += 1;
                    last_any = Some((index, rest));
                    continue;
                }
                None if rest.is_empty() || self.ends_with_any(index) => return Ok(true),
                None => {}
                Some(_) if rest.is_empty() => return Ok(false),
                Some(part) => {
                    let character = read_character(&mut rest);
                    if self.fits(part, character, work)? {
                        index += 1;
                        continue;
                    }
                }
            }
            let Some((part, from)) = &mut last_any else { return Ok(false) };
            read_character(from);
            rest = *from;
            index = *part;
        }
    }

    fn ends_with_any(&self, index: usize) -> bool {
        index > 0 && matches!(self.parts[index - 1], Part::Any)
    }

    fn fits(&self, part: &Part, character: u32, work: &mut WorkBudget<'_>) -> Result<bool> {
        work.spend(1)?;
        Ok(match part {
            Part::Any | Part::Never => false,
            Part::One => true,
            Part::Character(own) => {
                *own == character || (self.ignores_case && lower(*own) == lower(character))
            }
            Part::Set { ranges, is_inverted } => {
                work.spend(ranges.len())?;
                let is_in = |(first, last): &(u32, u32)| (*first..=*last).contains(&character);
                ranges.iter().any(is_in) != *is_inverted
            }
        })
    }
}

/// The lower case of ASCII's letters.
fn lower(character: u32) -> u32 {
    u8::try_from(character).map_or(character, |byte| byte.to_ascii_lowercase().into())
}

/// Reads a set behind its bracket.
fn read_set(text: &mut &[u8]) -> Part {
    let mut ranges = Vec::new();
    let mut character = read_character(text);
    let is_inverted = character == '^' as u32;
    if is_inverted {
        character = read_character(text);
    }
    // As the first one it does not end the set.
    if character == ']' as u32 {
        ranges.push((character, character));
        character = read_character(text);
    }
    let mut prior = 0;
    while character != 0 && character != ']' as u32 {
        let is_range = character == '-' as u32 && prior > 0;
        if is_range && !matches!(text.first(), None | Some(b']')) {
            ranges.push((prior, read_character(text)));
            prior = 0;
        } else {
            ranges.push((character, character));
            prior = character;
        }
        character = read_character(text);
    }
    if character == 0 { Part::Never } else { Part::Set { ranges, is_inverted } }
}

/// Returns true for a byte inside of a character.
pub(super) fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// The number of bytes that continue a character.
pub(super) fn continuations(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_continuation(**byte)).count()
}

/// Reads a character from a text, as SQLite does from any bytes; 0 at its end.
pub(super) fn read_character(text: &mut &[u8]) -> u32 {
    let Some((first, rest)) = text.split_first() else { return 0 };
    *text = rest;
    let bits = match *first {
        0xc0..=0xdf => first & 0x1f,
        0xe0..=0xef => first & 0x0f,
        0xf0..=0xf7 => first & 0x07,
        0xf8..=0xfb => first & 0x03,
        0xfc..=0xfd => first & 0x01,
        0xfe..=0xff => 0,
        0..=0xbf => return u32::from(*first),
    };
    let (more, behind) = rest.split_at(continuations(rest));
    *text = behind;
    let add = |character: u32, byte: &u8| (character << 6).wrapping_add(u32::from(byte & 0x3f));
    let character = more.iter().fold(u32::from(bits), add);
    let is_invalid = character < 0x80 || character & 0xffff_f800 == 0xd800;
    if is_invalid { 0xfffd } else { character }
}
