//! Looking at exchanges and bindings.

use axum::extract::State;
use axum::response::Response;
use broker::views::{BindingEnd, BindingView, ExchangeView};
use domain::name::Name;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::{IntoParams, ToSchema};

use super::cursor::{Page, PageParameters, Part};
use super::queues::asked;
use crate::binding_key::properties_key;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::json_table;
use crate::looking;
use crate::problem::Problem;
use crate::query::{InVhost, Parameters, Places};
use crate::routes::{Need, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/v1/exchanges", Need::Login, list_exchanges)
        .get("/v1/exchanges/{exchange}", Need::Login, get_exchange)
        .get("/v1/bindings", Need::Login, list_bindings)
}

/// An exchange.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExchangeOut {
    /// Empty: the default exchange, to which every queue is bound by its name.
    name: String,
    vhost: String,
    r#type: &'static str,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    #[schema(value_type = Object)]
    arguments: Map<String, Json>,
    /// Messages published to it since the start.
    published_in: u64,
    /// Copies of them that went into queues.
    published_out: u64,
    published_in_per_s: f64,
    published_out_per_s: f64,
}

fn shown_exchange(vhost: &Name, view: &ExchangeView) -> ExchangeOut {
    ExchangeOut {
        name: view.name.as_str().to_owned(),
        vhost: vhost.as_str().to_owned(),
        r#type: view.settings.exchange_type.as_str(),
        durable: view.settings.durable,
        auto_delete: view.settings.auto_delete,
        internal: view.settings.internal,
        arguments: json_table::shown(&view.settings.arguments),
        published_in: view.counts.published_in,
        published_out: view.counts.published_out,
        published_in_per_s: view.rates.published_in,
        published_out_per_s: view.rates.published_out,
    }
}

/// Lists exchanges.
#[utoipa::path(
    get, path = "/v1/exchanges", tag = "exchanges",
    params(PageParameters),
    responses((status = 200, body = Page<ExchangeOut>))
)]
pub(super) async fn list_exchanges(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(parameters): Parameters<PageParameters>,
) -> Result<Response, Problem> {
    let part = Part::of(&parameters)?;
    looking::at_many(&hall, user, move |looker| {
        let sights = asked(looker, parameters.vhost.as_ref())?;
        let listings: Vec<_> = sights.iter().map(|it| (it.vhost(), it.exchanges())).collect();
        let views = listings.iter().flat_map(|(vhost, all)| all.iter().map(|it| (*vhost, it)));
        part.answer(
            views.collect(),
            |(_, it)| it.name.as_str(),
            |(vhost, it)| format!("{vhost}\0{}", it.name),
            |(vhost, it)| shown_exchange(vhost, it),
        )
    })
    .await
}

/// An exchange as it is now.
#[utoipa::path(
    get, path = "/v1/exchanges/{exchange}", tag = "exchanges",
    params(("exchange" = String, Path), InVhost),
    responses((status = 200, body = ExchangeOut))
)]
pub(super) async fn get_exchange(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(exchange): Places<String>,
    Parameters(place): Parameters<InVhost>,
) -> Result<Response, Problem> {
    looking::at_one(&hall, user, move |looker| {
        let sight = looker.sight(place.name())?;
        let view = sight.exchange(&exchange).ok_or_else(|| {
            let detail = format!("there is no exchange '{exchange}' in vhost '{}'", sight.vhost());
            Problem::not_found(detail).remedy("GET /v1/exchanges lists those there are")
        })?;
        looking::json(&shown_exchange(sight.vhost(), &view))
    })
    .await
}

/// A binding.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BindingOut {
    /// The exchange that messages come from; empty: the default exchange.
    source: String,
    /// The queue or exchange that they go to.
    destination: String,
    /// `queue` or `exchange`.
    destination_type: &'static str,
    routing_key: String,
    #[schema(value_type = Object)]
    arguments: Map<String, Json>,
    vhost: String,
}

fn shown_binding(vhost: &Name, view: &BindingView) -> BindingOut {
    BindingOut {
        source: view.source.as_str().to_owned(),
        destination: view.destination.name().as_str().to_owned(),
        destination_type: destination_type(view),
        routing_key: json_table::text(&view.routing_key),
        arguments: json_table::shown(&view.arguments.0),
        vhost: vhost.as_str().to_owned(),
    }
}

fn destination_type(view: &BindingView) -> &'static str {
    match view.destination {
        BindingEnd::Exchange(_) => "exchange",
        BindingEnd::Queue(_) => "queue",
    }
}

/// Which bindings.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BindingsParameters {
    /// The virtual host; all that the user may see if not said.
    vhost: Option<String>,
    /// At most so many; 100 if not said.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// Go on behind this: `next` of the page before.
    after: Option<String>,
    /// Only those from this exchange.
    source: Option<String>,
    /// Only those to this queue or exchange.
    destination: Option<String>,
}

/// Lists bindings, those of queues to the default exchange included.
#[utoipa::path(
    get, path = "/v1/bindings", tag = "bindings",
    params(BindingsParameters),
    responses((status = 200, body = Page<BindingOut>))
)]
pub(super) async fn list_bindings(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(parameters): Parameters<BindingsParameters>,
) -> Result<Response, Problem> {
    let BindingsParameters { vhost, limit, after, source, destination } = parameters;
    let part = Part::of(&PageParameters { limit, after, ..PageParameters::default() })?;
    looking::at_many(&hall, user, move |looker| {
        let sights = asked(looker, vhost.as_ref())?;
        let listings: Vec<_> = sights.iter().map(|it| (it.vhost(), it.bindings())).collect();
        let is_wanted = |it: &BindingView| {
            let from = source.as_ref().is_none_or(|source| *it.source.as_str() == **source);
            let name = it.destination.name().as_str();
            from && destination.as_ref().is_none_or(|destination| *name == **destination)
        };
        let views = listings.iter().flat_map(|(vhost, all)| all.iter().map(|it| (*vhost, it)));
        part.answer(
            views.filter(|(_, it)| is_wanted(it)).collect(),
            |(_, it)| it.source.as_str(),
            |(vhost, it)| {
                let (source, destination) = (&it.source, it.destination.name());
                let (kind, key) =
                    (destination_type(it), properties_key(&it.routing_key, &it.arguments));
                format!("{vhost}\0{source}\0{destination}\0{kind}\0{key}")
            },
            |(vhost, it)| shown_binding(vhost, it),
        )
    })
    .await
}
