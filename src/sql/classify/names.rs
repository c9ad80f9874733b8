//! Names: folded, met, written down.

use std::borrow::Cow;
use std::collections::HashSet;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, TableAlias};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::parser_tokens::word;
use super::walk::{Binding, NotUnderstood, Scope, Understood, Walk, only_if};
use crate::sql::scanner::is_among;

/// Words that PostgreSQL reserves, or takes for no table's and no column's name unless quoted. Where the parser
/// thinks that it read one as a name, it missed what PostgreSQL reads there.
const RESERVED: &str = "\
    all analyse analyze and any array as asc asymmetric authorization binary both case cast \
    check collate collation column concurrently constraint create cross current_catalog \
    current_date current_role current_schema current_time current_timestamp current_user default \
    deferrable desc distinct do else end except false fetch for foreign freeze from full grant \
    group having ilike in initially inner intersect into is isnull join lateral leading left \
    like limit localtime localtimestamp natural not notnull null offset on only or order outer \
    overlaps placing primary references returning right select session_user similar some \
    symmetric system_user table tablesample then to trailing true union unique user using \
    variadic verbose when where window with";

/// Words that stand before a parenthesis without being called.
const SYNTAX: &str = "\
    all and any array as between bigint bit boolean by case cast char character coalesce \
    conflict cube current_time current_timestamp dec decimal delete distinct else escape except \
    exists extract filter first float from greatest group grouping having ilike in insert int \
    integer intersect interval into is join lateral least like limit localtime localtimestamp \
    materialized next not nullif numeric of offset on operator or order over overlaps partition \
    position precision real repeatable returning rollup row second select set sets similar smallint some symmetric \
    then time timestamp to trim union update using values varbit varchar varying when where \
    within";

/// The longest name of PostgreSQL (NAMEDATALEN - 1).
const MAX_NAME_BYTES: usize = 63;

/// The names in a text, folded: all its words but the keywords, and keywords where they may be called.
pub(crate) fn names(tokens: &[Token]) -> HashSet<String> {
    let followers = tokens.iter().skip(1).map(Some).chain([None]);
    let mut names = HashSet::new();
    for (token, follower) in tokens.iter().zip(followers) {
        let Some(word) = word(token) else { continue };
        let quoted = word.quote_style.is_some();
        let name = fold(&word.value, quoted);
        let called = follower == Some(&Token::LParen) && !is_among(&name, SYNTAX);
        if quoted || word.keyword == Keyword::NoKeyword || called {
            names.insert(name.into_owned());
        }
    }
    names
}

/// A name as PostgreSQL folds it: ASCII letters only, as in every multi-byte encoding.
fn fold(name: &str, quoted: bool) -> Cow<'_, str> {
    if quoted || !name.contains(|c: char| c.is_ascii_uppercase()) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.to_ascii_lowercase())
    }
}

/// A name's text, folded.
pub(crate) fn folded(name: &Ident) -> Cow<'_, str> {
    fold(&name.value, name.quote_style.is_some())
}

/// Tells whether a name is this word, unquoted.
pub(crate) fn is_word(name: &Ident, word: &str) -> bool {
    name.quote_style.is_none() && name.value.eq_ignore_ascii_case(word)
}

/// The parts of a name, each an ordinary identifier.
pub(super) fn parts(name: &ObjectName) -> Result<Vec<&Ident>, NotUnderstood> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(name) => Ok(name),
            ObjectNamePart::Function(_) => Err(NotUnderstood),
        })
        .collect()
}

/// A part as `to_regclass` reads it: unquoted parts are names already, since the lexer made them.
fn spelled(name: &Ident) -> Cow<'_, str> {
    let text = folded(name);
    let plain = |(at, c): (usize, char)| {
        c.is_ascii_lowercase() || c == '_' || at > 0 && (c.is_ascii_digit() || c == '$')
    };
    if name.quote_style.is_none() || text.char_indices().all(plain) {
        text
    } else {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
    }
}

