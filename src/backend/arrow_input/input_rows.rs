//! The rows of a stream, in the order in which they come.

use std::collections::HashMap;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::Message;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary};
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};

use super::arrow_types::{InputColumn, columns};
use super::buffer_widths::has_whole_elements;
use super::cell_values::{Misfit, RowBudget, uuid, value};
use super::message_check::{MessageKind, check_message, read_metadata, unreadable};
use super::message_frames::{MessageFrame, MessageFrames};
use crate::backend::copy::{bad_data, row_too_large};
use crate::error::{Error, ErrorKind, Result};
use crate::value::Row;
use crate::wire_size::widen;

/// The size of the rows that are handed out together, in bytes.
const CHUNK: usize = 64 << 10;

const CUT_BUFFER: &str = "a buffer ends within an element";

/// A part of the stream.
#[derive(Debug)]
pub(crate) enum InputPart {
    /// The names of the columns: the first part.
    Columns(Vec<String>),
    /// The next rows.
    Rows(Vec<Row>),
}

/// The reader of one stream.
pub(crate) struct ArrowInput {
    /// The largest message, row, and all dictionaries together, in bytes.
    max_size: usize,
    frames: MessageFrames,
    /// The bytes that were fed, and how many of them were read.
    piece: Vec<u8>,
    read: usize,
    schema: Option<SchemaRef>,
    columns: Vec<InputColumn>,
    dictionaries: HashMap<i64, ArrayRef>,
    dictionary_sizes: HashMap<i64, usize>,
    /// The batch whose rows are handed out, and the next of them.
    batch: Option<(RecordBatch, usize)>,
    /// The rows that were handed out.
    taken: u64,
}

impl ArrowInput {
    pub(crate) fn new(max_size: usize) -> Self {
        Self {
            max_size,
            frames: MessageFrames::new(max_size),
            piece: Vec::new(),
            read: 0,
            schema: None,
            columns: Vec::new(),
            dictionaries: HashMap::new(),
            dictionary_sizes: HashMap::new(),
            batch: None,
            taken: 0,
        }
    }

    /// Takes the next bytes, once [`ArrowInput::next`] has returned `None`.
    pub(crate) fn feed(&mut self, piece: Vec<u8>) {
        self.piece = piece;
        self.read = 0;
    }

