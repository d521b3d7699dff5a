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

/// Tells an owner that everything of the tenant is going to be deleted, so that it can be called off.
#[must_use]
pub fn deletion_asked(tenant_name: &str, asked_by: &str, due_at: &str) -> Letter {
    let text = format!(
        "Hello,\n\n{asked_by} asked for {tenant_name} to be deleted on AIVMS, with everything in it: edges, cameras, \
         events, alerts, clips, people and the audit log.\n\nIt begins at {due_at}. Until then every owner can call it \
         off: DELETE /api/tenant/deletion. After that there is no way back.\n\nTo keep a copy, make an export before: \
         POST /api/tenant/exports. If you do not know what this is about, call it off and change your password.\n"
    );
    (format!("{tenant_name} is going to be deleted on AIVMS"), text)
}

/// Tells an owner that the deletion was called off.
#[must_use]
pub fn deletion_cancelled(tenant_name: &str, by: &str) -> Letter {
    let text =
        format!("Hello,\n\n{by} called the deletion of {tenant_name} on AIVMS off. Everything stays as it is.\n");
    (format!("{tenant_name} stays on AIVMS"), text)
}

/// Tells who asked for an export that it can be downloaded.
#[must_use]
pub fn export_finished(tenant_name: &str, base: Option<&str>, export_id: &str, days: u32) -> Letter {
    let base = base.map(|base| base.trim_end_matches('/')).unwrap_or_default();
    let text = format!(
        "Hello,\n\nthe export of {tenant_name} that you asked for is ready. GET {base}/api/tenant/exports/{export_id} \
         gives a link to download it. It is deleted after {days} days.\n"
    );
    (format!("The export of {tenant_name} is ready"), text)
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
