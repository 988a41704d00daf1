//! Definitions as RabbitMQ's format has them, with what is Postroom's own under further keys.

use broker::Limited;
use broker::definitions::{
    BindingDefinition, Definitions, ExchangeDefinition, ParameterDefinition, QueueDefinition,
};
use broker::operation::Destination;
use domain::name::Name;
use serde_json::{Map, Value as Json, json};

use super::limits::{self, LIMITS, VHOST_LIMITS};
use super::sections::{GLOBAL_PARAMETER, POLICY};
use crate::json_table;

/// Of what definitions are written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope<'a> {
    /// The whole node.
    Node,
    /// One virtual host: what is in it, which does not say so each time.
    Vhost(&'a Name),
}

/// The document.
pub(crate) fn written(definitions: &Definitions, scope: Scope<'_>) -> Json {
    let mut document = Map::new();
    document.insert("product_name".to_owned(), json!("Postroom"));
    document.insert("product_version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    match scope {
        Scope::Node => {
            document.insert("rabbitmq_definition_format".to_owned(), json!("cluster"));
            document.extend(node(definitions));
        }
        Scope::Vhost(name) => {
            document.insert("rabbitmq_definition_format".to_owned(), json!("single_virtual_host"));
            document.insert("original_vhost_name".to_owned(), json!(name.as_str()));
        }
    }
    let own = |vhost: &Name, mut entry: Map<String, Json>| {
        if matches!(scope, Scope::Node) {
            entry.insert("vhost".to_owned(), json!(vhost.as_str()));
        }
        Json::Object(entry)
    };
    let mut parameters = Vec::new();
    let mut policies = Vec::new();
    for found in &definitions.parameters {
        match found.component.as_str() {
            // Limits of a virtual host act, and are kept apart; older versions kept them here.
            GLOBAL_PARAMETER | VHOST_LIMITS => {}
            POLICY => policies.push(own(&found.vhost, policy(found))),
            _other => parameters.push(own(&found.vhost, parameter(found))),
        }
    }
    parameters.extend(vhost_limits(definitions).map(|(vhost, entry)| own(vhost, entry)));
    document.insert("parameters".to_owned(), Json::Array(parameters));
    document.insert("policies".to_owned(), Json::Array(policies));
    let exchanges = definitions.exchanges.iter().map(|it| own(&it.vhost, exchange(it)));
    document.insert("exchanges".to_owned(), exchanges.collect());
    let queues = definitions.queues.iter().map(|it| own(&it.vhost, queue(it)));
    document.insert("queues".to_owned(), queues.collect());
    let bindings = definitions.bindings.iter().map(|it| own(&it.vhost, binding(it)));
    document.insert("bindings".to_owned(), bindings.collect());
    Json::Object(document)
}

/// The limits of each virtual host that has some, as a parameter.
fn vhost_limits(definitions: &Definitions) -> impl Iterator<Item = (&Name, Map<String, Json>)> {
    let mut named = Vec::new();
    for limit in &definitions.limits {
        if let Limited::Vhost(name) = &limit.of {
            named.push(name);
        }
    }
    named.dedup();
    named.into_iter().map(|name| {
        let value = limits::shown(&definitions.limits, &Limited::Vhost(name.clone()));
        (name, object(json!({ "component": VHOST_LIMITS, "name": LIMITS, "value": value })))
    })
}

/// The sections that one virtual host has not.
fn node(definitions: &Definitions) -> Map<String, Json> {
    let mut sections = Map::new();
    let users = definitions.users.iter().map(|user| {
        let (hash, algorithm) = user.password.export();
        json!({
            "name": user.name.as_str(),
            "password_hash": hash,
            "hashing_algorithm": algorithm,
            "tags": user.tags,
            "limits": limits::shown(&definitions.limits, &Limited::User(user.name.clone())),
        })
    });
    sections.insert("users".to_owned(), users.collect());
    let vhosts = definitions.vhosts.iter().map(|name| {
        let notes = definitions.vhost_notes.get(name).cloned().unwrap_or_default();
        json!({
            "name": name.as_str(),
            "description": notes.description,
            "tags": notes.tags[..],
            "metadata": { "description": notes.description, "tags": notes.tags[..] },
        })
    });
    sections.insert("vhosts".to_owned(), vhosts.collect());
    let permissions = definitions.permissions.iter().map(|it| {
        let broker::Permission { configure, write, read } = &it.permission;
        json!({
            "user": it.user.as_str(), "vhost": it.vhost.as_str(),
            "configure": configure, "write": write, "read": read,
        })
    });
    sections.insert("permissions".to_owned(), permissions.collect());
    let topic_permissions = definitions.topic_permissions.iter().map(|it| {
        json!({
            "user": it.user.as_str(), "vhost": it.vhost.as_str(),
            "exchange": it.exchange.as_str(),
            "write": it.permission.write, "read": it.permission.read,
        })
    });
    sections.insert("topic_permissions".to_owned(), topic_permissions.collect());
    let globals = definitions.parameters.iter();
    let globals = globals.filter(|found| found.component.as_str() == GLOBAL_PARAMETER);
    let globals = globals.map(|found| json!({"name": found.name.as_str(), "value": value(found)}));
    sections.insert("global_parameters".to_owned(), globals.collect());
    sections
}

