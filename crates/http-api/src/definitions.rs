//! Definitions in JSON, in the format that RabbitMQ exports: read, checked as a whole, and written.
//! Of a file at the start as well as of a request.

mod written;

mod sections;

mod arguments;
pub(crate) mod limits;

mod entry;

use broker::definitions::{Definitions, Misfit, Problem, Section};
use broker::explain;
use broker::operation::Verb;
use domain::name::Name;

pub use entry::Fault;
pub use sections::parse;
pub(crate) use sections::{GLOBAL_PARAMETER, POLICY};
pub(crate) use written::{Scope, value as parameter_value, written};

/// A misfit: where in the file, what, and why.
pub fn misfit_words(definitions: &Definitions, misfit: &Misfit) -> String {
    let Misfit { section, index, problem } = misfit;
    let what = definitions.describe(*section, *index);
    let vhost = |found: Option<&Name>| found.map_or_else(String::new, ToString::to_string);
    let (place, verb, vhost) = match section {
        Section::Vhosts => ("vhosts", Verb::OpenChannel, String::new()),
        Section::Users => ("users", Verb::OpenChannel, String::new()),
        Section::Permissions => ("permissions", Verb::OpenChannel, String::new()),
        Section::TopicPermissions => ("topic_permissions", Verb::OpenChannel, String::new()),
        Section::Parameters => {
            let found = definitions.parameters.get(*index);
            let place = found.map_or("parameters", |found| sections::place(&found.component));
            return format!("{place} ({what}): {problem}");
        }
        Section::Limits => ("parameters", Verb::OpenChannel, String::new()),
        Section::Exchanges => {
            let found = definitions.exchanges.get(*index).map(|found| &found.vhost);
            ("exchanges", Verb::DeclareExchange, vhost(found))
        }
        Section::Queues => {
            let found = definitions.queues.get(*index).map(|found| &found.vhost);
            ("queues", Verb::DeclareQueue, vhost(found))
        }
        Section::Bindings => {
            let found = definitions.bindings.get(*index).map(|found| &found.vhost);
            ("bindings", Verb::BindQueue, vhost(found))
        }
    };
    let problem = match problem {
        Problem::Refused(refusal) => explain(refusal, verb, &vhost).1,
        Problem::NoName | Problem::NoVhost(_) | Problem::NoUser(_) | Problem::Pattern(_) => {
            problem.to_string()
        }
    };
    format!("{place}[{index}] ({what}): {problem}")
}
