//! Somewhere else that the broker tells things: a URL, and whether what was sent there has arrived.

use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig};

/// How long an answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// A URL that the broker posts to. What stands behind its host may be a secret, and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url(Uri);

/// The text is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoUrl {
    #[error("it is not a URL")]
    Malformed,
    #[error("a URL begins with http:// or https:// and a host")]
    NotHttp,
    #[error("a URL names no user here; credentials go into a header")]
    NamesUser,
}

impl std::str::FromStr for Url {
    type Err = NoUrl;

    fn from_str(text: &str) -> Result<Url, NoUrl> {
        let uri: Uri = text.parse().map_err(|_malformed| NoUrl::Malformed)?;
        if !matches!(uri.scheme_str(), Some("http" | "https"))
            || uri.host().is_none_or(str::is_empty)
        {
            return Err(NoUrl::NotHttp);
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(NoUrl::NamesUser);
        }
        Ok(Url(uri))
    }
}

impl Url {
    /// The URL with a path behind its own.
    pub(crate) fn under(&self, path: &str) -> Result<Url, NoUrl> {
        let text = self.0.to_string();
        let base = text.split_once('?').map_or(text.as_str(), |(base, _query)| base);
        format!("{}/{path}", base.trim_end_matches('/')).parse()
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, authority) = (self.0.scheme_str(), self.0.authority());
        let authority = authority.map_or("", |authority| authority.as_str());
        write!(f, "{}://{authority}", scheme.unwrap_or_default())
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Url({self})")
    }
}

/// Headers that go with everything that is posted.
pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// The text is no list of headers. What it is may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("headers are written NAME=VALUE, separated by commas")]
pub(crate) struct NoHeaders;

/// Understands `NAME=VALUE,NAME=VALUE`.
pub(crate) fn headers(text: &str) -> Result<Headers, NoHeaders> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=').ok_or(NoHeaders)?;
        let name = name.trim().parse().map_err(|_malformed| NoHeaders)?;
        let mut value: HeaderValue = value.trim().parse().map_err(|_malformed| NoHeaders)?;
        value.set_sensitive(true);
        Ok((name, value))
    };
    pairs.map(header).collect()
}

/// Why something has not arrived.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    /// It may arrive later.
    #[error("{0}")]
    Unreachable(Box<ureq::Error>),
    /// It may arrive later.
    #[error("it answers {0}")]
    Busy(StatusCode),
    /// It never will.
    #[error("it answers {0}")]
    Refused(StatusCode),
}

impl PostError {
    /// Whether it is worth another try.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            PostError::Unreachable(_) | PostError::Busy(_) => true,
            PostError::Refused(_) => false,
        }
    }
}

/// Posts to a URL, one thing after the other.
#[derive(Debug)]
pub(crate) struct Endpoint {
    agent: Agent,
    pub(crate) url: Url,
    headers: Headers,
    content_type: &'static str,
}

impl Endpoint {
    pub(crate) fn new(url: Url, headers: Headers, content_type: &'static str) -> Endpoint {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(ANSWER_TIME_MAX))
            .user_agent(concat!("postroom/", env!("CARGO_PKG_VERSION")))
            .build();
        Endpoint { agent: agent.into(), url, headers, content_type }
    }

    /// Posts it and waits for the answer.
    pub(crate) fn post(&self, body: &[u8]) -> Result<(), PostError> {
        let mut request = Request::post(&self.url.0).header("content-type", self.content_type);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let unreachable = |error: ureq::Error| PostError::Unreachable(Box::new(error));
        let request = request.body(body).map_err(|error| unreachable(error.into()))?;
        let status = self.agent.run(request).map_err(unreachable)?.status();
        if status.is_success() {
            return Ok(());
        }
        let passes = status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT
            || status.is_server_error();
        Err(if passes { PostError::Busy(status) } else { PostError::Refused(status) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_somewhere_to_post_to() {
        for (text, expected) in [
            ("http://127.0.0.1:4318", Ok("http://127.0.0.1:4318/v1/traces")),
            ("https://host/a/b/", Ok("https://host/a/b/v1/traces")),
            ("https://host/a?b=c", Ok("https://host/a/v1/traces")),
            ("ftp://host", Err(NoUrl::NotHttp)),
            ("host:80", Err(NoUrl::NotHttp)),
            ("/v1", Err(NoUrl::NotHttp)),
            ("", Err(NoUrl::Malformed)),
            ("http://a b", Err(NoUrl::Malformed)),
            ("http://user:pass@host/", Err(NoUrl::NamesUser)),
        ] {
            let found = text.parse::<Url>().and_then(|url| url.under("v1/traces"));
            let found = found.map(|url| url.0.to_string());
            assert_eq!(found.as_deref(), expected.as_ref().copied(), "{text}");
        }
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let url: Url = "https://hooks.example/T000/secret?key=secret".parse().unwrap();
        assert_eq!(format!("{url} {url:?}"), "https://hooks.example Url(https://hooks.example)");
        let headers = headers("authorization=Bearer secret, x-scope=a=b,").unwrap();
        assert_eq!(headers[1].1.as_bytes(), b"a=b");
        assert!(!format!("{headers:?}").contains("secret"));
        assert_eq!(super::headers("authorization"), Err(NoHeaders));
        assert_eq!(super::headers("a b=c"), Err(NoHeaders));
    }
}
