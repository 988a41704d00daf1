//! Asks the broker over HTTP.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::failure::Failure;
use crate::place::Place;

/// How long to wait for a connection, and for an answer that is not waited for on purpose.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const ANSWER_TIME_MAX: Duration = Duration::from_mins(2);

/// The most that an answer may have, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// How something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Put,
    Post,
    Delete,
}

impl Method {
    fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

/// What goes with a request.
#[derive(Clone, Debug)]
pub(crate) enum Content<'a> {
    Nothing,
    Json(&'a Json),
}

/// A broker, seen from here.
pub(crate) struct Client {
    agent: Agent,
    url: String,
    authorization: String,
    vhost: String,
}

impl Client {
    /// A client of the broker at that place; asks nothing yet.
    pub(crate) fn new(place: &Place) -> Result<Client, Failure> {
        let mut tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        if let Some(path) = &place.ca {
            let pem =
                std::fs::read(path).map_err(|error| Failure::File { path: path.clone(), error })?;
            let certificates: Vec<Certificate<'static>> = ureq::tls::parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
                    _other => None,
                })
                .collect();
            if certificates.is_empty() {
                let what = format!("{} holds no certificate in PEM format", path.display());
                return Err(Failure::Usage(what));
            }
            tls = TlsConfig::builder().root_certs(RootCerts::from(certificates));
        }
        let agent = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIME_MAX))
            .timeout_recv_response(Some(ANSWER_TIME_MAX))
            .user_agent(concat!("postroom/", env!("CARGO_PKG_VERSION")))
            .build();
        let authorization = if let Some(token) = &place.token {
            format!("Bearer {token}")
        } else {
            let both = format!("{}:{}", place.user, place.password);
            format!("Basic {}", STANDARD.encode(both))
        };
        Ok(Client {
            agent: agent.into(),
            url: place.url.trim_end_matches('/').to_owned(),
            authorization,
            vhost: place.vhost.clone(),
        })
    }

    /// The virtual host that is meant.
    pub(crate) fn vhost(&self) -> &str {
        &self.vhost
    }

    /// A path in the virtual host that is meant, with more parameters.
    pub(crate) fn in_vhost(&self, path: &str, more: &[(&str, &str)]) -> String {
        let mut url = format!("{path}?vhost={}", encoded(&self.vhost));
        for (name, value) in more {
            _ = write!(url, "&{name}={}", encoded(value));
        }
        url
    }

    /// Asks, and understands the answer; `Json::Null` if there is none.
    pub(crate) fn ask(
        &self,
        method: Method,
        path: &str,
        content: &Content<'_>,
    ) -> Result<Json, Failure> {
        let mut response = self.send(method, path, content)?;
        let status = response.status();
        let read = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let bytes = read.map_err(|error| self.unreachable(&error))?;
        let json: Option<Json> = match serde_json::from_slice(&bytes) {
            Ok(json) => Some(json),
            Err(_not_json) if bytes.is_empty() => Some(Json::Null),
            Err(_not_json) => None,
        };
        let Some(json) = json else {
            let what = format!("status {status} without JSON");
            return Err(Failure::NotABroker { url: self.url.clone(), what });
        };
        if status.is_success() {
            return Ok(json);
        }
        let text = |name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
        let mut detail = text("detail").or_else(|| text("reason")).unwrap_or_else(|| {
            status.canonical_reason().unwrap_or("the broker refused").to_owned()
        });
        if let Some(field) = text("field") {
            detail = format!("{field}: {detail}");
        }
        Err(Failure::Refused { status: status.as_u16(), detail, remedy: text("remedy") })
    }

    /// Asks for something.
    pub(crate) fn get(&self, path: &str) -> Result<Json, Failure> {
        self.ask(Method::Get, path, &Content::Nothing)
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        content: &Content<'_>,
    ) -> Result<Response<Body>, Failure> {
        let request = Request::builder()
            .method(method.as_str())
            .uri(format!("{}{path}", self.url))
            .header("authorization", &self.authorization)
            .header("accept", "application/json");
        let (request, bytes) = match content {
            Content::Nothing => (request, Vec::new()),
            Content::Json(json) => {
                (request.header("content-type", "application/json"), json.to_string().into_bytes())
            }
        };
        let request = request
            .body(bytes)
            .map_err(|error| Failure::Usage(format!("{}{path}: {error}", self.url)))?;
        self.agent.run(request).map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::Unreachable { url: self.url.clone(), error: error.to_string() }
    }
}

/// A part of a URL: everything but letters, digits and `-._~` as `%XX` (RFC 3986 §2.3).
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_has_goes_into_a_url() {
        for (text, expected) in
            [("orders", "orders"), ("/", "%2F"), ("a b+c?%", "a%20b%2Bc%3F%25"), ("é", "%C3%A9")]
        {
            assert_eq!(encoded(text), expected);
        }
    }
}
