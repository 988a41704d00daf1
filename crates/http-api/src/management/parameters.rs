//! Policies and parameters: `/api/policies`, `/api/parameters`, `/api/global-parameters`, limits.
//! What an import brought is kept and shown; what could not act is not taken.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use broker::definitions::ParameterDefinition;
use broker::{Broker, ClearParameterError, PutParameterError};
use domain::name::Name;
use serde_json::{Map, Value as Json, json};

use super::fields::Fields;
use crate::definitions::{GLOBAL_PARAMETER, POLICY, parameter_value};
use crate::gate::Guest;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query::{self, Places};
use crate::refusals;
use crate::routes::{Need, Routes};
use crate::tenancy::{put_status, vhosts};
use crate::waited::waited;

pub(super) fn routes(routes: Routes) -> Routes {
    let routes = routes
        .get("/api/parameters", Need::Policymaker, list)
        .get("/api/parameters/{component}", Need::Policymaker, of_component)
        .get("/api/parameters/{component}/{vhost}", Need::Policymaker, of_vhost)
        .get("/api/parameters/{component}/{vhost}/{name}", Need::Policymaker, one)
        .put("/api/parameters/{component}/{vhost}/{name}", Need::Policymaker, put)
        .delete("/api/parameters/{component}/{vhost}/{name}", Need::Policymaker, delete)
        .get("/api/global-parameters", Need::Policymaker, list_global)
        .get("/api/global-parameters/{name}", Need::Policymaker, one_global)
        .put("/api/global-parameters/{name}", Need::Policymaker, put_global)
        .delete("/api/global-parameters/{name}", Need::Policymaker, delete_global)
        .get("/api/cluster-name", Need::Management, cluster_name)
        .put("/api/cluster-name", Need::Administrator, put_cluster_name);
    routes
        .get("/api/policies", Need::Management, policies)
        .get("/api/policies/{vhost}", Need::Management, policies_of_vhost)
        .get("/api/policies/{vhost}/{name}", Need::Management, policy)
        .put("/api/policies/{vhost}/{name}", Need::Policymaker, put_policy)
        .delete("/api/policies/{vhost}/{name}", Need::Policymaker, delete_policy)
        .get("/api/operator-policies", Need::Management, nothing)
        .get("/api/operator-policies/{vhost}", Need::Management, nothing)
        .put("/api/operator-policies/{vhost}/{name}", Need::Administrator, put_policy)
}

fn is_parameter(found: &ParameterDefinition) -> bool {
    !matches!(found.component.as_str(), POLICY | GLOBAL_PARAMETER)
}

fn shown(found: &ParameterDefinition) -> Json {
    json!({
        "vhost": found.vhost.as_str(),
        "component": found.component.as_str(),
        "name": found.name.as_str(),
        "value": parameter_value(found),
    })
}

fn shown_global(found: &ParameterDefinition) -> Json {
    json!({ "name": found.name.as_str(), "value": parameter_value(found) })
}

fn shown_policy(found: &ParameterDefinition) -> Json {
    let mut policy = match parameter_value(found) {
        Json::Object(policy) => policy,
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            Map::new()
        }
    };
    policy.insert("vhost".to_owned(), json!(found.vhost.as_str()));
    policy.insert("name".to_owned(), json!(found.name.as_str()));
    Json::Object(policy)
}

fn those(
    hall: &Hall,
    wanted: impl Fn(&ParameterDefinition) -> bool,
    show: impl Fn(&ParameterDefinition) -> Json,
) -> Vec<Json> {
    hall.broker().parameters().iter().filter(|it| wanted(it)).map(show).collect()
}

fn missing() -> Problem {
    Problem::not_found("there is none of that name")
}

fn sees(hall: &Hall, guest: &Guest, vhost: &Name) -> bool {
    super::vhosts::is_visible(hall.broker(), &guest.0, vhost)
}

