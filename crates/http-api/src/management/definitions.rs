//! Definitions: `/api/definitions`, of the whole node or of one virtual host. With `dry_run=true` an
//! import only says what it would do.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use broker::ImportError;
use broker::definitions::{Definitions, Effect, Plan};
use domain::name::Name;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::body;
use crate::definitions::{self, Scope};
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query::{Parameters, Places};
use crate::refusals;
use crate::routes::{Need, Routes};
use crate::tenancy::vhosts;
use crate::waited::waited;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/definitions", Need::Administrator, export)
        .post("/api/definitions", Need::Administrator, import)
        .get("/api/definitions/{vhost}", Need::Administrator, export_vhost)
        .post("/api/definitions/{vhost}", Need::Administrator, import_vhost)
}

async fn export(State(hall): State<Hall>) -> Result<Response, Problem> {
    let document = waited(&hall, |broker| definitions::written(&broker.export(None), Scope::Node));
    Ok(axum::Json(document.await?).into_response())
}

async fn export_vhost(
    State(hall): State<Hall>,
    Places(vhost): Places<String>,
) -> Result<Response, Problem> {
    let name = vhosts::known(hall.broker(), &vhost)?.name;
    let document = waited(&hall, move |broker| {
        definitions::written(&broker.export(Some(&name)), Scope::Vhost(&name))
    });
    Ok(axum::Json(document.await?).into_response())
}

/// How an import is done.
#[derive(Debug, Deserialize)]
struct Mode {
    /// It only says what it would do.
    #[serde(default)]
    dry_run: bool,
}

async fn import(
    State(hall): State<Hall>,
    Parameters(mode): Parameters<Mode>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let whole = body::read(&hall, &headers, body).await?;
    let json: Json = body::parse(&whole.bytes)?;
    bring(&hall, &mode, &json).await
}

async fn import_vhost(
    State(hall): State<Hall>,
    Places(vhost): Places<String>,
    Parameters(mode): Parameters<Mode>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = vhosts::known(hall.broker(), &vhost)?.name;
    let whole = body::read(&hall, &headers, body).await?;
    let mut json: Json = body::parse(&whole.bytes)?;
    place(&mut json, &name);
    bring(&hall, &mode, &json).await
}

/// What a virtual host's definitions have, they have for that virtual host; the node's own are left
/// out.
fn place(json: &mut Json, vhost: &Name) {
    let Some(sections) = json.as_object_mut() else { return };
    sections.retain(|section, _| {
        ["exchanges", "queues", "bindings", "policies", "parameters"].contains(&section.as_str())
    });
    let entries = sections.values_mut().filter_map(Json::as_array_mut).flatten();
    for entry in entries.filter_map(Json::as_object_mut) {
        entry.insert("vhost".to_owned(), json!(vhost.as_str()));
    }
}

async fn bring(hall: &Hall, mode: &Mode, json: &Json) -> Result<Response, Problem> {
    let definitions = definitions::parse(json).map_err(|faults| {
        let faults = faults.iter().map(ToString::to_string).collect();
        faulty(faults)
    })?;
    let dry_run = mode.dry_run;
    let done = waited(hall, move |broker| {
        let plan =
            if dry_run { broker.plan_import(&definitions) } else { broker.import(&definitions) };
        plan.map(|plan| told(&definitions, &plan)).map_err(|error| refused(&definitions, error))
    });
    let told = done.await??;
    if dry_run {
        return Ok(axum::Json(told).into_response());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What would be done, definition by definition.
fn told(definitions: &Definitions, plan: &Plan) -> Json {
    let effects = plan.effects.iter().filter_map(|(section, index, effect)| {
        let effect = match effect {
            Effect::Made => "make",
            Effect::Changed => "change",
            Effect::Differs => "leave",
            Effect::Nothing => return None,
        };
        let what = definitions.describe(*section, *index).to_string();
        Some(json!({ "effect": effect, "what": what }))
    });
    json!({
        "make": plan.count(Effect::Made),
        "change": plan.count(Effect::Changed),
        "leave": plan.count(Effect::Differs),
        "there_already": plan.count(Effect::Nothing),
        "effects": effects.collect::<Json>(),
    })
}

/// Faults told at once; the rest is counted.
const FAULTS_TOLD_MAX: usize = 20;

fn faulty(faults: Vec<String>) -> Problem {
    let more = faults.len().saturating_sub(FAULTS_TOLD_MAX);
    let mut told = faults.into_iter().take(FAULTS_TOLD_MAX).collect::<Vec<_>>().join("; ");
    if more > 0 {
        told = format!("{told}; and {more} more");
    }
    Problem::bad_request(format!("nothing was imported: {told}"))
}

fn refused(definitions: &Definitions, error: ImportError) -> Problem {
    match error {
        ImportError::Misfits(misfits) => {
            let words = |misfit| definitions::misfit_words(definitions, misfit);
            faulty(misfits.iter().map(words).collect())
        }
        ImportError::Unwritten(unwritten) => refusals::unwritten(&unwritten),
        error @ ImportError::Vhost(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
        }
    }
}
