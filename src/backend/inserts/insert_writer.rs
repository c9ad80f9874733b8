//! A copy into a table by prepared inserts, for databases without a COPY.
//!
//! Some hundred rows are one statement. If it fails, it is undone, and its rows are inserted one by one to
//! find the one at fault.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use prost::Message as _;

use super::field_values::values_of;
use super::record_parser::RecordParser;
use crate::backend::copy::{
    CopyData, CopyIn, CopyWriter, at_line, bad_data, row_too_large, unset_kind,
};
use crate::backend::idempotency::NOT_TRANSACTIONAL;
use crate::backend::preamble::Preamble;
use crate::backend::row_stream::{Completion, Fill, RowSink, fill};
use crate::backend::statement::{Delivery, Statement};
use crate::backend::transaction::{SavepointCommand, Transaction};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::sql::{Analyzer, Dialect};
use crate::value::{Column, Kind, Value};

/// The most rows that are inserted by one statement.
///
/// It is a matter of speed, and bounds nothing that a caller may do: a copy has any number of statements, all in one
/// transaction, and the error of a row names its line however many were sent with it. More rows gain nothing, as the time goes
/// into the rows themselves; the memory is bounded by `CHUNK`. So it is no key of the configuration, as are the constants
/// below.
const MAX_ROWS: usize = 512;

/// The rows of the statements behind the last full one: there is one text for each number of rows.
const FEW_ROWS: usize = 8;

/// The most values in one statement. SQLite looks for each by its name, in a list.
const MAX_VALUES: usize = 32_766;
const MAX_SQLITE_VALUES: usize = 128;

/// The size of the rows that are inserted together, in bytes.
const CHUNK: usize = 256 << 10;

/// The memory for the analyses of the few texts of one copy.
const ANALYSES: u64 = 64 << 10;

/// The savepoint before each statement.
const SAVEPOINT: &str = "rowgate_copy";

/// The size of a value beyond its text.
const VALUE_BYTES: usize = 8;

/// A copy that inserts into a table, in an open transaction.
pub(crate) struct InsertWriter<'a> {
    transaction: &'a mut dyn Transaction,
    copy: Arc<CopyIn>,
    analyzer: Analyzer,
    columns: Vec<Column>,
    /// The parser of the data, unless it is rows.
    parser: Option<RecordParser>,
    waiting: Vec<InsertedRow>,
    waiting_bytes: usize,
    /// Rows that were taken, and rows that were inserted as the database counts: it may ignore some, or a trigger.
    taken: u64,
    inserted: u64,
}

struct InsertedRow {
    line: u64,
    values: Vec<Value>,
}

impl<'a> InsertWriter<'a> {
    /// Asks for the columns of the table, and begins.
    pub(crate) async fn start(
        transaction: &'a mut dyn Transaction,
        copy: Arc<CopyIn>,
    ) -> Result<Self> {
        let analyzer = Analyzer::new(copy.dialect, ANALYSES);
        let parser = copy.text.as_ref().map(|text| RecordParser::new(text, copy.max_row_size));
        let mut writer = Self {
            transaction,
            copy,
            analyzer,
            columns: Vec::new(),
            parser,
            waiting: Vec::new(),
            waiting_bytes: 0,
            taken: 0,
            inserted: 0,
        };
        writer.transaction.keep_zeros(writer.copy.deadline).await?;
        let select = format!("{} limit 0", writer.copy.table.select(writer.copy.dialect));
        let (columns, _) = writer.run(select, Vec::new()).await?;
        writer.columns = columns;
        Ok(writer)
    }

    /// Runs a statement to its end; returns the columns of its result, and how it ended.
    async fn run(
        &mut self,
        sql: String,
        parameters: Vec<Value>,
    ) -> Result<(Vec<Column>, Completion)> {
        let CopyIn { deadline, context, .. } = &*self.copy;
        let statement = Statement {
            analysis: self.analyzer.analyze(&sql),
            sql,
            parameters,
            read_only: false,
            delivery: Delivery::Streamed,
            describe_columns: false,
            needs_names: false,
            preamble: Preamble::default(),
            deadline: *deadline,
            context: Arc::clone(context),
        };
        let mut rows = self.transaction.query(Arc::new(statement)).await?;
        let columns = rows.columns().map(<[Column]>::to_vec);
        if columns.is_some() {
            let mut sink = RowSink::of_result(CHUNK);
            while fill(&mut *rows, &mut sink).await? == Fill::Full {
                sink.take();
            }
        }
        let ended = rows.finish().await?;
        Ok((columns.unwrap_or_default(), ended))
    }

    async fn add(&mut self, line: u64, values: Vec<Value>) -> Result<()> {
        self.taken += 1;
        self.waiting_bytes += values.iter().map(size_of_value).sum::<usize>();
        self.waiting.push(InsertedRow { line, values });
        if self.waiting.len() >= self.rows_at_once() || self.waiting_bytes >= CHUNK {
            self.insert_waiting().await?;
        }
        Ok(())
    }

    fn rows_at_once(&self) -> usize {
        let values = match self.copy.dialect {
            Dialect::Sqlite => MAX_SQLITE_VALUES,
            Dialect::Postgres | Dialect::Mysql => MAX_VALUES,
        };
        (values / self.columns.len().max(1)).clamp(1, MAX_ROWS)
    }