async fn list(State(hall): State<Hall>, guest: Guest) -> Response {
    let wanted = |it: &ParameterDefinition| is_parameter(it) && sees(&hall, &guest, &it.vhost);
    axum::Json(those(&hall, wanted, shown)).into_response()
}

async fn of_component(
    State(hall): State<Hall>,
    guest: Guest,
    Places(component): Places<String>,
) -> Response {
    let wanted = |it: &ParameterDefinition| {
        is_parameter(it) && *it.component.as_str() == *component && sees(&hall, &guest, &it.vhost)
    };
    axum::Json(those(&hall, wanted, shown)).into_response()
}

async fn of_vhost(
    State(hall): State<Hall>,
    guest: Guest,
    Places((component, vhost)): Places<(String, String)>,
) -> Result<Response, Problem> {
    let vhost = vhosts::known(hall.broker(), &vhost)?.name;
    let wanted = |it: &ParameterDefinition| {
        is_parameter(it)
            && *it.component.as_str() == *component
            && it.vhost == vhost
            && sees(&hall, &guest, &vhost)
    };
    Ok(axum::Json(those(&hall, wanted, shown)).into_response())
}

async fn one(
    State(hall): State<Hall>,
    guest: Guest,
    Places((component, vhost, name)): Places<(String, String, String)>,
) -> Result<Response, Problem> {
    let wanted = |it: &ParameterDefinition| {
        is_parameter(it)
            && *it.component.as_str() == *component
            && *it.vhost.as_str() == *vhost
            && *it.name.as_str() == *name
            && sees(&hall, &guest, &it.vhost)
    };
    let found = those(&hall, wanted, shown).pop();
    Ok(axum::Json(found.ok_or_else(missing)?).into_response())
}

/// Components are parts of a broker that read their parameters; no part of this one does.
async fn put(Places((component, _, _)): Places<(String, String, String)>) -> Problem {
    let detail = format!("component {component} not found: no part of this broker reads it");
    Problem::bad_request(detail)
}

async fn clear(
    hall: &Hall,
    component: &str,
    vhost: &str,
    name: &str,
) -> Result<StatusCode, Problem> {
    let component = query::name(component, "component")?;
    let (vhost, name) = (query::name(vhost, "vhost")?, query::name(name, "name")?);
    let clear = move |broker: &Broker| broker.clear_parameter(&component, &vhost, &name);
    match waited(hall, clear).await? {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(ClearParameterError::NoSuchParameter) => Err(missing()),
        Err(ClearParameterError::Unwritten(unwritten)) => Err(refusals::unwritten(&unwritten)),
    }
}

fn check_entry(hall: &Hall, guest: &Guest, vhost: &str) -> Result<(), Problem> {
    let vhost = vhosts::known(hall.broker(), vhost)?.name;
    if hall.broker().may_enter(&guest.0, &vhost) {
        return Ok(());
    }
    Err(Problem::forbidden(format!("the user has no permission on vhost '{vhost}'")))
}

async fn delete(
    State(hall): State<Hall>,
    guest: Guest,
    Places((component, vhost, name)): Places<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    check_entry(&hall, &guest, &vhost)?;
    if matches!(component.as_str(), POLICY | GLOBAL_PARAMETER) {
        return Err(missing());
    }
    clear(&hall, &component, &vhost, &name).await
}

fn is_global(found: &ParameterDefinition) -> bool {
    found.component.as_str() == GLOBAL_PARAMETER
}

async fn list_global(State(hall): State<Hall>) -> Response {
    axum::Json(those(&hall, is_global, shown_global)).into_response()
}

async fn one_global(
    State(hall): State<Hall>,
    Places(name): Places<String>,
) -> Result<Response, Problem> {
    let wanted = |it: &ParameterDefinition| is_global(it) && *it.name.as_str() == *name;
    let found = those(&hall, wanted, shown_global).pop();
    Ok(axum::Json(found.ok_or_else(missing)?).into_response())
}

