//! Queries: WITH, SELECT, VALUES, set operations, and what comes after them.

use sqlparser::ast::{
    Cte, Distinct, Expr, Fetch, GroupByExpr, LimitClause, LockClause, NamedWindowDefinition,
    NamedWindowExpr, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, OrderBySort, Query, Select,
    SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier,
    TableAlias, Values, WildcardAdditionalOptions, With,
};

use super::names::is_word;
use super::walk::{Node, NotUnderstood, Understood, Walk, only_if};

impl<'a> Walk<'a> {
    pub(super) fn visit_query(&mut self, query: &'a Query) -> Understood {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        only_if(for_clause.is_none() && settings.is_none())?;
        only_if(format_clause.is_none() && pipe_operators.is_empty())?;
        if let Some(with) = with {
            self.with(with)?;
        }
        self.later(Node::Body(body));
        match order_by {
            None => {}
            Some(OrderBy { kind: OrderByKind::Expressions(list), interpolate: None }) => {
                self.order_by(list)?;
            }
            Some(_) => return Err(NotUnderstood),
        }
        if let Some(limit) = limit_clause {
            self.limit(limit)?;
        }
        if let Some(Fetch { with_ties: _, percent, quantity }) = fetch {
            only_if(!percent)?;
            self.expressions(quantity);
        }
        for LockClause { lock_type: _, of, nonblock: _ } in locks {
            self.changes = true;
            if let Some(of) = of {
                self.plain(of)?;
            }
        }
        Ok(())
    }

    /// Brings common table expressions into scope: each for those after it, and all of them for all of them when
    /// the clause is recursive.
    fn with(&mut self, with: &'a With) -> Understood {
        let With { with_token: _, recursive, cte_tables } = with;
        if *recursive {
            cte_tables.iter().for_each(|table| self.bind(&table.alias.name));
        }
        for table in cte_tables {
            let Cte { alias, query, from, materialized: _, closing_paren_token: _ } = table;
            let TableAlias { explicit: _, name, columns: _, at: _ } = alias;
            only_if(from.is_none())?;
            self.alias(Some(alias))?;
            self.later(Node::Query(query));
            if !recursive {
                self.bind(name);
            }
        }
        Ok(())
    }

    fn limit(&mut self, limit: &'a LimitClause) -> Understood {
        let LimitClause::LimitOffset { limit, offset, limit_by } = limit else {
            return Err(NotUnderstood);
        };
        only_if(limit_by.is_empty())?;
        // ALL is no limit.
        let is_all = |limit: &Expr| matches!(limit, Expr::Identifier(name) if is_word(name, "all"));
        self.expressions(limit.iter().filter(|limit| !is_all(limit)));
        self.expressions(offset.as_ref().map(|offset| &offset.value));
        Ok(())
    }

    pub(crate) fn order_by(&mut self, list: &'a [OrderByExpr]) -> Understood {
        for OrderByExpr { expr, options: OrderByOptions { sort, nulls_first: _ }, with_fill } in
            list
        {
            only_if(with_fill.is_none())?;
            only_if(matches!(sort, None | Some(OrderBySort::Asc | OrderBySort::Desc)))?;
            self.expression(expr);
        }
        Ok(())
    }

    pub(crate) fn visit_body(&mut self, body: &'a SetExpr) -> Understood {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => {
                self.later(Node::Query(query));
                Ok(())
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                only_if(*op != SetOperator::Minus)?;
                only_if(matches!(
                    set_quantifier,
                    SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None
                ))?;
                self.later(Node::Body(left));
                self.later(Node::Body(right));
                Ok(())
            }
            SetExpr::Values(values) => self.values(values),
            SetExpr::Insert(change)
            | SetExpr::Update(change)
            | SetExpr::Delete(change)
            | SetExpr::Merge(change) => self.change(change),
            SetExpr::Table(_) => Err(NotUnderstood),
        }
    }

    pub(crate) fn values(&mut self, values: &'a Values) -> Understood {
        let Values { explicit_row, value_keyword, rows } = values;
        only_if(!explicit_row && !value_keyword)?;
        for expression in rows.iter().flat_map(|row| &row.content) {
            self.assigned(expression)?;
        }
        Ok(())
    }

    /// A value to store, for which DEFAULT may stand.
    pub(crate) fn assigned(&mut self, value: &'a Expr) -> Understood {
        if !matches!(value, Expr::Identifier(name) if is_word(name, "default")) {
            self.expression(value);
        }
        Ok(())
    }

    fn select(&mut self, select: &'a Select) -> Understood {
        let Select {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers: None,
            top: None,
            top_before_distinct: _,
            projection,
            exclude: None,
            into: None,
            from,
            lateral_views,
            prewhere: None,
            selection,
            connect_by,
            group_by: GroupByExpr::Expressions(grouping, group_modifiers),
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify: None,
            window_before_qualify: _,
            value_table_mode: None,
            flavor: SelectFlavor::Standard,
        } = select
        else {
            return Err(NotUnderstood);
        };
        only_if(optimizer_hints.is_empty() && lateral_views.is_empty() && connect_by.is_empty())?;
        only_if(cluster_by.is_empty() && distribute_by.is_empty() && sort_by.is_empty())?;
        only_if(group_modifiers.is_empty())?;
        match distinct {
            None | Some(Distinct::All | Distinct::Distinct) => {}
            Some(Distinct::On(list)) => self.expressions(list),
        }
        self.items(projection)?;
        self.tables(from)?;
        self.expressions(selection.iter().chain(having).chain(grouping));
        for NamedWindowDefinition(name, window) in named_window {
            let NamedWindowExpr::WindowSpec(window) = window else { return Err(NotUnderstood) };
            self.name(name)?;
            self.window(window)?;
        }
        Ok(())
    }

    /// The list of a SELECT or a RETURNING.
    pub(crate) fn items(&mut self, items: &'a [SelectItem]) -> Understood {
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) => self.expression(expr),
                SelectItem::ExprWithAlias { expr, alias } => {
                    self.label(alias)?;
                    self.expression(expr);
                }
                SelectItem::ExprWithAliases { .. } => return Err(NotUnderstood),
                SelectItem::Wildcard(options) => plain_wildcard(options)?,
                SelectItem::QualifiedWildcard(of, options) => {
                    plain_wildcard(options)?;
                    match of {
                        SelectItemQualifiedWildcardKind::ObjectName(name) => self.plain(name)?,
                        SelectItemQualifiedWildcardKind::Expr(expr) => self.expression(expr),
                    }
                }
            }
        }
        Ok(())
    }
}

/// A `*` without the options of other databases.
fn plain_wildcard(options: &WildcardAdditionalOptions) -> Understood {
    only_if(*options == WildcardAdditionalOptions::default())
}
