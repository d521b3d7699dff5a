//! What people may do and see: roles, who may change whom, and the cameras of each.
//!
//! A camera outside a person's scope is answered as one that does not exist, in lists by its absence and alone by
//! "not found", so that its name can't be guessed at.

use std::collections::BTreeSet;
use std::str::FromStr;

use aivms_contract::id::{CameraId, EdgeId};

/// What a user may do; each role includes those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserRole {
    /// Look.
    Viewer,
    /// Acknowledge, command, export.
    Operator,
    /// Users, edges, rules.
    Admin,
    /// Everything, including the tenant itself.
    Owner,
}

/// Says that a text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be owner, admin, operator or viewer, is {0:?}")]
pub struct RoleError(String);

/// Says why somebody may not change a user, or make one so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RightsError {
    /// Only owners and admins manage people.
    #[error("your role does not manage people")]
    NotYours,
    /// The user's role is above the one who wants to change it.
    #[error("the user's role is above yours")]
    AboveYou,
    /// The role to be given is above the one who gives it.
    #[error("you can't give a role above your own")]
    RoleAboveYours,
    /// Owners and admins see all cameras: they could give themselves any.
    #[error("only operators and viewers can be limited to some cameras")]
    UnlimitedRole,
    /// Nobody could manage the tenant any more.
    #[error("the tenant's last owner must stay one: make somebody else an owner first")]
    LastOwner,
}

impl UserRole {
    /// All roles, the highest first.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Operator, Self::Viewer];

    /// The name in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    /// Whether this role may do what `least` may.
    #[must_use]
    pub fn includes(self, least: Self) -> bool {
        self >= least
    }

    /// The role that counts beside `cameras`: who is limited to some is an operator at most, as owners and admins see
    /// all cameras.
    #[must_use]
    pub fn beside(self, cameras: &CameraScope) -> Self {
        if *cameras == CameraScope::All { self } else { self.min(Self::Operator) }
    }
}

impl FromStr for UserRole {
    type Err = RoleError;
    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| RoleError(text.to_owned()))
    }
}

/// Whether `actor` may make or invite a user, or make an API key, with `role` and `cameras`.
///
/// # Errors
/// Says which rule is in the way.
pub fn may_make(actor: UserRole, role: UserRole, cameras: &CameraScope) -> Result<(), RightsError> {
    if !actor.includes(UserRole::Admin) {
        return Err(RightsError::NotYours);
    }
    if role > actor {
        return Err(RightsError::RoleAboveYours);
    }
    if role.includes(UserRole::Admin) && *cameras != CameraScope::All {
        return Err(RightsError::UnlimitedRole);
    }
    Ok(())
}

/// Whether `actor` may change or remove a user who has the role `is`; `other_owners` counts the tenant's owners who
/// can sign in, without that user. `becomes` is the user's new role, `None` for one who is removed or disabled.
///
/// # Errors
/// Says which rule is in the way.
pub fn may_change(
    actor: UserRole,
    is: UserRole,
    becomes: Option<UserRole>,
    other_owners: u64,
) -> Result<(), RightsError> {
    if !actor.includes(UserRole::Admin) {
        return Err(RightsError::NotYours);
    }
    if is > actor {
        return Err(RightsError::AboveYou);
    }
    if becomes.is_some_and(|role| role > actor) {
        return Err(RightsError::RoleAboveYours);
    }
    let stays_owner = becomes == Some(UserRole::Owner);
    if is == UserRole::Owner && !stays_owner && other_owners == 0 {
        return Err(RightsError::LastOwner);
    }
    Ok(())
}

/// The cameras a person may see. What belongs to no camera (an edge's name, its health) is not ruled by it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CameraScope {
    /// Every camera of the tenant, also those to come.
    #[default]
    All,
    /// These and no others. A camera's id is unique on its edge only, so it is named with the edge.
    Only(BTreeSet<(EdgeId, CameraId)>),
}

impl CameraScope {
    /// Whether `camera` of `edge` may be seen.
    #[must_use]
    pub fn sees(&self, edge: &EdgeId, camera: &CameraId) -> bool {
        match self {
            Self::All => true,
            // Without clones of the ids, which a look-up of the pair would need: scopes are short.
            Self::Only(cameras) => cameras.iter().any(|(e, c)| c == camera && e == edge),
        }
    }

    /// Whether what is about `camera` of `edge` may be seen; what is about no camera may be, when anything is.
    #[must_use]
    pub fn sees_maybe(&self, edge: &EdgeId, camera: Option<&CameraId>) -> bool {
        camera.is_none_or(|camera| self.sees(edge, camera))
    }

    /// Whether a camera called `camera` may be seen: on `edge`, or on any where that is absent.
    #[must_use]
    pub fn sees_named(&self, edge: Option<&EdgeId>, camera: &CameraId) -> bool {
        match self {
            Self::All => true,
            Self::Only(cameras) => cameras.iter().any(|(e, c)| c == camera && edge.is_none_or(|edge| edge == e)),
        }
    }

