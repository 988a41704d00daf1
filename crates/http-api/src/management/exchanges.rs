//! Exchanges: `/api/exchanges`.

use axum::extract::State;
use axum::response::Response;
use broker::Sight;
use broker::views::ExchangeView;
use domain::name::Name;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::listing::{Detail, Wish};
use super::message_stats::MessageStats;
use super::topology::exchange_name;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::json_table;
use crate::looking;
use crate::problem::Problem;
use crate::query::Places;
use crate::routes::{Need, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/exchanges", Need::Management, list)
        .get("/api/exchanges/{vhost}", Need::Management, of_vhost)
        .get("/api/exchanges/{vhost}/{name}", Need::Management, one)
}

/// An exchange.
#[derive(Serialize)]
struct ExchangeOut<'a> {
    arguments: Map<String, Json>,
    auto_delete: bool,
    durable: bool,
    internal: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<MessageStats>,
    name: &'a str,
    r#type: &'static str,
    vhost: &'a str,
    /// RabbitMQ tells of single exchanges who publishes to them, if it is told to keep that.
    #[serde(flatten)]
    traffic: Option<Traffic>,
}

#[derive(Serialize)]
struct Traffic {
    incoming: [(); 0],
    outgoing: [(); 0],
}

fn shown<'a>(vhost: &'a Name, view: &'a ExchangeView, detail: Detail) -> ExchangeOut<'a> {
    let stats = (detail == Detail::Everything)
        .then(|| MessageStats::of_exchange(&view.counts, &view.rates));
    ExchangeOut {
        arguments: json_table::shown(&view.settings.arguments),
        auto_delete: view.settings.auto_delete,
        durable: view.settings.durable,
        internal: view.settings.internal,
        message_stats: stats.flatten(),
        name: view.name.as_str(),
        r#type: view.settings.exchange_type.as_str(),
        vhost: vhost.as_str(),
        traffic: None,
    }
}

fn answer(sights: &[Sight], wish: &Wish) -> Result<Response, Problem> {
    let listings: Vec<_> = sights.iter().map(|sight| (sight.vhost(), sight.exchanges())).collect();
    let views = listings.iter().flat_map(|(vhost, listing)| listing.iter().map(|it| (*vhost, it)));
    wish.answer(
        views.collect(),
        |(_, it)| it.name.as_str(),
        |(vhost, it)| shown(vhost, it, wish.detail),
    )
}

async fn list(
    State(hall): State<Hall>,
    Guest(user): Guest,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| answer(&looker.sights(), &wish)).await
}

async fn of_vhost(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(vhost): Places<String>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| answer(&[looker.sight(&vhost)?], &wish)).await
}

/// The exchange that a path names.
pub(super) fn known(sight: &Sight, name: &str) -> Result<ExchangeView, Problem> {
    let find = |name: &str| sight.exchange(exchange_name(name).ok()?.as_str());
    looking::spelled(name, find)
        .ok_or_else(|| Problem::not_found(format!("there is no exchange '{name}'")))
}

async fn one(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places((vhost, name)): Places<(String, String)>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_one(&hall, user, move |looker| {
        let sight = looker.sight(&vhost)?;
        let view = known(&sight, &name)?;
        let traffic = Some(Traffic { incoming: [], outgoing: [] });
        wish.show(&ExchangeOut { traffic, ..shown(sight.vhost(), &view, wish.detail) })
    })
    .await
}
