//! The forms of requests beside gRPC's own, by their content types.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

/// The protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebProtocol {
    /// Connect, with one message each way.
    ConnectUnary,
    /// Connect, with messages in envelopes.
    ConnectStream,
    GrpcWeb,
    /// gRPC-Web in base64.
    GrpcWebText,
}

/// The forms of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebCodec {
    Json,
    Protobuf,
}

/// The form of a request, and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WebFormat {
    pub(crate) protocol: WebProtocol,
    pub(crate) codec: WebCodec,
}

/// A content type and its form. The first of each form is that of its answers.
struct ContentType(&'static str, WebProtocol, WebCodec);

const CONTENT_TYPES: [ContentType; 9] = [
    ContentType("application/json", WebProtocol::ConnectUnary, WebCodec::Json),
    ContentType("application/proto", WebProtocol::ConnectUnary, WebCodec::Protobuf),
    ContentType("application/connect+json", WebProtocol::ConnectStream, WebCodec::Json),
    ContentType("application/connect+proto", WebProtocol::ConnectStream, WebCodec::Protobuf),
    ContentType("application/grpc-web+proto", WebProtocol::GrpcWeb, WebCodec::Protobuf),
    ContentType("application/grpc-web", WebProtocol::GrpcWeb, WebCodec::Protobuf),
    ContentType("application/grpc-web+json", WebProtocol::GrpcWeb, WebCodec::Json),
    ContentType("application/grpc-web-text+proto", WebProtocol::GrpcWebText, WebCodec::Protobuf),
    ContentType("application/grpc-web-text", WebProtocol::GrpcWebText, WebCodec::Protobuf),
];

/// Every form of a request.
#[cfg(feature = "fuzzing")]
pub(super) const FORMATS: [WebFormat; CONTENT_TYPES.len()] = {
    let mut formats =
        [WebFormat { protocol: WebProtocol::GrpcWeb, codec: WebCodec::Json }; CONTENT_TYPES.len()];
    let mut next = 0;
    while next < CONTENT_TYPES.len() {
        let ContentType(_, protocol, codec) = CONTENT_TYPES[next];
        formats[next] = WebFormat { protocol, codec };
        next += 1;
    }
    formats
};

impl WebFormat {
    /// The form of a request by its headers; `None` if this is none of these protocols.
    ///
    /// Browsers send some content types without asking first (the Fetch standard, CORS-safelisted request-header): one that only
    /// resembles one of these is none of them. Nor is one with another charset than UTF-8, in which it would be misread.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let content = content_type(headers)?;
        let known =
            |ContentType(name, ..): &&ContentType| content.eq_ignore_ascii_case(name.as_bytes());
        let ContentType(_, protocol, codec) = CONTENT_TYPES.iter().find(known)?;
        let parameters = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
        if parameters.split(|byte| *byte == b';').skip(1).any(is_other_charset) {
            return None;
        }
        Some(Self { protocol: *protocol, codec: *codec })
    }

    /// The content type of its answers.
    pub(crate) fn content_type(self) -> HeaderValue {
        let same = |ContentType(_, protocol, codec): &&ContentType| {
            (*protocol, *codec) == (self.protocol, self.codec)
        };
        let found = CONTENT_TYPES.iter().find(same);
        HeaderValue::from_static(found.map_or("", |ContentType(name, ..)| name))
    }

    pub(crate) fn is_connect(self) -> bool {
        matches!(self.protocol, WebProtocol::ConnectUnary | WebProtocol::ConnectStream)
    }
}

/// The names of all forms with one message each way, or with streams.
pub(crate) fn accepted_types(of_streams: bool) -> String {
    let is_accepted = |ContentType(_, protocol, _): &&ContentType| match protocol {
        WebProtocol::ConnectUnary => !of_streams,
        WebProtocol::ConnectStream => of_streams,
        WebProtocol::GrpcWeb | WebProtocol::GrpcWebText => true,
    };
    let names = CONTENT_TYPES.iter().filter(is_accepted).map(|ContentType(name, ..)| *name);
    names.chain(["application/grpc"]).collect::<Vec<_>>().join(", ")
}

/// Returns true for a parameter that names another charset than UTF-8.
fn is_other_charset(parameter: &[u8]) -> bool {
    let parameter = parameter.trim_ascii().to_ascii_lowercase();
    let Some(charset) = parameter.strip_prefix(b"charset=") else { return false };
    !matches!(charset, b"utf-8" | b"\"utf-8\"" | b"utf8" | b"\"utf8\"")
}

/// The content type without its parameters; `None` unless there is exactly one.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<&[u8]> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let Some((content, None)) = types.next().map(|first| (first, types.next())) else {
        return None;
    };
    let content = content.as_bytes().split(|byte| *byte == b';').next()?;
    Some(content.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(types: &[&'static str]) -> Option<WebFormat> {
        let mut headers = HeaderMap::new();
        for name in types {
            headers.append(CONTENT_TYPE, HeaderValue::from_static(name));
        }
        WebFormat::of(&headers)
    }

    #[test]
    fn a_form_is_known_by_its_content_type_alone() {
        let json = WebFormat { protocol: WebProtocol::ConnectUnary, codec: WebCodec::Json };
        for types in
            ["application/json", "Application/JSON; Charset=\"UTF-8\"", "application/json;"]
        {
            assert_eq!(format(&[types]), Some(json), "{types}");
        }
        for other in ["application/json; charset=utf-16", "application/json; x=y;charset=latin1"] {
            assert_eq!(format(&[other]), None, "{other}");
        }
        for ContentType(name, protocol, codec) in CONTENT_TYPES {
            let expected = WebFormat { protocol, codec };
            assert_eq!(format(&[name]), Some(expected));
            let answer = expected.content_type();
            assert!(answer.to_str().expect("ASCII").starts_with(name.trim_end_matches("+proto")));
        }
    }

    #[test]
    fn what_a_browser_sends_by_itself_is_none_of_them() {
        for types in [
            &[][..],
            &[""],
            &["text/plain"],
            &["text/plain;charset=UTF-8"],
            &["text/plain; application/json"],
            &["text/plain, application/json"],
            &["application/json, text/plain"],
            &["application/json", "text/plain"],
            &["application/json", "application/json"],
            &["multipart/form-data; boundary=application/json"],
            &["application/x-www-form-urlencoded"],
            &["application/csp-report"],
            &["application/reports+json"],
            &["text/ping"],
            &["application/json+x"],
            &["application/grpc"],
        ] {
            assert_eq!(format(types), None, "{types:?}");
        }
    }
}
