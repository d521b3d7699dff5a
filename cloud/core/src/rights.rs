//! What a person may see: cameras.
//!
//! A camera outside a person's scope is answered as one that does not exist, in lists by its absence and alone by
//! "not found", so that its name can't be guessed at.

use std::collections::BTreeSet;

use aivms_contract::id::{CameraId, EdgeId};

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