async fn keep_global(hall: &Hall, name: &str, value: &Json) -> Result<StatusCode, Problem> {
    let parameter = ParameterDefinition {
        component: Name::from_static(GLOBAL_PARAMETER),
        vhost: Name::from_static(""),
        name: query::name(name, "name")?,
        value: value.to_string().into(),
    };
    let put = waited(hall, move |broker| broker.put_parameter(&parameter)).await?;
    put.map(put_status).map_err(|error| match error {
        PutParameterError::NoSuchVhost(_) => Problem::not_found(error.to_string()),
        PutParameterError::Unwritten(unwritten) => refusals::unwritten(&unwritten),
    })
}

async fn put_global(
    State(hall): State<Hall>,
    Places(name): Places<String>,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    fields.need(&["value"])?;
    let value = fields.0.get("value").unwrap_or(&Json::Null);
    keep_global(&hall, &name, value).await
}

async fn delete_global(
    State(hall): State<Hall>,
    Places(name): Places<String>,
) -> Result<StatusCode, Problem> {
    clear(&hall, GLOBAL_PARAMETER, "", &name).await
}

/// RabbitMQ keeps it among the global parameters, too.
const CLUSTER_NAME: &str = "cluster_name";

/// What the cluster is called.
pub(super) fn cluster_name_of(hall: &Hall) -> Json {
    let wanted = |it: &ParameterDefinition| is_global(it) && it.name.as_str() == CLUSTER_NAME;
    those(hall, wanted, parameter_value).pop().unwrap_or_else(|| json!("postroom"))
}

async fn cluster_name(State(hall): State<Hall>) -> Response {
    axum::Json(json!({ "name": cluster_name_of(&hall) })).into_response()
}

async fn put_cluster_name(State(hall): State<Hall>, fields: Fields) -> Result<StatusCode, Problem> {
    let name = json!(fields.needed_text("name")?);
    keep_global(&hall, CLUSTER_NAME, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn is_policy(found: &ParameterDefinition) -> bool {
    found.component.as_str() == POLICY
}

async fn policies(State(hall): State<Hall>, guest: Guest) -> Response {
    let wanted = |it: &ParameterDefinition| is_policy(it) && sees(&hall, &guest, &it.vhost);
    axum::Json(those(&hall, wanted, shown_policy)).into_response()
}

async fn policies_of_vhost(
    State(hall): State<Hall>,
    guest: Guest,
    Places(vhost): Places<String>,
) -> Result<Response, Problem> {
    let vhost = vhosts::known(hall.broker(), &vhost)?.name;
    let wanted = |it: &ParameterDefinition| {
        is_policy(it) && it.vhost == vhost && sees(&hall, &guest, &vhost)
    };
    Ok(axum::Json(those(&hall, wanted, shown_policy)).into_response())
}

async fn policy(
    State(hall): State<Hall>,
    guest: Guest,
    Places((vhost, name)): Places<(String, String)>,
) -> Result<Response, Problem> {
    let wanted = |it: &ParameterDefinition| {
        is_policy(it)
            && *it.vhost.as_str() == *vhost
            && *it.name.as_str() == *name
            && sees(&hall, &guest, &it.vhost)
    };
    let found = those(&hall, wanted, shown_policy).pop();
    Ok(axum::Json(found.ok_or_else(missing)?).into_response())
}

async fn put_policy() -> Problem {
    let problem = Problem::bad_request("policies do not act yet, so none is taken");
    problem.remedy("give queues their settings as arguments when they are declared")
}

async fn delete_policy(
    State(hall): State<Hall>,
    guest: Guest,
    Places((vhost, name)): Places<(String, String)>,
) -> Result<StatusCode, Problem> {
    check_entry(&hall, &guest, &vhost)?;
    clear(&hall, POLICY, &vhost, &name).await
}

async fn nothing() -> Response {
    axum::Json(json!([])).into_response()
}
