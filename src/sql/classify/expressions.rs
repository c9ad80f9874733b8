//! Expressions: operators, and what has a syntax of its own.

use sqlparser::ast::UnaryOperator::{BitwiseNot, Minus, Not, Plus};
use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, DateTimeField, Expr,
    ExtractSyntax, Ident, InTarget, Interval, Subscript, TypedString, Value,
};

use super::functions::is_value;
use super::walk::{Node, NotUnderstood, Understood, Walk, only_if};
use crate::sql::scanner::is_among;

/// The operators of SQL and of PostgreSQL's own types, as the parser writes them. Each has the name of a built-in one:
/// the judgement by the catalogs takes no other operator for one that an ordinary text can reach.
const OPERATORS: &str = "\
    + - * / % || > < >= <= = <> and or overlaps | & # << >> ^ && ~ ~* !~ !~* ~~ ~~* !~~ !~~* ^@ \
    -> ->> #> #>> #- @@ @> <@ @? ? ?& ?|";

impl<'a> Walk<'a> {
    /// Columns, values, and what combines one or two expressions.
    pub(crate) fn visit_expression(&mut self, expression: &'a Expr) -> Understood {
        match expression {
            Expr::Identifier(name) if is_value(name) => {}
            Expr::Identifier(name) => self.name(name)?,
            Expr::CompoundIdentifier(names) => self.column(names)?,
            Expr::Value(value) => literal(&value.value)?,
            Expr::IsFalse(operand)
            | Expr::IsNotFalse(operand)
            | Expr::IsTrue(operand)
            | Expr::IsNotTrue(operand)
            | Expr::IsNull(operand)
            | Expr::IsNotNull(operand)
            | Expr::IsUnknown(operand)
            | Expr::IsNotUnknown(operand)
            | Expr::IsJson { expr: operand, kind: _, unique_keys: _, negated: _ }
            | Expr::IsNormalized { expr: operand, form: _, negated: _ }
            | Expr::Nested(operand) => self.expression(operand),
            Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right)
            | Expr::AtTimeZone { timestamp: left, time_zone: right } => {
                self.expressions([&**left, right]);
            }
            Expr::UnaryOp { op: Plus | Minus | Not | BitwiseNot, expr } => self.expression(expr),
            Expr::BinaryOp { left, op, right }
            | Expr::AnyOp { left, compare_op: op, right, is_some: _ }
            | Expr::AllOp { left, compare_op: op, right } => {
                self.binary_operator(op)?;
                self.expressions([&**left, right]);
            }
            Expr::Between { expr, negated: _, low, high } => {
                self.expressions([&**expr, low, high]);
            }
            Expr::Like { negated: _, any: false, expr, pattern, escape_char }
            | Expr::ILike { negated: _, any: false, expr, pattern, escape_char }
            | Expr::SimilarTo { negated: _, expr, pattern, escape_char } => {
                self.expressions([&**expr, pattern].into_iter().chain(escape_char.as_deref()));
            }
            other => self.composite(other)?,
        }
        Ok(())
    }

    /// Expressions with lists, queries, accesses, types or units of time.
    fn composite(&mut self, expression: &'a Expr) -> Understood {
        match expression {
            Expr::In { expr, target, negated: _, global: false } => {
                self.expression(expr);
                match target {
                    InTarget::List(list) => self.expressions(list),
                    InTarget::Subquery(query) => self.later(Node::Query(query)),
                    InTarget::Unnest(_) | InTarget::Table { .. } => return Err(NotUnderstood),
                }
            }
            Expr::Exists { subquery, negated: _ } | Expr::Subquery(subquery) => {
                self.later(Node::Query(subquery));
            }
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.expressions(operand.as_deref().into_iter().chain(else_result.as_deref()));
                for CaseWhen { condition, result } in conditions {
                    self.expressions([condition, result]);
                }
            }
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                self.expressions(sets.iter().flatten());
            }
            Expr::Tuple(list) | Expr::Array(Array { elem: list, named: _ }) => {
                self.expressions(list);
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.expression(root);
                access_chain.iter().try_for_each(|access| self.access(access))?;
            }
            Expr::Cast { kind, expr, data_type, format: None } => {
                only_if(matches!(kind, CastKind::Cast | CastKind::DoubleColon))?;
                self.expression(expr);
                self.data_type(data_type)?;
            }
            Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }) => {
                literal(&value.value)?;
                self.data_type(data_type)?;
            }
            Expr::Interval(interval) => self.interval(interval)?,
            Expr::Collate { expr, collation } => {
                self.expression(expr);
                self.plain(collation)?;
            }
            other => self.special_call(other)?,
        }
        Ok(())
    }

    /// Calls, also those with a syntax of their own. EXTRACT, POSITION and TRIM call nothing but built-in
    /// functions; the others are looked up by their name if called with commas.
    fn special_call(&mut self, expression: &'a Expr) -> Understood {
        match expression {
            Expr::Function(function) => self.call(function)?,
            Expr::Extract { field, syntax: ExtractSyntax::From, expr } => {
                self.field(field)?;
                self.expression(expr);
            }
            Expr::Position { expr, r#in } => self.expressions([&**expr, r#in]),
            Expr::Trim { trim_where: _, trim_what, expr, trim_characters } => {
                self.expressions([&**expr].into_iter().chain(trim_what.as_deref()));
                self.expressions(trim_characters.iter().flatten());
            }
            Expr::Ceil { expr, field } | Expr::Floor { expr, field } => {
                // With one argument; other databases take a unit or a scale.
                let plain = CeilFloorKind::DateTimeField(DateTimeField::NoDateTime);
                only_if(*field == plain)?;
                let rounds_up = matches!(expression, Expr::Ceil { .. });
                self.special(if rounds_up { "ceil" } else { "floor" });
                self.expression(expr);
            }
            Expr::Substring { expr, substring_from, substring_for, special: _, shorthand } => {
                self.special(if *shorthand { "substr" } else { "substring" });
                let bounds = substring_from.as_deref().into_iter().chain(substring_for.as_deref());
                self.expressions([&**expr].into_iter().chain(bounds));
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                self.special("overlay");
                self.expressions([&**expr, overlay_what, overlay_from]);
                self.expressions(overlay_for.as_deref());
            }
            _ => return Err(NotUnderstood),
        }
        Ok(())
    }

    /// `t.c`, or `f(t)` written as `t.f`.
    fn column(&mut self, names: &'a [Ident]) -> Understood {
        let (last, others) = names.split_last().ok_or(NotUnderstood)?;
        self.qualified(&others.iter().collect::<Vec<_>>())?;
        self.attribute(last)
    }

    fn access(&mut self, access: &'a AccessExpr) -> Understood {
        match access {
            AccessExpr::Dot(Expr::Identifier(name)) => self.attribute(name)?,
            AccessExpr::Dot(_) => return Err(NotUnderstood),
            AccessExpr::Subscript(Subscript::Index { index }) => self.expression(index),
            AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
                only_if(stride.is_none())?;
                self.expressions(lower_bound.iter().chain(upper_bound));
            }
        }
        Ok(())
    }

    fn interval(&mut self, interval: &'a Interval) -> Understood {
        let Interval {
            value,
            leading_field,
            leading_precision: _,
            last_field,
            fractional_seconds_precision: _,
        } = interval;
        only_if(matches!(**value, Expr::Value(_)))?;
        self.expression(value);
        leading_field.iter().chain(last_field).try_for_each(|field| self.field(field))
    }

    fn field(&mut self, field: &'a DateTimeField) -> Understood {
        match field {
            // The parser keeps a string here with quotes of its own.
            DateTimeField::Custom(name) if name.quote_style == Some('\'') => Ok(()),
            DateTimeField::Custom(name) | DateTimeField::Week(Some(name)) => self.name(name),
            _ => Ok(()),
        }
    }

    fn binary_operator(&mut self, operator: &'a BinaryOperator) -> Understood {
        match operator {
            BinaryOperator::Custom(_) => self.exotic = true,
            BinaryOperator::PGCustomBinaryOperator(parts) => {
                self.exotic = true;
                for part in parts {
                    self.unmet.remove(&part.to_ascii_lowercase());
                }
            }
            ordinary => only_if(is_among(&ordinary.to_string(), OPERATORS))?,
        }
        Ok(())
    }
}

fn literal(value: &Value) -> Understood {
    only_if(match value {
        Value::Placeholder(name) => name.starts_with('$'),
        Value::SingleQuotedString(_) | Value::DollarQuotedString(_) => true,
        other => matches!(other, Value::Number(..) | Value::Boolean(_) | Value::Null),
    })
}