    async fn insert_waiting(&mut self) -> Result<()> {
        let most = self.rows_at_once();
        let mut waiting = std::mem::take(&mut self.waiting).into_iter().peekable();
        self.waiting_bytes = 0;
        let mut left = waiting.len();
        while left > 0 {
            let sizes = [most, FEW_ROWS.min(most)];
            let count = sizes.into_iter().find(|count| *count <= left).unwrap_or(1);
            left -= count;
            let rows = waiting.by_ref().take(count).collect();
            self.insert(rows).await?;
        }
        Ok(())
    }

    /// Inserts rows by one statement. The error of one of them has its line.
    async fn insert(&mut self, rows: Vec<InsertedRow>) -> Result<()> {
        let count = rows.len();
        let [row] = rows.as_slice() else {
            self.savepoint(SavepointCommand::Set).await?;
            let values = rows.iter().flat_map(|row| row.values.iter().cloned()).collect();
            return match self.insert_values(values, count).await {
                Ok(()) => self.savepoint(SavepointCommand::Release).await,
                Err(error) => self.find_failed(rows, error).await,
            };
        };
        let line = row.line;
        let values = rows.into_iter().flat_map(|row| row.values).collect();
        let inserted = self.insert_values(values, 1).await;
        inserted
            .map_err(|error| if is_of_data(&error) { at_line(error, line, None) } else { error })
    }

    async fn insert_values(&mut self, values: Vec<Value>, count: usize) -> Result<()> {
        let insert = self.copy.table.insert(self.copy.dialect, self.columns.len(), count);
        let (_, ended) = self.run(insert, values).await?;
        self.inserted += ended.rows_affected;
        Ok(())
    }

    /// Inserts rows one by one, which have failed together.
    async fn find_failed(&mut self, rows: Vec<InsertedRow>, error: Error) -> Result<()> {
        if !is_of_data(&error) || !self.transaction.is_open() {
            return Err(error);
        }
        self.savepoint(SavepointCommand::RollbackTo).await?;
        self.savepoint(SavepointCommand::Release).await?;
        // A savepoint undoes nothing of a table without transactions: its rows would be there twice.
        if self.transaction.rolled_back_outcome() != Outcome::NotApplied {
            return Err(error);
        }
        for InsertedRow { line, values } in rows {
            let inserted = self.insert_values(values, 1).await;
            inserted.map_err(|error| at_line(error, line, None))?;
        }
        Ok(())
    }

    async fn savepoint(&mut self, command: SavepointCommand) -> Result<()> {
        self.transaction.savepoint(command, SAVEPOINT, self.copy.deadline).await
    }

    async fn parse(&mut self) -> Result<()> {
        while let Some(record) = self.parser.as_mut().map_or(Ok(None), RecordParser::next)? {
            let line = record.line;
            let values = values_of(record, &self.columns, self.copy.dialect)?;
            self.add(line, values).await?;
        }
        Ok(())
    }
}

impl CopyWriter for InsertWriter<'_> {
    fn write<'w>(&'w mut self, data: CopyData) -> BoxFuture<'w, Result<bool>> {
        Box::pin(async move {
            match data {
                CopyData::Bytes(piece) => {
                    if let Some(parser) = &mut self.parser {
                        parser.feed(&piece);
                    }
                    self.parse().await?;
                }
                CopyData::Rows(rows) => {
                    for row in rows {
                        let line = self.taken + 1;
                        if row.encoded_len() > self.copy.max_row_size {
                            return Err(row_too_large(self.copy.max_row_size, line));
                        }
                        check(&row.values, &self.columns, line)?;
                        self.add(line, row.values).await?;
                    }
                }
            }
            Ok(true)
        })
    }

    fn finish<'w>(mut self: Box<Self>) -> BoxFuture<'w, Result<u64>>
    where
        Self: 'w,
    {
        Box::pin(async move {
            if let Some(record) = self.parser.as_mut().map_or(Ok(None), RecordParser::finish)? {
                let line = record.line;
                let values = values_of(record, &self.columns, self.copy.dialect)?;
                self.add(line, values).await?;
            }
            self.insert_waiting().await?;
            Ok(self.inserted)
        })
    }
}

/// Checks that a row has a value for each column.
fn check(values: &[Value], columns: &[Column], line: u64) -> Result<()> {
    if let Some(missing) = columns.get(values.len()) {
        return Err(bad_data("the data of a column is missing", line, Some(&missing.name)));
    }
    if values.len() > columns.len() {
        return Err(bad_data("there is data behind the last column", line, None));
    }
    if values.iter().any(|value| value.kind.is_none()) {
        return Err(at_line(unset_kind(), line, None));
    }
    Ok(())
}

/// Returns true if an error may be that of a row.
fn is_of_data(error: &Error) -> bool {
    let is_of_key = error.reason() == NOT_TRANSACTIONAL;
    !is_of_key
        && matches!(
            error.kind(),
            ErrorKind::AlreadyExists
                | ErrorKind::FailedPrecondition
                | ErrorKind::InvalidParameter
                | ErrorKind::InvalidStatement
                | ErrorKind::OutOfRange
                | ErrorKind::ParameterOutOfRange
                | ErrorKind::RowTooLarge
        )
}

/// The bytes in memory of a byte of an encoded array or record, at most.
const IN_MEMORY: usize = 32;

fn size_of_value(value: &Value) -> usize {
    VALUE_BYTES
        + match &value.kind {
            Some(Kind::TextValue(text)) => text.len(),
            Some(Kind::BytesValue(bytes)) => bytes.len(),
            Some(Kind::ArrayValue(_) | Kind::RecordValue(_)) => IN_MEMORY * value.encoded_len(),
            Some(_) | None => 0,
        }
}
