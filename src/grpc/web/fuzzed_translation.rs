//! The door for fuzzing to the edge: requests and answers made of arbitrary bytes. It panics where a promise of the code behind it
//! is broken.

use std::sync::Arc;

use http::Uri;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::get_query;
use super::json_reader::read_json;
use super::json_writer::write_json;
use super::web_body::{MessageForm, PREFIX, RequestMessage};
use super::web_format::{FORMATS, WebFormat};
use super::web_schema::{WebMethod, WebSchema};
use crate::error::Result;

/// The largest message, which inputs of some KiB exceed.
const MAX_SIZE: usize = 1 << 10;

/// The size of the pieces that cut everything.
const PIECE: usize = 3;

/// The edge, made once: its descriptors take longer to read than an input does.
pub struct WebTranslation(WebSchema);

impl WebTranslation {
    /// # Panics
    /// The descriptors are inconsistent.
    #[must_use]
    pub fn new() -> Self {
        Self(WebSchema::new().expect("a test reads them"))
    }

    /// Checks one input: a byte that says what it is, one that names a method, and the bytes.
    pub fn check(&self, data: &[u8]) {
        let [what, method, bytes @ ..] = data else { return };
        let methods: Vec<_> = self.0.methods().collect();
        let Some(method) = methods.get(usize::from(*method) % methods.len()) else { return };
        match (what % 4, FORMATS.get(usize::from(what / 4) % FORMATS.len())) {
            (0, _) => read_and_write(&method.request, bytes),
            (1, _) => query(method, bytes),
            (2, _) => self.write(method, bytes),
            (_, Some(format)) => received(method, *format, bytes),
            (_, None) => {}
        }
    }

    /// Writes an answer, and compares it with the library's way to write it, which knows nothing of shapes.
    fn write(&self, method: &WebMethod, bytes: &[u8]) {
        let Some(descriptor) = method.answer_descriptor() else { return };
        // As this server encodes it: nothing is there twice.
        let Ok(message) = DynamicMessage::decode(descriptor, bytes) else { return };
        let mut ours = Vec::new();
        if write_json(&self.0.shapes, method.answer, &message.encode_to_vec(), &mut ours).is_err() {
            return;
        }
        serde_json::from_slice::<&RawValue>(&ours).expect("whatever is written is JSON");
        if let (Ok(ours), Some(theirs)) = (serde_json::from_slice(&ours), reflected(&message)) {
            assert_eq!(plain(ours), plain(theirs));
        }
    }
}

impl Default for WebTranslation {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads a message of JSON: what is understood means the same once it is written by another library and read again.
fn read_and_write(descriptor: &MessageDescriptor, json: &[u8]) {
    let mut encoded = Vec::new();
    if read_json(descriptor, json, &mut encoded).is_err() {
        return;
    }
    let message = DynamicMessage::decode(descriptor.clone(), &*encoded).expect("it was encoded");
    let Some(written) = reflected(&message) else { return };
    let mut again = Vec::new();
    read_json(descriptor, written.to_string().as_bytes(), &mut again).expect("it is its JSON");
    let again = DynamicMessage::decode(descriptor.clone(), &*again).expect("it was encoded");
    // As JSON, where the order of a map means nothing and a NaN equals itself.
    assert_eq!(Some(plain(written)), reflected(&again).map(plain));
}

fn reflected(message: &DynamicMessage) -> Option<Json> {
    let mut writer = serde_json::Serializer::new(Vec::new());
    message.serialize_with_options(&mut writer, &SerializeOptions::new()).ok()?;
    serde_json::from_slice(&writer.into_inner()).ok()
}

/// Makes numbers comparable: `1` and `1.0` are the same in JSON.
fn plain(json: Json) -> Json {
    match json {
        Json::Number(number) => number.as_f64().into(),
        Json::Array(items) => items.into_iter().map(plain).collect(),
        Json::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key, plain(value))).collect()
        }
        other @ (Json::Null | Json::Bool(_) | Json::String(_)) => other,
    }
}

/// Reads the query of a GET, whose message is received as any other.
fn query(method: &Arc<WebMethod>, query: &[u8]) {
    let path = [b"/a.B/C?", query].concat();
    let Ok(uri) = Uri::try_from(path) else { return };
    let Ok(read) = get_query::read(&uri) else { return };
    let mut message = RequestMessage::new(form(method, read.format, true), &read.message);
    drop(message.finish());
}

fn form(method: &Arc<WebMethod>, format: WebFormat, is_read_only: bool) -> MessageForm {
    MessageForm { format, method: Arc::clone(method), max_size: MAX_SIZE, is_read_only }
}

/// Receives a message as a whole and in pieces, which have to say the same.
fn received(method: &Arc<WebMethod>, format: WebFormat, body: &[u8]) {
    let receive = |piece: usize| -> Result<_> {
        let mut message = RequestMessage::new(form(method, format, false), &[]);
        body.chunks(piece).try_for_each(|part| message.receive(part))?;
        message.finish()
    };
    match (receive(body.len().max(1)), receive(PIECE)) {
        (Ok(whole), Ok(pieces)) => {
            let length = u32::try_from(whole.len() - PREFIX).expect("it is short");
            assert_eq!(whole[..PREFIX], [&[0], &length.to_be_bytes()[..]].concat());
            // The order of a map is another each time.
            assert_eq!(whole.len(), pieces.len());
        }
        (Err(whole), Err(pieces)) => assert_eq!(whole.message(), pieces.message()),
        (whole, pieces) => assert_eq!(whole.is_ok(), pieces.is_ok(), "one way it can be read"),
    }
}
