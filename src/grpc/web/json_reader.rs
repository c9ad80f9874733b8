//! Messages of JSON (ProtoJSON): names of fields in lowerCamelCase or as in the proto files, unknown ones refused.

use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor};

use super::json_check::check_json;
use crate::error::Error;
use crate::grpc::respond::malformed_request;

/// The hint for a message that cannot be read.
const HINT: &str = "Fields are named as in proto/rowgate/v1, or in lowerCamelCase; 64-bit integers may be text. docs/HTTP.md \
    has examples.";

/// Reads one message, and encodes it behind what `out` holds.
///
/// # Errors
/// The text is no JSON of such a message.
pub(crate) fn read_json(
    descriptor: &MessageDescriptor,
    json: &[u8],
    out: &mut impl bytes::BufMut,
) -> Result<(), Error> {
    let malformed = |error: serde_json::Error| {
        let name = descriptor.full_name();
        malformed_request(&format!("it is no JSON of {name}: {error}")).with_hint(HINT)
    };
    check_json(descriptor, json).map_err(malformed)?;
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = DynamicMessage::deserialize_with_options(descriptor.clone(), &mut reader, &options);
    let read = read.and_then(|message| reader.end().map(|()| message));
    let message = read.map_err(malformed)?;
    message.encode_raw(out);
    Ok(())
}