    /// Returns the next part; `None` when more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<InputPart>> {
        loop {
            if self.batch.is_some() {
                return self.rows().map(InputPart::Rows).map(Some);
            }
            let mut rest = self.piece.get(self.read..).unwrap_or_default();
            let frame = self.frames.next(&mut rest)?;
            self.read = self.piece.len() - rest.len();
            let Some(frame) = frame else { return Ok(None) };
            self.decode(frame)?;
            if let (Some(schema), true) = (&self.schema, self.columns.is_empty()) {
                self.columns = columns(schema.fields())?;
                let names = self.columns.iter().map(|column| column.name.clone());
                return Ok(Some(InputPart::Columns(names.collect())));
            }
        }
    }

    /// Checks that the stream has ended where its bytes do.
    pub(crate) fn finish(&self) -> Result<()> {
        if self.frames.has_ended() && self.schema.is_some() {
            return Ok(());
        }
        let error = unreadable("it has no end, so that some of it may be missing");
        Err(error.with_hint("Close the writer of the stream, and send all of it."))
    }

    fn decode(&mut self, frame: MessageFrame) -> Result<()> {
        let body = frame.body_size();
        let bytes = Buffer::from_vec(frame.bytes);
        let message = read_metadata(&bytes[frame.metadata.clone()])?;
        let kind = check_message(message, body)?;
        if let MessageKind::Dictionary(id) = kind {
            self.dictionary_sizes.insert(id, body);
            self.check_dictionaries()?;
        }
        let body = bytes.slice(frame.metadata.end);
        self.decode_checked(kind, message, &body).map_err(|error| unreadable(&error.to_string()))
    }

    fn decode_checked(
        &mut self,
        kind: MessageKind,
        message: Message<'_>,
        body: &Buffer,
    ) -> Result<(), ArrowError> {
        let misplaced = |why: &str| ArrowError::IpcError(why.to_owned());
        let version = message.version();
        match (kind, &self.schema) {
            (MessageKind::Schema, Some(_)) => return Err(misplaced("there is a second schema")),
            (MessageKind::Schema, None) => {
                let schema = message.header_as_schema().map(try_fb_to_schema).transpose()?;
                self.schema = schema.map(SchemaRef::new);
            }
            (_, None) => return Err(misplaced("the schema is missing")),
            (MessageKind::Dictionary(_), Some(schema)) => {
                if let Some(dictionary) = message.header_as_dictionary_batch() {
                    let values = dictionary_values(schema, dictionary.id());
                    if !dictionary.data().is_some_and(|it| has_whole_elements(values, it)) {
                        return Err(misplaced(CUT_BUFFER));
                    }
                    let known = &mut self.dictionaries;
                    read_dictionary(body, dictionary, schema, known, &version)?;
                }
            }
            (MessageKind::Batch, Some(schema)) => {
                if let Some(batch) = message.header_as_record_batch() {
                    let types = schema.fields().iter().map(|field| field.data_type());
                    if !has_whole_elements(types, batch) {
                        return Err(misplaced(CUT_BUFFER));
                    }
                    let schema = SchemaRef::clone(schema);
                    let known = &self.dictionaries;
                    let batch = RecordBatchDecoder::try_new(body, batch, schema, known, &version)?;
                    self.batch = Some((batch.read_record_batch()?, 0));
                }
            }
        }
        Ok(())
    }

    fn check_dictionaries(&self) -> Result<()> {
        let size = self.dictionary_sizes.values().sum::<usize>();
        if size <= self.max_size {
            return Ok(());
        }
        let limit = widen(self.max_size);
        let message = format!("the dictionaries of the Arrow stream have more than {limit} bytes");
        Err(Error::new(ErrorKind::RowTooLarge, message)
            .with_hint("Write columns of text, or raise databases.NAME.max_row_size."))
    }

    /// Takes the next rows of the batch.
    fn rows(&mut self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut size = 0;
        let Some((batch, next)) = &mut self.batch else { return Ok(rows) };
        while *next < batch.num_rows() && size < CHUNK {
            let mut budget = RowBudget::new(self.max_size);
            self.taken += 1;
            let line = self.taken;
            let row = row(batch, *next, &self.columns, &mut budget).map_err(|(misfit, at)| {
                let name = self.columns.get(at).map(|column| column.name.as_str());
                match misfit {
                    Misfit::Invalid(what) => bad_data(what, line, name),
                    Misfit::TooLarge => row_too_large(self.max_size, line),
                }
            });
            rows.push(row?);
            *next += 1;
            size += budget.size();
        }
        if *next >= batch.num_rows() {
            self.batch = None;
        }
        Ok(rows)
    }
}

/// The type of the values of a dictionary; `None` for one that no column has.
fn dictionary_values(schema: &Schema, id: i64) -> Option<&DataType> {
    #[expect(deprecated, reason = "the decoder knows dictionaries by these numbers")]
    let fields = schema.fields_with_dict_id(id);
    let data_type = fields.first()?.data_type();
    if let DataType::Dictionary(_, values) = data_type { Some(values) } else { None }
}

/// Makes a row of a batch; the error of a value has the number of its column.
fn row(
    batch: &RecordBatch,
    at: usize,
    columns: &[InputColumn],
    budget: &mut RowBudget,
) -> Result<Row, (Misfit, usize)> {
    let arrays = batch.columns().iter().zip(columns).enumerate();
    let values = arrays.map(|(number, (array, column))| {
        let value = if column.is_uuid { uuid(array, at, budget) } else { value(array, at, budget) };
        value.map_err(|misfit| (misfit, number))
    });
    Ok(Row { values: values.collect::<Result<_, _>>()? })
}
