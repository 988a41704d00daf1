//! What may be asked over HTTP, and by whom: proved from the table of routes itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use broker::{Broker, FirstUser};
use clap::{Args as _, FromArgMatches as _};
use http_api::{HttpDoor, HttpSettings, Need, Peer, Route};
use http_body_util::Empty;
use hyper::{Request, StatusCode};

use super::open_broker;
use crate::config::Settings;
use crate::reserve::Reserve;

const PEER: Peer = Peer { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1) };

/// Everybody's name is the tag they have; `nobody` has none.
const TAGS: [&str; 5] = ["nobody", "management", "policymaker", "monitoring", "administrator"];

/// Everybody's, and its hash as RabbitMQ has it: salted SHA-256.
const PASSWORD: &str = "password";
const PASSWORD_HASH: &str = "c2FsdBNgG9pOp45VoHuYhm0r5r4HROOGbxPADIEcq2CKKPMi";

fn definitions() -> String {
    let user = |tag: &&str| {
        let tags = if *tag == "nobody" { "" } else { tag };
        format!(r#"{{"name": "{tag}", "password_hash": "{PASSWORD_HASH}", "tags": "{tags}"}}"#)
    };
    let users: Vec<String> = TAGS.iter().map(user).collect();
    format!("{{\"users\": [{}]}}", users.join(", "))
}

/// A broker on a fresh directory that knows those users.
fn broker(folder: &std::path::Path, runtime: &tokio::runtime::Runtime) -> Arc<Broker> {
    let data_dir = folder.join("data");
    storage::disk::RealDisk::open(&data_dir).unwrap();
    let command = Settings::augment_args(clap::Command::new("serve").no_binary_name(true));
    let matches = command.get_matches_from(["--data-dir".as_ref(), data_dir.as_os_str()]);
    let settings = Settings::from_arg_matches(&matches).unwrap();
    let reserve = Arc::new(Reserve::of(&data_dir));
    let clock = Arc::new(stdx::clock::SystemClock::start());
    let broker = open_broker(&settings, FirstUser::guest(None), runtime, reserve, clock).unwrap();
    let file = folder.join("definitions.json");
    std::fs::write(&file, definitions()).unwrap();
    crate::definitions::import(&file, &broker).unwrap();
    broker
}

async fn ask(door: &HttpDoor, route: &Route, user: Option<&str>) -> StatusCode {
    // A name that nothing has, in every place of the path.
    let path: String = route
        .path
        .split('/')
        .map(|part| if part.starts_with('{') { "%00" } else { part })
        .collect::<Vec<_>>()
        .join("/");
    let mut request = Request::builder().method(route.method.clone()).uri(path);
    if let Some(user) = user {
        use base64::Engine as _;
        let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{PASSWORD}"));
        request = request.header("authorization", format!("Basic {both}"));
    }
    let body = Body::new(Empty::new());
    door.answer(request.body(body).unwrap(), PEER).await.status()
}

#[test]
fn every_route_refuses_whoever_may_not_ask() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path(), &runtime);
    let door = HttpDoor::new(Arc::clone(&broker), HttpSettings::default());
    assert!(door.routes().len() > 5, "the table is empty");
    runtime.block_on(async {
        // Once: strangers wait longer and longer.
        let guarded = door.routes().iter().find(|route| route.need == Need::Login).unwrap();
        assert_eq!(ask(&door, guarded, Some("stranger")).await, StatusCode::UNAUTHORIZED);
        for route in door.routes() {
            let place = format!("{} {}", route.method, route.path);
            let refused = StatusCode::UNAUTHORIZED;
            if route.need == Need::Nothing {
                assert_ne!(ask(&door, route, None).await, refused, "{place}");
                continue;
            }
            assert_eq!(ask(&door, route, None).await, refused, "{place}: nobody at all");
            for tag in TAGS {
                let status = ask(&door, route, Some(tag)).await;
                let may = route.need.tags().is_empty() || route.need.tags().contains(&tag);
                assert_eq!(status != refused, may, "{place}: {tag} is answered {status}");
                // A check that fails is an answer too.
                let is_fault =
                    status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE;
                assert!(!is_fault, "{place}: {tag} is answered {status}");
            }
        }
    });
    broker.close();
    broker.finish().unwrap();
}

/// A request of the native API: its method, and its path with names for what varies.
type Asked = (String, String);

async fn described(door: &HttpDoor) -> BTreeSet<Asked> {
    let request = Request::builder().uri("/v1/openapi.json").body(Body::empty()).unwrap();
    let body = door.answer(request, PEER).await.into_body();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let asked = paths.flat_map(|(path, operations)| {
        let methods = operations.as_object().unwrap().keys();
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    asked.collect()
}

#[test]
fn the_document_describes_every_request_of_the_native_api_and_no_other() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path(), &runtime);
    let door = HttpDoor::new(Arc::clone(&broker), HttpSettings::default());
    let there = door.routes().iter().filter(|route| route.path.starts_with("/v1/"));
    let mut there: BTreeSet<Asked> =
        there.map(|route| (route.method.to_string(), route.path.to_owned())).collect();
    // The document does not describe itself.
    assert!(there.remove(&("GET".to_owned(), "/v1/openapi.json".to_owned())));
    assert_eq!(runtime.block_on(described(&door)), there);
    broker.close();
    broker.finish().unwrap();
}