impl<'a> Walk<'a> {
    /// Meets a name that may be any word: a label after AS, a column after a point. PostgreSQL cuts off
    /// what is too long.
    pub(crate) fn label(&mut self, name: &Ident) -> Understood {
        only_if(name.value.len() <= MAX_NAME_BYTES)?;
        only_if(matches!(name.quote_style, None | Some('"')))?;
        self.unmet.remove(&*folded(name));
        Ok(())
    }

    /// Meets a name that may not be a reserved word.
    pub(crate) fn name(&mut self, name: &Ident) -> Understood {
        let reserved = name.quote_style.is_none() && is_among(&name.value, RESERVED);
        only_if(!reserved)?;
        self.label(name)
    }

    /// Meets a name with points in it.
    pub(crate) fn qualified(&mut self, names: &[&Ident]) -> Understood {
        let (first, others) = names.split_first().ok_or(NotUnderstood)?;
        self.name(first)?;
        others.iter().try_for_each(|name| self.label(name))
    }

    /// Meets a name of something that is looked at by name only: a column to assign, a collation.
    pub(crate) fn plain(&mut self, name: &ObjectName) -> Understood {
        self.qualified(&parts(name)?)
    }

    /// Meets a table's alias, and the types that come with it.
    pub(crate) fn alias(&mut self, alias: Option<&'a TableAlias>) -> Understood {
        let Some(TableAlias { explicit: _, name, columns, at }) = alias else { return Ok(()) };
        only_if(at.is_none())?;
        self.name(name)?;
        for column in columns {
            self.name(&column.name)?;
            if let Some(data_type) = &column.data_type {
                self.data_type(data_type)?;
            }
        }
        Ok(())
    }

    /// Records a relation, whatever common table expressions are called.
    pub(crate) fn relation(&mut self, name: &ObjectName) -> Understood {
        let parts = parts(name)?;
        only_if(parts.len() <= 3)?;
        self.qualified(&parts)?;
        let spelled: Vec<_> = parts.into_iter().map(spelled).collect();
        self.relations.insert(spelled.join("."));
        Ok(())
    }

    /// Records a relation unless it is a common table expression in scope.
    pub(crate) fn relation_or_binding(&mut self, name: &ObjectName) -> Understood {
        if let [only] = parts(name)?.as_slice()
            && self.is_bound(&folded(only))
        {
            return self.name(only);
        }
        self.relation(name)
    }

    /// Brings a common table expression into scope.
    pub(crate) fn bind(&mut self, name: &Ident) {
        self.bindings.push(Binding { name: folded(name).into_owned(), outer: self.scope });
        self.scope = Some(self.bindings.len() - 1);
    }

    fn is_bound(&self, name: &str) -> bool {
        let binding = |scope: Scope| scope.and_then(|index| self.bindings.get(index));
        std::iter::successors(binding(self.scope), |b| binding(b.outer)).any(|b| b.name == name)
    }

    /// Records a name that would be called as a function if it were no column: `t.f` is `f(t)`.
    pub(crate) fn attribute(&mut self, name: &Ident) -> Understood {
        self.label(name)?;
        self.attributes.insert(folded(name).into_owned());
        Ok(())
    }

    /// Records a function that special syntax calls.
    pub(crate) fn special(&mut self, name: &'static str) {
        self.unmet.remove(name);
        self.functions.insert(name.to_owned());
    }

    /// Records a function.
    pub(crate) fn function_name(&mut self, name: &ObjectName) -> Understood {
        let parts = parts(name)?;
        // A point inside a part would read as one between parts.
        only_if(parts.iter().all(|part| !part.value.contains('.')))?;
        parts.iter().try_for_each(|part| self.label(part))?;
        let written = match parts.as_slice() {
            [name] => folded(name).into_owned(),
            [schema, name] if folded(schema) == "pg_catalog" => folded(name).into_owned(),
            [schema, name] => format!("{}.{}", folded(schema), folded(name)),
            _ => return Err(NotUnderstood),
        };
        self.functions.insert(written);
        Ok(())
    }
}
