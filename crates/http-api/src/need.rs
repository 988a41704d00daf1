//! Who may make a request.

/// Who may make a request. What the request touches is then a matter of the user's permissions, as
/// with any other protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Anybody, without a name.
    Nothing,
    /// Every user that is known.
    Login,
    /// Users with one of the tags `management`, `policymaker`, `monitoring`, `administrator`.
    Management,
    /// Users with one of the tags `policymaker`, `administrator`.
    Policymaker,
    /// Users with one of the tags `monitoring`, `administrator`.
    Monitoring,
    /// Users with the tag `administrator`.
    Administrator,
}

impl Need {
    /// Tags one of which the user must have; empty: none is needed.
    pub fn tags(self) -> &'static [&'static str] {
        match self {
            Need::Nothing | Need::Login => &[],
            Need::Management => &["management", "policymaker", "monitoring", "administrator"],
            Need::Policymaker => &["policymaker", "administrator"],
            Need::Monitoring => &["monitoring", "administrator"],
            Need::Administrator => &["administrator"],
        }
    }
}
