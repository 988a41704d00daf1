//! Bindings: `/api/bindings`, and beside the queues and exchanges that they are at.

use axum::extract::State;
use axum::response::Response;
use broker::views::{BindingEnd, BindingView};
use broker::{Sight, User};
use domain::name::Name;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::exchanges;
use super::listing::Wish;
use super::queues;
use crate::binding_key::properties_key;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::json_table;
use crate::looking;
use crate::problem::Problem;
use crate::query::Places;
use crate::routes::{Need, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/bindings", Need::Management, list)
        .get("/api/bindings/{vhost}", Need::Management, of_vhost)
        .get("/api/bindings/{vhost}/e/{source}/q/{destination}", Need::Management, to_queue)
        .get("/api/bindings/{vhost}/e/{source}/e/{destination}", Need::Management, to_exchange)
        .get(
            "/api/bindings/{vhost}/e/{source}/q/{destination}/{props}",
            Need::Management,
            one_to_queue,
        )
        .get(
            "/api/bindings/{vhost}/e/{source}/e/{destination}/{props}",
            Need::Management,
            one_to_exchange,
        )
        .get("/api/queues/{vhost}/{name}/bindings", Need::Management, of_queue)
        .get("/api/exchanges/{vhost}/{name}/bindings/source", Need::Management, from)
        .get("/api/exchanges/{vhost}/{name}/bindings/destination", Need::Management, into)
}

/// A binding.
#[derive(Serialize)]
struct BindingOut<'a> {
    source: &'a str,
    vhost: &'a str,
    destination: &'a str,
    destination_type: &'static str,
    routing_key: String,
    arguments: Map<String, Json>,
    properties_key: String,
}

fn shown<'a>(vhost: &'a Name, view: &'a BindingView) -> BindingOut<'a> {
    BindingOut {
        source: view.source.as_str(),
        vhost: vhost.as_str(),
        destination: view.destination.name().as_str(),
        destination_type: match view.destination {
            BindingEnd::Exchange(_) => "exchange",
            BindingEnd::Queue(_) => "queue",
        },
        routing_key: json_table::text(&view.routing_key),
        arguments: json_table::shown(&view.arguments.0),
        properties_key: properties_key(&view.routing_key, &view.arguments),
    }
}

async fn list(
    State(hall): State<Hall>,
    Guest(user): Guest,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| {
        let sights = looker.sights();
        let listings: Vec<_> = sights.iter().map(|it| (it.vhost(), it.bindings())).collect();
        let views = listings.iter().flat_map(|(vhost, all)| all.iter().map(|it| (*vhost, it)));
        wish.answer(views.collect(), |(_, it)| it.source.as_str(), |(vhost, it)| shown(vhost, it))
    })
    .await
}

async fn of_vhost(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(vhost): Places<String>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| {
        let sight = looker.sight(&vhost)?;
        let listing = sight.bindings();
        answer(&sight, &wish, &listing)
    })
    .await
}

/// The list of some bindings.
fn answer(sight: &Sight, wish: &Wish, views: &[BindingView]) -> Result<Response, Problem> {
    wish.answer(
        views.iter().collect(),
        |it: &&BindingView| it.source.as_str(),
        |it| shown(sight.vhost(), it),
    )
}

async fn of_queue(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places((vhost, name)): Places<(String, String)>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_one(&hall, user, move |looker| {
        let sight = looker.sight(&vhost)?;
        let queue = queues::known(&sight, &name)?;
        let views = sight.bindings_to_queue(queue.name.as_str()).unwrap_or_default();
        answer(&sight, &wish, &views)
    })
    .await
}

async fn from(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places((vhost, name)): Places<(String, String)>,
    wish: Wish,
) -> Result<Response, Problem> {
    // The default exchange is bound to every queue.
    looking::at_many(&hall, user, move |looker| {
        let sight = looker.sight(&vhost)?;
        let exchange = exchanges::known(&sight, &name)?;
        let views = sight.bindings_from(exchange.name.as_str()).unwrap_or_default();
        answer(&sight, &wish, &views)
    })
    .await
}

async fn into(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places((vhost, name)): Places<(String, String)>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_one(&hall, user, move |looker| {
        let sight = looker.sight(&vhost)?;
        let exchange = exchanges::known(&sight, &name)?;
        let views = sight.bindings_to_exchange(exchange.name.as_str()).unwrap_or_default();
        answer(&sight, &wish, &views)
    })
    .await
}

/// What a destination in a path is.
#[derive(Clone, Copy)]
enum End {
    Queue,
    Exchange,
}

/// The bindings between two that a path names.
fn between(
    sight: &Sight,
    source: &str,
    destination: &str,
    end: End,
) -> Result<Vec<BindingView>, Problem> {
    let source = exchanges::known(sight, source)?.name;
    let views = match end {
        End::Queue => {
            let queue = queues::known(sight, destination)?.name;
            sight.bindings_to_queue(queue.as_str())
        }
        End::Exchange => {
            let exchange = exchanges::known(sight, destination)?.name;
            sight.bindings_to_exchange(exchange.as_str())
        }
    };
    let mut views = views.unwrap_or_default();
    views.retain(|view| view.source == source);
    Ok(views)
}

type Two = (String, String, String);
type One = (String, String, String, String);

async fn all_between(
    hall: &Hall,
    user: User,
    (vhost, source, destination): Two,
    end: End,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_one(hall, user, move |looker| {
        let sight = looker.sight(&vhost)?;
        answer(&sight, &wish, &between(&sight, &source, &destination, end)?)
    })
    .await
}

async fn to_queue(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(places): Places<Two>,
    wish: Wish,
) -> Result<Response, Problem> {
    all_between(&hall, user, places, End::Queue, wish).await
}

async fn to_exchange(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(places): Places<Two>,
    wish: Wish,
) -> Result<Response, Problem> {
    all_between(&hall, user, places, End::Exchange, wish).await
}

async fn one_between(
    hall: &Hall,
    user: User,
    (vhost, source, destination, key): One,
    end: End,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_one(hall, user, move |looker| {
        let sight = looker.sight(&vhost)?;
        let views = between(&sight, &source, &destination, end)?;
        let is_it = |it: &&BindingView| properties_key(&it.routing_key, &it.arguments) == key;
        let none = || Problem::not_found(format!("there is no binding '{key}' between the two"));
        let view = views.iter().find(is_it).ok_or_else(none)?;
        wish.show(&shown(sight.vhost(), view))
    })
    .await
}

async fn one_to_queue(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(places): Places<One>,
    wish: Wish,
) -> Result<Response, Problem> {
    one_between(&hall, user, places, End::Queue, wish).await
}

async fn one_to_exchange(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(places): Places<One>,
    wish: Wish,
) -> Result<Response, Problem> {
    one_between(&hall, user, places, End::Exchange, wish).await
}
