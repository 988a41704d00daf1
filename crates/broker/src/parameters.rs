//! Policies and parameters: kept for those who read them, and without effect so far.

use domain::name::Name;

use crate::accounts::Put;
use crate::broker::Broker;
use crate::catalogue::Unwritten;
use crate::definitions::ParameterDefinition;
use crate::register::Change;

/// Why a parameter is not kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PutParameterError {
    /// There is no such virtual host.
    #[error("there is no vhost '{0}'")]
    NoSuchVhost(Name),
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    Unwritten(#[from] Unwritten),
}

/// Why a parameter is not cleared.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClearParameterError {
    /// There is none of that name.
    #[error("there is no such parameter")]
    NoSuchParameter,
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    Unwritten(#[from] Unwritten),
}

impl Broker {
    /// All of them, by component, virtual host and name.
    pub fn parameters(&self) -> Vec<ParameterDefinition> {
        let register = self.catalogue.read();
        let kept = register.parameters.iter().map(|((component, vhost, name), value)| {
            let (component, vhost, name) = (component.clone(), vhost.clone(), name.clone());
            ParameterDefinition { component, vhost, name, value: value.clone() }
        });
        kept.collect()
    }

    /// Keeps one, in place of what had its name. Waits for the disk.
    pub fn put_parameter(&self, parameter: &ParameterDefinition) -> Result<Put, PutParameterError> {
        let ParameterDefinition { component, vhost, name, value } = parameter;
        let key = (component.clone(), vhost.clone(), name.clone());
        let mut put = Put::Made;
        self.catalogue.decide(|register| {
            if !vhost.is_empty() && !register.vhosts.contains(vhost) {
                return Err(PutParameterError::NoSuchVhost(vhost.clone()));
            }
            if register.parameters.contains_key(&key) {
                put = Put::Changed;
            }
            Ok(vec![Change::Parameter(key.clone(), value.clone())])
        })?;
        Ok(put)
    }

    /// Forgets one. Waits for the disk.
    pub fn clear_parameter(
        &self,
        component: &Name,
        vhost: &Name,
        name: &Name,
    ) -> Result<(), ClearParameterError> {
        let key = (component.clone(), vhost.clone(), name.clone());
        self.catalogue.decide(|register| match register.parameters.get(&key) {
            Some(_) => Ok(vec![Change::ParameterCleared(key.clone())]),
            None => Err(ClearParameterError::NoSuchParameter),
        })
    }
}
