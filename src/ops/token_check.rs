//! The check of the operators' token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::{TokenHash, are_equal, hash};
use crate::config::Secret;

/// The paths for probes, which have no token.
const OPEN: [&str; 2] = ["/livez", "/readyz"];

/// The hash of the token that requests must present; `None` where they need none.
pub(crate) type RequiredToken = Option<Arc<TokenHash>>;

pub(crate) fn required(token: Option<&Secret>) -> RequiredToken {
    token.map(|token| Arc::new(hash(token.expose())))
}

/// Passes on requests that present the token, or need none, and refuses all others.
pub(crate) async fn check_token(
    State(required): State<RequiredToken>,
    request: Request,
    next: Next,
) -> Response {
    let is_open = OPEN.contains(&request.uri().path());
    match required {
        Some(required) if !is_open && !presents(request.headers(), &required) => {
            let text = "this needs the token of ops.token: Authorization: Bearer TOKEN\n";
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], text).into_response()
        }
        Some(_) | None => next.run(request).await,
    }
}

/// Compares hashes: the time tells nothing about the token.
fn presents(headers: &HeaderMap, required: &TokenHash) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some((scheme, token)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return false;
    };
    scheme.eq_ignore_ascii_case("bearer") && are_equal(&hash(token.trim()), required)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn one_header_with_the_token_and_nothing_else_passes() {
        let required = hash("a-token-of-operators");
        let passes = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            presents(&headers, &required)
        };
        assert!(passes(&["Bearer a-token-of-operators"]));
        assert!(passes(&["bearer  a-token-of-operators "]));
        for refused in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["a-token-of-operators"],
            &["Basic a-token-of-operators"],
            &["Bearer a-token-of-operator"],
            &["Bearer a-token-of-operators2"],
            &["Bearer A-token-of-operators"],
            &["Bearer a-token-of-operators", "Bearer a-token-of-operators"],
        ] {
            assert!(!passes(refused), "{refused:?}");
        }
    }
}
