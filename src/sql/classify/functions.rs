//! Calls, their arguments and windows.

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgOperator::{Assignment, RightArrow},
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    WindowFrame, WindowFrameBound, WindowSpec, WindowType,
};

use super::names::parts;
use super::walk::{Node, NotUnderstood, Understood, Walk, only_if};
use crate::sql::scanner::is_among;

/// Values that are written without parentheses.
const VALUES: &str = "\
    current_catalog current_date current_role current_schema current_time current_timestamp \
    current_user localtime localtimestamp session_user user";

/// Syntax that looks like a call, whatever functions exist.
const SYNTAX: &str = "\
    coalesce current_time current_timestamp greatest grouping least localtime nullif row";

/// Tells whether a name is one of these words, unquoted and alone.
fn is_one_of(name: &ObjectName, words: &str) -> bool {
    parts(name).is_ok_and(|parts| match parts.as_slice() {
        [only] => only.quote_style.is_none() && is_among(&only.value, words),
        _ => false,
    })
}

/// Tells whether a name that stands alone is such a value.
pub(crate) fn is_value(name: &Ident) -> bool {
    name.quote_style.is_none() && is_among(&name.value, VALUES)
}

impl<'a> Walk<'a> {
    pub(super) fn call(&mut self, function: &'a Function) -> Understood {
        let Function {
            name,
            uses_odbc_syntax,
            parameters,
            args,
            within_group,
            filter,
            null_treatment,
            over,
        } = function;
        only_if(!uses_odbc_syntax && null_treatment.is_none())?;
        only_if(matches!(parameters, FunctionArguments::None))?;
        match args {
            FunctionArguments::None => only_if(is_one_of(name, VALUES))?,
            FunctionArguments::Subquery(query) => {
                only_if(is_one_of(name, "array"))?;
                self.later(Node::Query(query));
            }
            FunctionArguments::List(list) => {
                if is_one_of(name, SYNTAX) {
                    parts(name)?.into_iter().try_for_each(|word| self.label(word))?;
                } else {
                    self.callable(name)?;
                }
                self.argument_list(list)?;
            }
        }
        self.order_by(within_group)?;
        self.expressions(filter.as_deref());
        match over {
            None => Ok(()),
            Some(WindowType::NamedWindow(name)) => self.name(name),
            Some(WindowType::WindowSpec(window)) => self.window(window),
        }
    }

    /// The name of a function that is called. LEFT and RIGHT and their like may be called, but name no table.
    pub(crate) fn callable(&mut self, name: &ObjectName) -> Understood {
        if !is_one_of(name, "left right")
            && let Some(first) = parts(name)?.first()
        {
            self.name(first)?;
        }
        self.function_name(name)
    }

    fn argument_list(&mut self, list: &'a FunctionArgumentList) -> Understood {
        let FunctionArgumentList { duplicate_treatment: _, args, clauses } = list;
        for clause in clauses {
            let FunctionArgumentClause::OrderBy(list) = clause else { return Err(NotUnderstood) };
            self.order_by(list)?;
        }
        self.arguments(args)
    }

    pub(crate) fn arguments(&mut self, arguments: &'a [FunctionArg]) -> Understood {
        for argument in arguments {
            let value = match argument {
                FunctionArg::Unnamed(value) => value,
                FunctionArg::Named { name, arg, operator: RightArrow | Assignment }
                | FunctionArg::ExprNamed {
                    name: Expr::Identifier(name),
                    arg,
                    operator: RightArrow | Assignment,
                } => {
                    self.name(name)?;
                    arg
                }
                FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
                    return Err(NotUnderstood);
                }
            };
            match value {
                // The parser takes the older way to name an argument for an operator.
                FunctionArgExpr::Expr(Expr::BinaryOp {
                    left,
                    op: BinaryOperator::Assignment,
                    right,
                }) => {
                    let Expr::Identifier(name) = &**left else { return Err(NotUnderstood) };
                    self.name(name)?;
                    self.expression(right);
                }
                FunctionArgExpr::Expr(expression) => self.expression(expression),
                FunctionArgExpr::QualifiedWildcard(name) => self.plain(name)?,
                FunctionArgExpr::Wildcard => {}
                FunctionArgExpr::WildcardWithOptions(_) => return Err(NotUnderstood),
            }
        }
        Ok(())
    }

    pub(crate) fn window(&mut self, window: &'a WindowSpec) -> Understood {
        let WindowSpec { window_name, partition_by, order_by, window_frame } = window;
        if let Some(name) = window_name {
            self.name(name)?;
        }
        self.expressions(partition_by);
        self.order_by(order_by)?;
        let Some(WindowFrame { units: _, start_bound, end_bound }) = window_frame else {
            return Ok(());
        };
        for bound in [start_bound].into_iter().chain(end_bound) {
            match bound {
                WindowFrameBound::CurrentRow => {}
                WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset) => {
                    self.expressions(offset.as_deref());
                }
            }
        }
        Ok(())
    }
}
