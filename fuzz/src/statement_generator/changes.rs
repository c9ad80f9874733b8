//! INSERT, UPDATE, DELETE, MERGE.

use super::Generator;

impl Generator<'_, '_> {
    pub(super) fn returning(&mut self) {
        if self.one_in(3) {
            self.words("returning");
            self.put(&["", "with (old as o, new as n) "]);
            self.list(Self::expression);
        }
    }

    pub(super) fn insert(&mut self) {
        self.words("insert into");
        self.relation();
        self.put(&["", " as x", "(a, b)", " (a.f(1), b[1])", "(a.b, c[f(1)])"]);
        self.put(&["", "", " overriding system value"]);
        match self.choose(4) {
            0 => self.out.push_str(" default values"),
            _ => {
                self.out.push(' ');
                self.query();
            }
        }
        if self.one_in(4) {
            self.put(&[
                " on conflict do nothing",
                " on conflict (a) do update set ",
                " on conflict (f(a)) where b > 1 do update set ",
                " on conflict on constraint c do update set ",
            ]);
            if self.out.ends_with("set ") {
                self.assignments();
                self.condition();
            }
        }
        self.returning();
    }

    pub(super) fn assignments(&mut self) {
        self.list(|it| match it.choose(5) {
            0 => {
                it.out.push_str("(a, b) = ");
                it.put(&["row", ""]);
                it.parenthesized(|it| {
                    it.expression();
                    it.out.push(',');
                    it.expression();
                });
            }
            1 => {
                it.put(&["(a, b) = ", "a[f(1)] = ", "a.b = "]);
                it.parenthesized(Self::query);
            }
            _ => {
                it.name();
                it.out.push('=');
                it.expression();
            }
        });
    }

    pub(super) fn update(&mut self) {
        self.words("update");
        self.relation();
        self.put(&["", "", " as x", " *"]);
        self.words("set");
        self.assignments();
        if self.one_in(4) {
            self.words("from");
            self.list(Self::table);
        }
        if self.one_in(9) {
            self.out.push_str(" where current of c");
        } else {
            self.condition();
        }
        self.returning();
    }

    pub(super) fn delete(&mut self) {
        self.words("delete from");
        self.relation();
        if self.one_in(4) {
            self.words("using");
            self.list(Self::table);
        }
        self.condition();
        self.returning();
    }

    pub(super) fn merge(&mut self) {
        self.words("merge into");
        self.relation();
        self.words("using");
        self.table();
        self.words("on");
        self.expression();
        loop {
            self.put(&[
                " when matched",
                " when not matched",
                " when not matched by source",
                " when not matched by target",
            ]);
            if self.one_in(3) {
                self.words("and");
                self.expression();
            }
            self.words("then");
            self.merge_action();
            if !self.one_in(3) {
                break;
            }
        }
        self.returning();
    }

    pub(super) fn merge_action(&mut self) {
        match self.choose(5) {
            0 => {
                self.words("update set");
                self.assignments();
            }
            1 => self.out.push_str("delete"),
            2 => {
                self.words("insert");
                self.put(&["", "(a, b)"]);
                self.words("values");
                self.parenthesized(|it| it.list(Self::expression));
            }
            3 => self.out.push_str("insert default values"),
            _ => self.out.push_str("do nothing"),
        }
    }
}