/// What was kept of a parameter is JSON.
pub(crate) fn value(parameter: &ParameterDefinition) -> Json {
    serde_json::from_str(&parameter.value).unwrap_or_default()
}

fn parameter(parameter: &ParameterDefinition) -> Map<String, Json> {
    object(json!({
        "component": parameter.component.as_str(),
        "name": parameter.name.as_str(),
        "value": value(parameter),
    }))
}

/// A policy is kept whole but for its name and place.
fn policy(parameter: &ParameterDefinition) -> Map<String, Json> {
    let mut policy = object(value(parameter));
    policy.insert("name".to_owned(), json!(parameter.name.as_str()));
    policy
}

fn exchange(exchange: &ExchangeDefinition) -> Map<String, Json> {
    let settings = &exchange.settings;
    object(json!({
        "name": exchange.name.as_str(),
        "type": settings.exchange_type.as_str(),
        "durable": settings.durable,
        "auto_delete": settings.auto_delete,
        "internal": settings.internal,
        "arguments": json_table::shown(&settings.arguments),
    }))
}

fn queue(queue: &QueueDefinition) -> Map<String, Json> {
    object(json!({
        "name": queue.name.as_str(),
        "durable": queue.declaration.durable,
        "auto_delete": queue.declaration.auto_delete,
        "arguments": json_table::shown(&queue.declaration.arguments),
    }))
}

fn binding(binding: &BindingDefinition) -> Map<String, Json> {
    let (destination_type, destination) = match &binding.destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    };
    object(json!({
        "source": binding.source.as_str(),
        "destination": destination.as_str(),
        "destination_type": destination_type,
        "routing_key": json_table::text(&binding.routing_key),
        "arguments": json_table::shown(&binding.arguments.0),
    }))
}

fn object(json: Json) -> Map<String, Json> {
    if let Json::Object(object) = json { object } else { Map::new() }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    /// The sections that Postroom writes are those that it reads, and say the same.
    #[test]
    fn what_is_written_is_read_again() {
        let text = r#"{
            "vhosts": [{"name": "/", "description": "d", "tags": ["t"]}, {"name": "v"}],
            "users": [{"name": "u", "password_hash": "", "tags": ["monitoring"],
                       "limits": {"max-connections": -1}}],
            "permissions": [{"user": "u", "vhost": "v", "configure": "", "write": "^w", "read": ".*"}],
            "topic_permissions":
                [{"user": "u", "vhost": "v", "exchange": "x", "write": "^w", "read": "r"}],
            "parameters":
                [{"component": "shovel", "vhost": "v", "name": "s", "value": {"src-uri": "amqp://"}},
                 {"component": "vhost-limits", "vhost": "v", "name": "limits",
                  "value": {"max-connections": 7, "max-queues": 0}}],
            "global_parameters": [{"name": "cluster_name", "value": "c"}],
            "policies": [{"vhost": "v", "name": "p", "pattern": "^q", "apply-to": "all",
                          "definition": {"max-length": 1}, "priority": 0}],
            "exchanges": [{"vhost": "v", "name": "x", "type": "topic", "durable": true,
                           "auto_delete": false, "internal": true,
                           "arguments": {"alternate-exchange": "y"}}],
            "queues": [{"vhost": "v", "name": "q", "durable": true, "auto_delete": false,
                        "arguments": {"x-max-length": 5, "x-queue-type": "quorum"}}],
            "bindings": [{"vhost": "v", "source": "x", "destination": "q",
                          "destination_type": "queue", "routing_key": "a.#",
                          "arguments": {"n": 1}}]
        }"#;
        let read = |json: &Json| parse(json).map_err(|faults| format!("{faults:?}")).unwrap();
        let first = read(&serde_json::from_str(text).unwrap());
        let document = written(&first, Scope::Node);
        let again = read(&document);
        assert_eq!(format!("{again:?}"), format!("{first:?}"));
        assert_eq!(written(&again, Scope::Node), document);

        let name = Name::new("v").unwrap();
        let one = written(&first, Scope::Vhost(&name));
        assert!(one["queues"][0].get("vhost").is_none() && one.get("users").is_none(), "{one}");
    }
}
