//! What the cloud writes to people about their accounts: subject and text.

use url_text::joined;

/// Subject and text of a mail.
pub type Letter = (String, String);

/// Invites somebody into `tenant_name`; `inviter` is a name. `base` is where people reach the cloud.
#[must_use]
pub fn invitation(tenant_name: &str, inviter: &str, base: Option<&str>, token: &str, days: u64) -> Letter {
    let subject = format!("{inviter} invites you to {tenant_name} on AIVMS");
    let how = joined(base, "join", token, "POST /api/auth/invitations/accept");
    let text = format!(
        "Hello,\n\n{inviter} invites you to {tenant_name} on AIVMS, its video management system.\n\n{how}\n\n\
         The invitation is good for {days} days and for one person. If you do not know what this is about, ignore it.\n"
    );
    (subject, text)
}

/// Lets somebody set a new password.
#[must_use]
pub fn password_reset(base: Option<&str>, token: &str, minutes: u64) -> Letter {
    let how = joined(base, "reset-password", token, "POST /api/auth/password/reset");
    let text = format!(
        "Hello,\n\nsomebody, probably you, wants to set a new password for this address on AIVMS.\n\n{how}\n\n\
         This is good for {minutes} minutes and once. If it was not you, ignore this mail: your password stays as it \
         is.\n"
    );
    ("Set a new password for AIVMS".to_owned(), text)
}

mod url_text {
    /// Where to go with a token. It stands behind `#`, which browsers send to nobody and servers never log.
    pub(super) fn joined(base: Option<&str>, page: &str, token: &str, operation: &str) -> String {
        match base {
            Some(base) => format!("Open this page:\n{}/{page}#token={token}", base.trim_end_matches('/')),
            None => format!("Your token, for {operation}:\n{token}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_brings_the_token_with_or_without_a_page_for_it() {
        let (subject, text) = invitation("Acme", "Jane", Some("https://cloud.example/"), "t0ken", 7);
        assert_eq!(subject, "Jane invites you to Acme on AIVMS");
        assert!(text.contains("https://cloud.example/join#token=t0ken\n") && text.contains("7 days"), "{text}");
        let (_, text) = password_reset(None, "t0ken", 60);
        assert!(text.contains("POST /api/auth/password/reset:\nt0ken\n"), "{text}");
    }
}
