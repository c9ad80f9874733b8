//! Expressions, calls, casts.

use super::vocabulary::{FUNCTIONS, LITERALS, OPERATORS, TRIMS, TYPES};
use super::{DEEPEST, Generator, LONGEST};

impl Generator<'_, '_> {
    pub(super) fn call(&mut self) {
        self.put(&FUNCTIONS);
        self.gap();
        self.parenthesized(|it| match it.choose(12) {
            0 => {}
            1 => it.out.push('*'),
            2 => {
                it.put(&["distinct ", "variadic ", "all "]);
                it.expression();
            }
            3 => {
                it.name();
                it.put(&[" => ", " := "]);
                it.expression();
            }
            4 => {
                it.list(Self::expression);
                it.words("order by");
                it.expression();
            }
            5 => {
                it.expression();
                it.put(&[" from ", " for ", " in ", " placing "]);
                it.expression();
            }
            _ => it.list(Self::expression),
        });
        if self.one_in(8) {
            self.words("filter");
            self.parenthesized(|it| {
                it.words("where");
                it.expression();
            });
        }
        if self.one_in(8) {
            self.words("over");
            self.parenthesized(Self::window);
        }
    }

    pub(super) fn window(&mut self) {
        self.put(&[
            "",
            "w ",
            "partition by a ",
            "partition by f(a) order by b ",
            "order by a using < ",
        ]);
        self.put(&[
            "",
            "",
            "rows unbounded preceding",
            "range between 1 preceding and f(2) following",
            "groups current row exclude ties",
        ]);
    }

    pub(super) fn expression(&mut self) {
        if self.depth >= DEEPEST || self.out.len() > LONGEST {
            self.out.push('1');
            return;
        }
        self.depth += 1;
        match self.choose(24) {
            0..=3 => self.put(&LITERALS),
            4..=6 => self.name(),
            7 | 8 => {
                self.name();
                self.out.push('.');
                self.name();
                if self.one_in(4) {
                    self.out.push('.');
                    self.name();
                }
            }
            9 => self.put(&["$1", "$2", "$65535", "$65536", "$99999", "$007"]),
            10 | 11 => self.call(),
            12 | 13 => self.binary(),
            14 => self.parenthesized(Self::expression),
            15 => {
                self.expression();
                self.out.push_str("::");
                self.put(&TYPES);
            }
            16 => self.cast(),
            17 => self.parenthesized(Self::query),
            18 => self.subquery_test(),
            19 => self.special(),
            20 => self.case(),
            21 => {
                self.put(&["not ", "- ", "+ ", "@ ", "~ ", "!! ", "operator(s.-) ", "|/ "]);
                self.expression();
            }
            22 => self.test(),
            _ => self.access(),
        }
        self.depth -= 1;
    }

    pub(super) fn binary(&mut self) {
        self.expression();
        let operator = usize::from(self.choose(40));
        self.words(OPERATORS[operator]);
        self.expression();
    }

    pub(super) fn cast(&mut self) {
        match self.choose(4) {
            0 => {
                self.put(&TYPES);
                self.out.push_str(" 'zqsecret'");
            }
            1 => self.put(&[
                "interval '1' day",
                "date '2000-01-01'",
                "timestamp(3) '2000-01-01'",
                "zztype 'zqsecret'",
                "f(1) 'x'",
                "interval(3) '1'",
            ]),
            _ => {
                self.words("cast");
                self.out.push('(');
                self.expression();
                self.words("as");
                self.put(&TYPES);
                self.out.push(')');
            }
        }
    }

    pub(super) fn subquery_test(&mut self) {
        match self.choose(4) {
            0 => {
                self.words("exists");
                self.parenthesized(Self::query);
            }
            1 => {
                self.expression();
                self.put(&[
                    " in ",
                    " not in ",
                    " = any ",
                    " <> all ",
                    " operator(s.=) some ",
                    " like any ",
                ]);
                self.parenthesized(Self::query);
            }
            2 => {
                self.expression();
                self.put(&[" in ", " not in "]);
                self.parenthesized(|it| it.list(Self::expression));
            }
            _ => {
                self.words("array");
                self.parenthesized(Self::query);
            }
        }
    }

    pub(super) fn special(&mut self) {
        match self.choose(8) {
            0 => self.put(&[
                "extract(year from a)",
                "extract('epoch' from f(a))",
                "extract(zz from a)",
            ]),
            1 => self.put(&TRIMS),
            2 => self.put(&[
                "position(a in f(b))",
                "overlay(a placing b from 1)",
                "normalize(a, nfc)",
                "a is normalized",
                "collation for (a)",
            ]),
            3 => {
                self.words("array");
                self.out.push('[');
                self.list(Self::expression);
                self.out.push(']');
            }
            4 => {
                self.put(&["row", ""]);
                self.parenthesized(|it| {
                    it.expression();
                    it.out.push(',');
                    it.list(Self::expression);
                });
            }
            5 => self.put(&[
                "xmlelement(name a, f(b))",
                "xmlparse(document a)",
                "json_object('a': f(1))",
                "json_value(a, '$.b' returning zztype)",
                "json_arrayagg(f(a))",
                "a is json",
            ]),
            6 => self.put(&[
                "grouping(a)",
                "current_timestamp(3)",
                "current_schema",
                "session_user",
                "system_user",
                "localtime",
                "merge_action()",
            ]),
            _ => {
                self.expression();
                self.put(&[
                    " at time zone 'utc'",
                    " at local",
                    " collate \"C\"",
                    " collate s.zz",
                    " is document",
                ]);
            }
        }
    }

    pub(super) fn case(&mut self) {
        self.words("case");
        if self.one_in(3) {
            self.expression();
        }
        self.words("when");
        self.expression();
        self.words("then");
        self.expression();
        if self.one_in(2) {
            self.words("else");
            self.expression();
        }
        self.words("end");
    }

    pub(super) fn test(&mut self) {
        self.expression();
        match self.choose(5) {
            0 => self.put(&[
                " is null",
                " is not null",
                " isnull",
                " notnull",
                " is true",
                " is not unknown",
                " is not distinct from f(1)",
            ]),
            1 => {
                self.put(&[" between ", " not between symmetric "]);
                self.expression();
                self.words("and");
                self.expression();
            }
            2 => {
                self.put(&[" like ", " not ilike ", " similar to "]);
                self.expression();
                self.words("escape");
                self.expression();
            }
            3 => {
                self.put(&[" = any ", " <> all "]);
                self.parenthesized(Self::expression);
            }
            _ => self.put(&[" is of (int, zztype)", " is not of (text)", " is a", ""]),
        }
    }

    pub(super) fn access(&mut self) {
        self.parenthesized(Self::expression);
        match self.choose(5) {
            0 => {
                self.out.push('.');
                self.name();
            }
            1 => self.out.push_str(".*"),
            2 => {
                self.out.push('[');
                self.expression();
                self.out.push(']');
            }
            3 => self.put(&["[1:f(2)]", "[:]", "[f(1):]", "[1].a[2].b"]),
            _ => {
                self.out.push_str("[1].");
                self.name();
            }
        }
    }
}
