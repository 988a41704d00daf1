//! The sections of the file, object by object.

use broker::PasswordHash;
use broker::definitions::{
    BindingDefinition, Definitions, ExchangeDefinition, ParameterDefinition, PermissionDefinition,
    QueueDefinition, TopicPermissionDefinition, UserDefinition,
};
use broker::operation::Destination;
use broker::{Limited, OwnLimit, Permission, TopicPermission, VhostNotes};
use domain::binding::BindingArguments;
use domain::exchange::{ExchangeSettings, ExchangeType};
use domain::name::Name;
use domain::queue::QueueDeclaration;
use serde_json::Value;

use super::arguments;
use super::entry::{Entry, Fault, Problem};
use super::limits::{self, VHOST_LIMITS};

/// What a file may say beside its sections.
const REMARKS: [&str; 9] = [
    "rabbit_version",
    "rabbitmq_version",
    "rabbitmq_definition_format",
    "product_name",
    "product_version",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
    "metadata",
];

/// The sections.
const SECTIONS: [&str; 10] = [
    "vhosts",
    "users",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "exchanges",
    "queues",
    "bindings",
];

/// RabbitMQ keeps policies among the parameters, under this component.
pub(crate) const POLICY: &str = "policy";
pub(crate) const GLOBAL_PARAMETER: &str = "global_parameter";

/// The section that a kept parameter came from.
pub(super) fn place(component: &Name) -> &'static str {
    match component.as_str() {
        POLICY => "policies",
        GLOBAL_PARAMETER => "global_parameters",
        _other => "parameters",
    }
}

/// The hashing of users that don't say theirs.
const SHA256: &str = "rabbit_password_hashing_sha256";

/// Reads everything; all faults if there is any.
pub fn parse(json: &Value) -> Result<Definitions, Vec<Fault>> {
    let mut faults = Vec::new();
    let empty = serde_json::Map::new();
    let object = json.as_object().unwrap_or_else(|| {
        faults.push(Fault::of_file(Problem::MustBe("an object with sections like \"queues\"")));
        &empty
    });
    for key in object.keys() {
        if !SECTIONS.contains(&key.as_str()) && !REMARKS.contains(&key.as_str()) {
            tracing::warn!(
                section = key,
                "a section of the definitions is unknown and passed over"
            );
        }
    }
    let mut read = Sections { json: object, faults };
    let (parameters, limits): (Vec<_>, Vec<_>) =
        read.section("parameters", parameter).into_iter().unzip();
    let mut parameters: Vec<_> = parameters.into_iter().flatten().collect();
    let mut limits: Vec<_> = limits.into_iter().flatten().collect();
    parameters.extend(read.section("global_parameters", global_parameter));
    parameters.extend(read.section("policies", policy));
    let (users, own): (_, Vec<_>) = read.section("users", user).into_iter().unzip();
    limits.extend(own.into_iter().flatten());
    let noted = read.section("vhosts", vhost);
    let definitions = Definitions {
        vhosts: noted.iter().map(|(name, _)| name.clone()).collect(),
        vhost_notes: noted.into_iter().filter_map(|(name, notes)| Some((name, notes?))).collect(),
        users,
        permissions: read.section("permissions", permission),
        topic_permissions: read.section("topic_permissions", topic_permission),
        parameters,
        limits,
        exchanges: read.section("exchanges", exchange),
        queues: read.section("queues", queue),
        bindings: read.section("bindings", binding),
    };
    if read.faults.is_empty() { Ok(definitions) } else { Err(read.faults) }
}

struct Sections<'j> {
    json: &'j serde_json::Map<String, Value>,
    faults: Vec<Fault>,
}

impl Sections<'_> {
    fn section<T>(
        &mut self,
        section: &'static str,
        parse: impl Fn(&Entry<'_>) -> Result<T, Fault>,
    ) -> Vec<T> {
        let mut found = Vec::new();
        for entry in Entry::all(self.json, section, &mut self.faults) {
            match parse(&entry) {
                Ok(definition) => found.push(definition),
                Err(fault) => self.faults.push(fault),
            }
        }
        found
    }
}

/// Newer versions write what is noted of it under `metadata` too.
fn vhost(entry: &Entry<'_>) -> Result<(Name, Option<VhostNotes>), Fault> {
    let metadata = entry.get("metadata").and_then(Value::as_object);
    let metadata = metadata.map(|object| entry.inside(object));
    let said = |key: &str| entry.get(key).is_some_and(|value| !value.is_null());
    let from = match metadata {
        Some(metadata) if !said("description") && !said("tags") => metadata,
        Some(_) | None => *entry,
    };
    let description = match from.get("description") {
        None | Some(Value::Null) => "",
        Some(_) => from.text("description")?,
    };
    let notes = VhostNotes { description: description.into(), tags: tags(&from)?.into() };
    let any = notes != VhostNotes::default();
    Ok((entry.name("name")?, any.then_some(notes)))
}

