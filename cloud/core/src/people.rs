//! Identifiers of people and of what lets them in, one type per kind.

use std::fmt;
use std::str::FromStr;

use aivms_contract::id::{IdError, check_segment};
use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident: $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Makes one of random characters; `[a-z0-9]` are allowed in them.
            ///
            /// # Errors
            /// The characters are too many or others.
            pub fn of(random: &str) -> Result<Self, IdError> {
                format!("{}{random}", $prefix).parse()
            }

            /// The identifier as it stands in paths and JSON.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check_segment(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// One user of a tenant.
    UserId: "user_";
    /// One invitation.
    InvitationId: "invitation_";
    /// One sign-in and everything that followed from it.
    SessionId: "session_";
    /// One API key; not the key itself.
    ApiKeyId: "key_";
    /// One export of everything of a tenant.
    TenantExportId: "export_";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_of_what_it_is_and_reads_back() {
        let id = UserId::of("01kb3x0v7t").unwrap();
        assert_eq!((id.as_str(), id.to_string().parse()), ("user_01kb3x0v7t", Ok(id.clone())));
        assert!(ApiKeyId::of("A").is_err() && "".parse::<SessionId>().is_err());
    }
}
