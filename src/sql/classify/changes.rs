//! INSERT, UPDATE, DELETE and MERGE.

use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Delete, DoUpdate, FromTable, Insert, Merge,
    MergeAction, MergeClause, MergeInsertExpr, MergeInsertKind, MergeUpdateExpr, MergeUpdateKind,
    OnConflict, OnConflictAction, OnInsert, OutputClause, Statement, TableObject, TableWithJoins,
    Update, UpdateTableFromKind,
};

use super::walk::{Node, NotUnderstood, Understood, Walk, only_if};

impl<'a> Walk<'a> {
    pub(crate) fn change(&mut self, statement: &'a Statement) -> Understood {
        self.changes = true;
        match statement {
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Merge(merge) => self.merge(merge),
            _ => Err(NotUnderstood),
        }
    }

    fn insert(&mut self, insert: &'a Insert) -> Understood {
        let Insert {
            insert_token: _,
            optimizer_hints,
            or: None,
            ignore: false,
            into: true,
            table: TableObject::TableName(table),
            table_alias,
            columns,
            by_name: false,
            overwrite: false,
            source,
            assignments,
            partitioned: None,
            after_columns,
            overriding: _,
            has_table_keyword: false,
            on,
            returning,
            output: None,
            replace_into: false,
            priority: None,
            insert_alias: None,
            settings: None,
            format_clause: None,
            multi_table_insert_type: None,
            multi_table_into_clauses,
            multi_table_when_clauses,
            multi_table_else_clause: None,
        } = insert
        else {
            return Err(NotUnderstood);
        };
        only_if(optimizer_hints.is_empty() && assignments.is_empty() && after_columns.is_empty())?;
        only_if(multi_table_into_clauses.is_empty() && multi_table_when_clauses.is_empty())?;
        self.relation(table)?;
        if let Some(alias) = table_alias {
            self.name(&alias.alias)?;
        }
        columns.iter().try_for_each(|column| self.plain(column))?;
        if let Some(source) = source {
            self.later(Node::Query(source));
        }
        match on {
            None => {}
            Some(OnInsert::OnConflict(conflict)) => self.on_conflict(conflict)?,
            Some(_) => return Err(NotUnderstood),
        }
        self.items(returning.as_deref().unwrap_or(&[]))
    }

    fn on_conflict(&mut self, conflict: &'a OnConflict) -> Understood {
        let OnConflict { conflict_target, action } = conflict;
        match conflict_target {
            None => {}
            Some(ConflictTarget::Columns { columns, predicate }) => {
                columns.iter().try_for_each(|column| self.name(column))?;
                self.expressions(predicate);
            }
            Some(ConflictTarget::OnConstraint(name)) => self.plain(name)?,
        }
        match action {
            OnConflictAction::DoNothing => Ok(()),
            OnConflictAction::DoUpdate(DoUpdate { assignments, selection }) => {
                self.expressions(selection);
                self.assignments(assignments)
            }
        }
    }

    fn assignments(&mut self, assignments: &'a [Assignment]) -> Understood {
        for Assignment { target, value } in assignments {
            match target {
                AssignmentTarget::ColumnName(column) => self.plain(column)?,
                AssignmentTarget::Tuple(columns) => {
                    columns.iter().try_for_each(|column| self.plain(column))?;
                }
            }
            self.assigned(value)?;
        }
        Ok(())
    }

    fn update(&mut self, update: &'a Update) -> Understood {
        let Update {
            update_token: _,
            optimizer_hints,
            table: TableWithJoins { relation, joins },
            assignments,
            from,
            selection,
            returning,
            output,
            or,
            order_by,
            limit,
            on_cluster,
            settings,
        } = update;
        only_if(optimizer_hints.is_empty() && joins.is_empty() && output.is_none())?;
        only_if(or.is_none() && order_by.is_empty() && limit.is_none())?;
        only_if(on_cluster.is_none() && settings.is_none())?;
        self.target(relation)?;
        self.assignments(assignments)?;
        match from {
            None => {}
            Some(UpdateTableFromKind::AfterSet(tables)) => self.tables(tables)?,
            Some(UpdateTableFromKind::BeforeSet(_)) => return Err(NotUnderstood),
        }
        self.expressions(selection);
        self.items(returning.as_deref().unwrap_or(&[]))
    }

    fn delete(&mut self, delete: &'a Delete) -> Understood {
        let Delete {
            delete_token: _,
            optimizer_hints,
            tables,
            from,
            using,
            selection,
            returning,
            output,
            order_by,
            limit,
            on_cluster,
            settings,
        } = delete;
        only_if(optimizer_hints.is_empty() && tables.is_empty() && output.is_none())?;
        only_if(order_by.is_empty() && limit.is_none())?;
        only_if(on_cluster.is_none() && settings.is_none())?;
        let FromTable::WithFromKeyword(targets) = from else { return Err(NotUnderstood) };
        let [TableWithJoins { relation, joins }] = targets.as_slice() else {
            return Err(NotUnderstood);
        };
        only_if(joins.is_empty())?;
        self.target(relation)?;
        self.tables(using.as_deref().unwrap_or(&[]))?;
        self.expressions(selection);
        self.items(returning.as_deref().unwrap_or(&[]))
    }

    fn merge(&mut self, merge: &'a Merge) -> Understood {
        let Merge { merge_token: _, optimizer_hints, into, table, source, on, clauses, output } =
            merge;
        only_if(optimizer_hints.is_empty() && *into)?;
        self.target(table)?;
        self.later(Node::Table(source));
        self.expression(on);
        for MergeClause { when_token: _, clause_kind: _, predicate, action } in clauses {
            self.expressions(predicate);
            self.merge_action(action)?;
        }
        match output {
            None => Ok(()),
            Some(OutputClause::Returning { returning_token: _, select_items }) => {
                self.items(select_items)
            }
            Some(OutputClause::Output { .. }) => Err(NotUnderstood),
        }
    }

    fn merge_action(&mut self, action: &'a MergeAction) -> Understood {
        match action {
            MergeAction::Insert(MergeInsertExpr {
                insert_token: _,
                columns,
                kind_token: _,
                kind: MergeInsertKind::Values(values),
                insert_predicate: None,
            }) => {
                columns.iter().try_for_each(|column| self.plain(column))?;
                self.values(values)
            }
            MergeAction::Update(MergeUpdateExpr {
                update_token: _,
                kind: MergeUpdateKind::Set(assignments),
                update_predicate: None,
                delete_predicate: None,
            }) => self.assignments(assignments),
            MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => Ok(()),
            MergeAction::Insert(_) | MergeAction::Update(_) => Err(NotUnderstood),
        }
    }
}