    /// What both scopes let see: an API key never sees more than the person it acts for.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, scope) | (scope, Self::All) => scope,
            (Self::Only(mine), Self::Only(theirs)) => Self::Only(mine.intersection(&theirs).cloned().collect()),
        }
    }

    /// Whether everything that `other` sees is seen here too: who grants rights can't grant more than their own.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(mine), Self::Only(theirs)) => theirs.is_subset(mine),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(edge: &str, camera: &str) -> (EdgeId, CameraId) {
        (edge.parse().unwrap(), camera.parse().unwrap())
    }

    fn only(pairs: &[(&str, &str)]) -> CameraScope {
        CameraScope::Only(pairs.iter().map(|(edge, camera)| pair(edge, camera)).collect())
    }

    #[test]
    fn a_camera_of_the_same_name_on_another_edge_is_not_seen() {
        let scope = only(&[("edge_a", "door"), ("edge_b", "yard")]);
        for (edge, camera, seen) in
            [("edge_a", "door", true), ("edge_b", "yard", true), ("edge_b", "door", false), ("edge_a", "yard", false)]
        {
            let (edge, camera) = pair(edge, camera);
            assert_eq!(scope.sees(&edge, &camera), seen, "{edge} {camera}");
            assert!(CameraScope::All.sees(&edge, &camera));
            assert!(!only(&[]).sees(&edge, &camera));
        }
        assert!(only(&[]).sees_maybe(&"edge_a".parse().unwrap(), None));
        let (edge_b, door) = pair("edge_b", "door");
        assert!(scope.sees_named(None, &door) && !scope.sees_named(Some(&edge_b), &door));
    }

    #[test]
    fn nobody_gives_or_takes_what_is_above_them_and_only_owners_and_admins_manage_people() {
        for actor in UserRole::ALL {
            for is in UserRole::ALL {
                for becomes in [None, Some(UserRole::Owner), Some(UserRole::Admin), Some(UserRole::Viewer)] {
                    let allowed = may_change(actor, is, becomes, 1).is_ok();
                    let expected = actor.includes(UserRole::Admin)
                        && actor.includes(is)
                        && becomes.is_none_or(|role| actor.includes(role));
                    assert_eq!(allowed, expected, "{actor:?} makes {is:?} {becomes:?}");
                }
                let made = may_make(actor, is, &CameraScope::All).is_ok();
                assert_eq!(made, actor.includes(UserRole::Admin) && actor.includes(is), "{actor:?} invites {is:?}");
            }
        }
        let own = may_change(UserRole::Admin, UserRole::Admin, Some(UserRole::Owner), 1);
        assert_eq!(own, Err(RightsError::RoleAboveYours), "an admin never raises itself");
    }

    #[test]
    fn the_last_owner_stays_one() {
        for becomes in [None, Some(UserRole::Admin), Some(UserRole::Viewer)] {
            let change = |others| may_change(UserRole::Owner, UserRole::Owner, becomes, others);
            assert_eq!(change(0), Err(RightsError::LastOwner), "{becomes:?}");
            assert_eq!(change(1), Ok(()), "{becomes:?}");
        }
        assert_eq!(may_change(UserRole::Owner, UserRole::Owner, Some(UserRole::Owner), 0), Ok(()));
    }

    #[test]
    fn only_roles_that_can_not_change_their_own_rights_are_limited_to_cameras() {
        let some = only(&[("edge_a", "door")]);
        for role in UserRole::ALL {
            let limited = may_make(UserRole::Owner, role, &some);
            let unlimited = role.includes(UserRole::Admin);
            assert_eq!(limited.err(), unlimited.then_some(RightsError::UnlimitedRole), "{role:?}");
            assert!(may_make(UserRole::Owner, role.beside(&some), &some).is_ok(), "{role:?}");
            assert_eq!(role.beside(&CameraScope::All), role);
        }
    }

    fn scope() -> impl Strategy<Value = CameraScope> {
        let pairs = proptest::collection::btree_set(("edge_[ab]", "[xyz]"), 0..6);
        prop_oneof![
            Just(CameraScope::All),
            pairs.prop_map(|pairs| CameraScope::Only(pairs.iter().map(|(e, c)| pair(e, c)).collect())),
        ]
    }

    proptest! {
        #[test]
        fn two_scopes_together_see_what_each_sees(a in scope(), b in scope(), edge in "edge_[ab]", camera in "[xyz]") {
            let (edge, camera) = pair(&edge, &camera);
            let both = a.clone().both(b.clone());
            prop_assert_eq!(both.sees(&edge, &camera), a.sees(&edge, &camera) && b.sees(&edge, &camera));
            prop_assert!(a.includes(&both) && b.includes(&both));
        }
    }
}
