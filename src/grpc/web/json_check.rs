//! A check of JSON before it is read as a message: what the reader would take, and take for something else, is refused.

use std::collections::BTreeSet;
use std::fmt;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The magnitude from which a number with a fraction or an exponent may be read as another integer (2⁵³).
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Checks that no field is given twice (ProtoJSON leaves open which counts), that an integer of 64 bits is not read by way
/// of a double, and that no text of a finite double is read as infinite.
pub(super) fn check_json(descriptor: &MessageDescriptor, json: &[u8]) -> serde_json::Result<()> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    Expected::Message(descriptor.clone()).deserialize(&mut reader)?;
    reader.end()
}

/// The kind of value that stands at a place.
#[derive(Debug, Clone)]
enum Expected {
    Message(MessageDescriptor),
    /// An integer of 64 bits.
    Integer,
    Double,
    /// Another kind, which the reader takes as it is written.
    Other,
}

impl Expected {
    fn of(field: &FieldDescriptor) -> Self {
        match field.kind() {
            Kind::Message(message) if !field.is_map() && !is_well_known(&message) => {
                Self::Message(message)
            }
            Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => {
                Self::Integer
            }
            Kind::Double | Kind::Float => Self::Double,
            Kind::Message(_)
            | Kind::Int32
            | Kind::Uint32
            | Kind::Sint32
            | Kind::Fixed32
            | Kind::Sfixed32
            | Kind::Bool
            | Kind::String
            | Kind::Bytes
            | Kind::Enum(_) => Self::Other,
        }
    }
}

/// Returns true for a message that has a JSON form of its own.
fn is_well_known(message: &MessageDescriptor) -> bool {
    message.package_name() == "google.protobuf"
}

impl<'de> DeserializeSeed<'de> for Expected {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Expected {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        match self {
            Self::Integer if number.abs() >= EXACT => Err(E::custom(
                "an integer over 2^53 with a fraction or an exponent: write its digits, or text",
            )),
            Self::Integer | Self::Double | Self::Message(_) | Self::Other => Ok(()),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let is_finite = text.bytes().any(|byte| byte.is_ascii_digit());
        match self {
            Self::Double if is_finite && text.parse().is_ok_and(f64::is_infinite) => {
                Err(E::custom("the number is out of range; infinity is \"Infinity\""))
            }
            Self::Double | Self::Integer | Self::Message(_) | Self::Other => Ok(()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.clone())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            let field = match &self {
                Self::Message(message) => message
                    .get_field_by_json_name(&name)
                    .or_else(|| message.get_field_by_name(&name)),
                Self::Integer | Self::Double | Self::Other => None,
            };
            // A field has two names: lowerCamelCase, and as in the proto file.
            let identity = field.as_ref().map_or(name.as_str(), FieldDescriptor::name).to_owned();
            if !seen.insert(identity) {
                return Err(A::Error::custom(format!("the field \"{name}\" is there twice")));
            }
            fields.next_value_seed(field.as_ref().map_or(Self::Other, Self::of))?;
        }
        Ok(())
    }
}