fn user(entry: &Entry<'_>) -> Result<(UserDefinition, Vec<OwnLimit>), Fault> {
    if entry.get("password").is_some() {
        return Err(entry.fault("password", Problem::Password));
    }
    let hash = entry.text_or("password_hash", "")?;
    let algorithm = entry.text_or("hashing_algorithm", SHA256)?;
    let password = PasswordHash::import(hash, algorithm)
        .map_err(|error| entry.fault("password_hash", error.into()))?;
    let user = UserDefinition { name: entry.name("name")?, tags: tags(entry)?, password };
    let own = limits::of_entry(entry, "limits", &Limited::User(user.name.clone()))?;
    Ok((user, own))
}

/// An array, or one text with commas as older versions wrote it.
fn tags(entry: &Entry<'_>) -> Result<Vec<Box<str>>, Fault> {
    const KEY: &str = "tags";
    let wrong = || entry.fault(KEY, Problem::MustBe("an array of strings"));
    match entry.get(KEY) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => {
            let tags = text.split(',').map(str::trim).filter(|tag| !tag.is_empty());
            Ok(tags.map(Into::into).collect())
        }
        Some(Value::Array(tags)) => {
            tags.iter().map(|tag| tag.as_str().map(Into::into).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn permission(entry: &Entry<'_>) -> Result<PermissionDefinition, Fault> {
    Ok(PermissionDefinition {
        user: entry.name("user")?,
        vhost: entry.name("vhost")?,
        permission: Permission {
            configure: entry.text("configure")?.into(),
            write: entry.text("write")?.into(),
            read: entry.text("read")?.into(),
        },
    })
}

fn topic_permission(entry: &Entry<'_>) -> Result<TopicPermissionDefinition, Fault> {
    Ok(TopicPermissionDefinition {
        user: entry.name("user")?,
        vhost: entry.name("vhost")?,
        exchange: entry.name("exchange")?,
        permission: TopicPermission {
            write: entry.text("write")?.into(),
            read: entry.text("read")?.into(),
        },
    })
}

/// Limits of a virtual host stand here, too.
fn parameter(entry: &Entry<'_>) -> Result<(Option<ParameterDefinition>, Vec<OwnLimit>), Fault> {
    let component = entry.name("component")?;
    if component.as_str() == VHOST_LIMITS {
        let of = Limited::Vhost(entry.name("vhost")?);
        return Ok((None, limits::of_entry(entry, "value", &of)?));
    }
    let parameter = ParameterDefinition {
        component,
        vhost: entry.name("vhost")?,
        name: entry.name("name")?,
        value: entry.json("value")?,
    };
    Ok((Some(parameter), Vec::new()))
}

fn global_parameter(entry: &Entry<'_>) -> Result<ParameterDefinition, Fault> {
    Ok(ParameterDefinition {
        component: Name::from_static(GLOBAL_PARAMETER),
        vhost: Name::from_static(""),
        name: entry.name("name")?,
        value: entry.json("value")?,
    })
}

fn policy(entry: &Entry<'_>) -> Result<ParameterDefinition, Fault> {
    entry.text("pattern")?;
    Ok(ParameterDefinition {
        component: Name::from_static(POLICY),
        vhost: entry.name("vhost")?,
        name: entry.name("name")?,
        value: entry.rest(&["vhost", "name"]),
    })
}

fn exchange(entry: &Entry<'_>) -> Result<ExchangeDefinition, Fault> {
    let word = entry.text("type")?;
    let exchange_type = ExchangeType::parse(word)
        .ok_or_else(|| entry.fault("type", Problem::NoSuchExchangeType(word.to_owned())))?;
    Ok(ExchangeDefinition {
        vhost: entry.name("vhost")?,
        name: entry.name("name")?,
        settings: ExchangeSettings {
            exchange_type,
            durable: entry.flag("durable", None)?,
            auto_delete: entry.flag("auto_delete", Some(false))?,
            internal: entry.flag("internal", Some(false))?,
            arguments: arguments::table(entry)?,
        },
    })
}

fn queue(entry: &Entry<'_>) -> Result<QueueDefinition, Fault> {
    Ok(QueueDefinition {
        vhost: entry.name("vhost")?,
        name: entry.name("name")?,
        declaration: QueueDeclaration {
            durable: entry.flag("durable", None)?,
            exclusive: false,
            auto_delete: entry.flag("auto_delete", Some(false))?,
            arguments: arguments::table(entry)?,
        },
    })
}

fn binding(entry: &Entry<'_>) -> Result<BindingDefinition, Fault> {
    let destination = entry.name("destination")?;
    let destination = match entry.text("destination_type")? {
        "queue" => Destination::Queue(destination),
        "exchange" => Destination::Exchange(destination),
        _neither => {
            let expected = Problem::MustBe("\"queue\" or \"exchange\"");
            return Err(entry.fault("destination_type", expected));
        }
    };
    let key = entry.text("routing_key")?;
    if key.len() > u8::MAX.into() {
        return Err(entry.fault("routing_key", Problem::KeyTooLong));
    }
    Ok(BindingDefinition {
        vhost: entry.name("vhost")?,
        source: entry.name("source")?,
        destination,
        routing_key: key.as_bytes().into(),
        arguments: BindingArguments(arguments::table(entry)?),
    })
}
