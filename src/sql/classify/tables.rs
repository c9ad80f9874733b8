//! FROM: tables, functions, joins.

use sqlparser::ast::JoinOperator::{
    self, CrossJoin, FullOuter, Inner, Left, LeftOuter, Right, RightOuter,
};
use sqlparser::ast::{
    Join, JoinConstraint, ObjectName, TableFactor, TableFunctionArgs, TableSample, TableSampleKind,
    TableSampleMethod, TableSampleModifier, TableSampleQuantity, TableSampleSeed,
    TableSampleSeedModifier, TableWithJoins,
};

use super::walk::{Node, NotUnderstood, Understood, Walk, only_if};

impl<'a> Walk<'a> {
    pub(super) fn tables(&mut self, tables: &'a [TableWithJoins]) -> Understood {
        tables.iter().try_for_each(|table| self.table_with_joins(table))
    }

    fn table_with_joins(&mut self, table: &'a TableWithJoins) -> Understood {
        let TableWithJoins { relation, joins } = table;
        self.later(Node::Table(relation));
        for Join { relation, global, join_operator } in joins {
            only_if(!global)?;
            self.later(Node::Table(relation));
            self.join(join_operator)?;
        }
        Ok(())
    }

    fn join(&mut self, operator: &'a JoinOperator) -> Understood {
        match operator {
            JoinOperator::Join(on)
            | Inner(on)
            | Left(on)
            | LeftOuter(on)
            | Right(on)
            | RightOuter(on)
            | FullOuter(on)
            | CrossJoin(on) => self.constraint(on),
            _ => Err(NotUnderstood),
        }
    }

    fn constraint(&mut self, constraint: &'a JoinConstraint) -> Understood {
        match constraint {
            JoinConstraint::On(condition) => self.expression(condition),
            JoinConstraint::Using(columns) => {
                columns.iter().try_for_each(|column| self.plain(column))?;
            }
            JoinConstraint::UsingAlias(columns, alias) => {
                columns.iter().try_for_each(|column| self.plain(column))?;
                self.name(alias)?;
            }
            JoinConstraint::Natural | JoinConstraint::None => {}
        }
        Ok(())
    }

    pub(crate) fn visit_table(&mut self, table: &'a TableFactor) -> Understood {
        match table {
            TableFactor::Table { .. } => self.named_table(table, Self::relation_or_binding),
            TableFactor::Derived { lateral: _, subquery, alias, sample } => {
                only_if(sample.is_none())?;
                self.later(Node::Query(subquery));
                self.alias(alias.as_ref())
            }
            TableFactor::Function { lateral: _, name, args, with_ordinality: _, alias } => {
                self.callable(name)?;
                self.arguments(args)?;
                self.alias(alias.as_ref())
            }
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset,
                with_offset_alias,
                with_ordinality: _,
            } => {
                only_if(!with_offset && with_offset_alias.is_none())?;
                self.special("unnest");
                self.expressions(array_exprs);
                self.alias(alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.table_with_joins(table_with_joins)?;
                self.alias(alias.as_ref())
            }
            _ => Err(NotUnderstood),
        }
    }

    /// A relation that is recorded so, or a function that is called like a table.
    fn named_table(
        &mut self,
        table: &'a TableFactor,
        record: fn(&mut Self, &ObjectName) -> Understood,
    ) -> Understood {
        let TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            version: None,
            with_ordinality,
            partitions,
            json_path: None,
            sample,
            index_directives,
            inheritance: _,
        } = table
        else {
            return Err(NotUnderstood);
        };
        only_if(with_hints.is_empty() && partitions.is_empty() && index_directives.is_empty())?;
        match args {
            None => {
                only_if(!with_ordinality)?;
                record(self, name)?;
            }
            Some(TableFunctionArgs { args, settings: None }) => {
                self.callable(name)?;
                self.arguments(args)?;
            }
            Some(_) => return Err(NotUnderstood),
        }
        if let Some(
            TableSampleKind::AfterTableAlias(sample) | TableSampleKind::BeforeTableAlias(sample),
        ) = sample
        {
            self.sample(sample)?;
        }
        self.alias(alias.as_ref())
    }

    /// TABLESAMPLE with one of the two methods that come with PostgreSQL; others are functions.
    fn sample(&mut self, sample: &'a TableSample) -> Understood {
        let TableSample { modifier, name, quantity, seed, bucket, offset } = sample;
        only_if(*modifier == TableSampleModifier::TableSample)?;
        only_if(matches!(name, Some(TableSampleMethod::Bernoulli | TableSampleMethod::System)))?;
        only_if(bucket.is_none() && offset.is_none())?;
        if let Some(TableSampleQuantity { parenthesized: _, value, unit }) = quantity {
            only_if(unit.is_none())?;
            self.unmet.remove("bernoulli");
            self.unmet.remove("system");
            self.expression(value);
        }
        if let Some(TableSampleSeed { modifier, value: _ }) = seed {
            only_if(*modifier == TableSampleSeedModifier::Repeatable)?;
        }
        Ok(())
    }

    /// The table that a statement changes. No common table expression can hide it.
    pub(crate) fn target(&mut self, table: &'a TableFactor) -> Understood {
        only_if(matches!(table, TableFactor::Table { args: None, sample: None, .. }))?;
        self.named_table(table, Self::relation)
    }
}
