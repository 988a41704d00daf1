//! `/metrics` and its relatives: what there is to measure, for Prometheus and whatever reads its text.
//!
//! `/metrics` has our own names, queue by queue as far as the setting goes, and RabbitMQ's names added up
//! over all queues, as RabbitMQ has them there. `/metrics/per-queue` has what is many series for each
//! queue and consumer, under our own names. `/metrics/per-object` and `/metrics/detailed` have
//! RabbitMQ's names for each object.

mod native;
mod per_queue;
mod rabbitmq;

mod house;

mod exposition;

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::hall::Hall;
use crate::problem::Problem;
use crate::routes::{Need, Routes};
use crate::waited::waited_in_turn;
use exposition::{Format, Page};
use house::House;
use rabbitmq::Scope;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes
        .get("/metrics", Need::Monitoring, all)
        .get("/metrics/per-queue", Need::Monitoring, per_queue)
        .get("/metrics/per-object", Need::Monitoring, per_object)
        .get("/metrics/detailed", Need::Monitoring, detailed)
}

/// Our own names, and RabbitMQ's added up.
async fn all(State(hall): State<Hall>, headers: HeaderMap) -> Response {
    answer(hall, &headers, |house, page| {
        native::write(house, page);
        rabbitmq::write(house, &Scope::Together, page);
    })
    .await
}

/// Histograms of each queue, and what consumers do.
async fn per_queue(State(hall): State<Hall>, headers: HeaderMap) -> Response {
    answer(hall, &headers, |house, page| per_queue::write(house, page)).await
}

/// RabbitMQ's names for each queue, channel and connection.
async fn per_object(State(hall): State<Hall>, headers: HeaderMap) -> Response {
    answer(hall, &headers, |house, page| rabbitmq::write(house, &Scope::Each, page)).await
}

/// Those families that are asked for, of those virtual hosts that are asked for.
async fn detailed(
    State(hall): State<Hall>,
    headers: HeaderMap,
    query: Query<Vec<(String, String)>>,
) -> Response {
    let asked = |name: &str| -> BTreeSet<String> {
        let named = query.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.clone()).collect()
    };
    let (families, vhosts) = (asked("family"), asked("vhost"));
    answer(hall, &headers, move |house, page| {
        house.keep_vhosts(&vhosts);
        rabbitmq::write(house, &Scope::Families(families), page);
    })
    .await
}

async fn answer(
    hall: Hall,
    headers: &HeaderMap,
    write: impl FnOnce(&mut House, &mut Page) + Send + 'static,
) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::wanted(accept);
    // Lists wait for the owners of virtual hosts.
    let own = hall.clone();
    let written = waited_in_turn(&hall, hall.scrapers(), move |_broker| {
        let mut house = House::look(&own);
        let mut page = Page::new(format);
        write(&mut house, &mut page);
        page.finish()
    });
    match written.await {
        Ok(text) => ([(CONTENT_TYPE, format.content_type())], Body::from(text)).into_response(),
        Err(_panic) => {
            tracing::error!("metrics could not be written");
            let detail = "metrics could not be written";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail)
                .remedy("the broker's log says why")
                .into_response()
        }
    }
}
