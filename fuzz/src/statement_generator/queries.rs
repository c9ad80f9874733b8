//! Queries.

use super::{DEEPEST, Generator, LONGEST};

impl Generator<'_, '_> {
    pub(super) fn with_clause(&mut self) {
        self.words("with");
        if self.one_in(3) {
            self.words("recursive");
        }
        self.list(|it| {
            it.name();
            if it.one_in(4) {
                it.parenthesized(|it| it.list(Self::name));
            }
            it.words("as");
            if it.one_in(5) {
                it.put(&["materialized ", "not materialized "]);
            }
            it.parenthesized(|it| match it.choose(6) {
                0 => it.insert(),
                1 => it.update(),
                2 => it.delete(),
                _ => it.query(),
            });
        });
        self.out.push(' ');
    }

    pub(super) fn query(&mut self) {
        if self.depth >= DEEPEST || self.out.len() > LONGEST {
            self.out.push_str("select 1");
            return;
        }
        self.depth += 1;
        if self.one_in(6) {
            self.with_clause();
        }
        self.query_body();
        while self.one_in(8) {
            self.put(&[" union ", " union all ", " intersect ", " EXCEPT "]);
            self.query_body();
        }
        if self.one_in(4) {
            self.words("order by");
            self.list(|it| {
                it.expression();
                it.put(&["", "", " asc", " desc nulls last", " using <", " using operator(s.<)"]);
            });
        }
        if self.one_in(6) {
            self.words("limit");
            self.expression();
        }
        if self.one_in(9) {
            self.put(&[" offset 1", " fetch first 2 rows only", " offset $1 rows"]);
        }
        if self.one_in(9) {
            self.put(&[
                " for update",
                " for share of t",
                " for no key update nowait",
                " for key share skip locked",
                " for read only",
            ]);
        }
        self.depth -= 1;
    }

    pub(super) fn query_body(&mut self) {
        match self.choose(10) {
            0 => {
                self.words("values");
                self.list(|it| it.parenthesized(|it| it.list(Self::expression)));
            }
            1 => {
                self.words("table");
                self.relation();
            }
            2 => self.parenthesized(Self::query),
            _ => self.select(),
        }
    }

    pub(super) fn select(&mut self) {
        self.words("select");
        if self.one_in(8) {
            self.put(&["distinct ", "all ", "distinct on (a) "]);
        }
        self.list(|it| match it.choose(8) {
            0 => it.out.push('*'),
            1 => {
                it.name();
                it.out.push_str(".*");
            }
            _ => {
                it.expression();
                if it.one_in(3) {
                    it.put(&[" as ", " "]);
                    it.name();
                }
            }
        });
        if self.one_in(12) {
            self.put(&[" into ", " into temp ", " into unlogged table "]);
            self.name();
        }
        if !self.one_in(3) {
            self.words("from");
            self.list(Self::table);
        }
        self.condition();
        if self.one_in(6) {
            self.words("group by");
            self.list(|it| match it.choose(5) {
                0 => {
                    it.put(&["rollup", "cube", "grouping sets"]);
                    it.parenthesized(|it| it.list(Self::expression));
                }
                _ => it.expression(),
            });
        }
        if self.one_in(9) {
            self.words("having");
            self.expression();
        }
        if self.one_in(12) {
            self.words("window");
            self.name();
            self.words("as");
            self.parenthesized(Self::window);
        }
    }

    pub(super) fn condition(&mut self) {
        if self.one_in(3) {
            self.words("where");
            self.expression();
        }
    }

    pub(super) fn table(&mut self) {
        if self.depth >= DEEPEST {
            return self.name();
        }
        self.depth += 1;
        match self.choose(8) {
            0 => self.parenthesized(Self::query),
            1 => self.call(),
            2 => {
                self.put(&[
                    "lateral ",
                    "rows from(f(1), g(2)) ",
                    "xmltable('/r' passing x columns a int) ",
                ]);
                self.call();
            }
            _ => self.relation(),
        }
        if self.one_in(8) {
            self.put(&[
                " tablesample system (1)",
                " tablesample bernoulli (f(1)) repeatable (2)",
                " tablesample zz (1)",
                " with ordinality",
            ]);
        }
        if self.one_in(3) {
            self.put(&[" as ", " "]);
            self.name();
            if self.one_in(5) {
                self.put(&["(a, b)", "(a zztype)", " (a int, b text)"]);
            }
        }
        while self.one_in(5) {
            self.put(&[
                " join ",
                " left join ",
                " cross join ",
                " natural join ",
                " full outer join ",
                " inner join ",
            ]);
            self.relation();
            if self.one_in(2) {
                self.words("on");
                self.expression();
            } else {
                self.put(&["", " using (a)", " using (a, b) as j"]);
            }
        }
        self.depth -= 1;
    }
}
