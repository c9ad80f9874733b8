//! The shapes of messages as JSON, made once of their descriptors: what the writer needs, without a look-up by name.

use std::collections::HashMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

/// The shapes of messages, and of all that they hold.
#[derive(Debug, Default)]
pub(crate) struct JsonShapes {
    messages: Vec<MessageShape>,
    by_name: HashMap<String, usize>,
}

/// A message: its fields, or a form of its own (ProtoJSON, the well-known types).
#[derive(Debug)]
pub(super) enum MessageShape {
    Fields(FieldShapes),
    /// It is written as the only field that it has, or as `empty` without one: Struct, ListValue and Value.
    Inner {
        fields: FieldShapes,
        empty: &'static str,
    },
    Timestamp,
    Duration,
}

/// Fields by their numbers.
#[derive(Debug)]
pub(super) struct FieldShapes(Vec<(u32, FieldShape)>);

/// A field.
#[derive(Debug)]
pub(super) struct FieldShape {
    /// The key as it is written: `"name":`.
    pub(super) key: String,
    pub(super) is_list: bool,
    pub(super) kind: KindShape,
}

/// The values of a field.
#[derive(Debug)]
pub(super) enum KindShape {
    Double,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Bool,
    Text,
    Bytes,
    /// `google.protobuf.NullValue`.
    Null,
    /// The names by numbers.
    Enum(HashMap<i32, String>),
    /// A message by its place.
    Message(usize),
    /// The entries of a map, messages, whose keys are text.
    TextMap(usize),
    /// One that no message of this server has, which a test checks.
    Unsupported,
}

impl JsonShapes {
    /// Adds a message, with all that it holds, and returns its place.
    pub(crate) fn add(&mut self, message: &MessageDescriptor) -> usize {
        if let Some(place) = self.by_name.get(message.full_name()) {
            return *place;
        }
        let place = self.messages.len();
        self.by_name.insert(message.full_name().to_owned(), place);
        // A message may hold itself, so it has its place before its fields have theirs.
        self.messages.push(MessageShape::Timestamp);
        self.messages[place] = match message.full_name() {
            "google.protobuf.Timestamp" => MessageShape::Timestamp,
            "google.protobuf.Duration" => MessageShape::Duration,
            "google.protobuf.Struct" => self.inner(message, "{}"),
            "google.protobuf.ListValue" => self.inner(message, "[]"),
            "google.protobuf.Value" => self.inner(message, "null"),
            _ => MessageShape::Fields(self.fields(message)),
        };
        place
    }

    pub(super) fn message(&self, place: usize) -> Option<&MessageShape> {
        self.messages.get(place)
    }

    /// The place of a message that was added, by its name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    fn inner(&mut self, message: &MessageDescriptor, empty: &'static str) -> MessageShape {
        MessageShape::Inner { fields: self.fields(message), empty }
    }

    fn fields(&mut self, message: &MessageDescriptor) -> FieldShapes {
        let fields = message.fields().map(|field| (field.number(), self.field(&field)));
        let mut fields: Vec<_> = fields.collect();
        fields.sort_by_key(|(number, _)| *number);
        FieldShapes(fields)
    }

    fn field(&mut self, field: &FieldDescriptor) -> FieldShape {
        let kind = match field.kind() {
            Kind::Double => KindShape::Double,
            Kind::Int32 => KindShape::Int32,
            Kind::Int64 => KindShape::Int64,
            Kind::Uint32 => KindShape::Uint32,
            Kind::Uint64 => KindShape::Uint64,
            Kind::Bool => KindShape::Bool,
            Kind::String => KindShape::Text,
            Kind::Bytes => KindShape::Bytes,
            Kind::Message(entry) if field.is_map() => self.map(&entry),
            Kind::Message(message) => KindShape::Message(self.add(&message)),
            Kind::Enum(values) if values.full_name() == "google.protobuf.NullValue" => {
                KindShape::Null
            }
            Kind::Enum(values) => KindShape::Enum(names(&values)),
            Kind::Float
            | Kind::Sint32
            | Kind::Sint64
            | Kind::Fixed32
            | Kind::Fixed64
            | Kind::Sfixed32
            | Kind::Sfixed64 => KindShape::Unsupported,
        };
        FieldShape { key: format!("\"{}\":", field.json_name()), is_list: field.is_list(), kind }
    }

    fn map(&mut self, entry: &MessageDescriptor) -> KindShape {
        if entry.map_entry_key_field().kind() == Kind::String {
            KindShape::TextMap(self.add(entry))
        } else {
            KindShape::Unsupported
        }
    }

    /// The kinds of all fields.
    #[cfg(test)]
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&str, &KindShape)> {
        self.messages.iter().flat_map(|message| {
            let fields = match message {
                MessageShape::Fields(fields) | MessageShape::Inner { fields, .. } => &fields.0[..],
                MessageShape::Timestamp | MessageShape::Duration => &[],
            };
            fields.iter().map(|(_, field)| (field.key.as_str(), &field.kind))
        })
    }
}

fn names(values: &EnumDescriptor) -> HashMap<i32, String> {
    values.values().map(|value| (value.number(), value.name().to_owned())).collect()
}

impl FieldShapes {
    pub(super) fn find(&self, number: u32) -> Option<&FieldShape> {
        let place = self.0.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.0.get(place).map(|(_, field)| field)
    }
}
