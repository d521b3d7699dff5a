//! Rules of tenant slugs, e-mail addresses and passwords.

use aivms_contract::id::TenantId;
use zxcvbn::{Score, zxcvbn};

/// Fewest characters of a password.
pub const MIN_PASSWORD_CHARS: usize = 12;
/// Most characters of a password; hashing takes time in proportion.
pub const MAX_PASSWORD_CHARS: usize = 256;
/// Most characters of a name shown to people.
pub const MAX_NAME_CHARS: usize = 100;

/// Longest slug; leaves room for a readable number behind it.
const MAX_SLUG_CHARS: usize = 48;
/// Longest address by RFC 5321.
const MAX_EMAIL_CHARS: usize = 254;
/// Characters that must be left of a password when everything guessable is taken out of it.
const MIN_UNGUESSABLE_CHARS: usize = 6;

/// Slugs nobody may take, because people or programs would read them as part of the system.
const RESERVED_SLUGS: [&str; 16] = [
    "admin",
    "administrator",
    "aivms",
    "api",
    "cloud",
    "edge",
    "edges",
    "internal",
    "operator",
    "public",
    "root",
    "status",
    "support",
    "system",
    "tenant",
    "www",
];

/// Beginnings of guesses: the words and rows of keys that lead every published list of passwords.
const COMMON_WORDS: [&str; 38] = [
    "administrator",
    "qwertyuiop",
    "1q2w3e4r5t",
    "1qaz2wsx",
    "asdfghjkl",
    "password",
    "passwort",
    "passw0rd",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "iloveyou",
    "superman",
    "trustno1",
    "starwars",
    "whatever",
    "welcome",
    "charlie",
    "monkey",
    "dragon",
    "master",
    "letmein",
    "shadow",
    "secret",
    "camera",
    "qwertz",
    "qwerty",
    "azerty",
    "zxcvbn",
    "asdfgh",
    "abc123",
    "summer",
    "winter",
    "hello",
    "login",
    "admin",
    "aivms",
];

/// Says what is wrong with what someone typed at registration; the text follows the field's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Nothing of the name can stand in a slug.
    #[error("must contain at least two letters or digits of the Latin alphabet")]
    SlugEmpty,
    /// The slug is kept for the system.
    #[error("{0:?} is reserved")]
    SlugReserved(String),
    /// Empty, too long, or with control characters.
    #[error("must have 1 to {MAX_NAME_CHARS} characters and no control characters")]
    Name,
    /// Not of the form of an address.
    #[error("must be an e-mail address such as owner@example.com")]
    Email,
    /// Too short.
    #[error("must have at least {MIN_PASSWORD_CHARS} characters")]
    PasswordShort,
    /// Too long.
    #[error("must have at most {MAX_PASSWORD_CHARS} characters")]
    PasswordLong,
    /// Made of what everybody tries first.
    #[error("is too easy to guess: use something without common words, your name, and rows of keys or digits")]
    PasswordCommon,
}

/// Whose password is checked: what everybody who knows the person would try.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    /// The address.
    pub email: &'a str,
    /// The name.
    pub name: &'a str,
    /// Readable name of the tenant.
    pub tenant_name: &'a str,
}

/// Makes the slug of a tenant from its readable name: `Acme Corp.` becomes `acme-corp`.
///
/// # Errors
/// Nothing usable is in the name, or the slug is reserved.
pub fn tenant_slug(name: &str) -> Result<TenantId, AccountError> {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        match plain_letters(c) {
            Some(letters) => slug.push_str(letters),
            None if c.is_ascii_alphanumeric() => slug.push(c),
            // An apostrophe joins, everything else separates.
            None if c == '\'' || c == '’' => {}
            None if !slug.ends_with('-') => slug.push('-'),
            None => {}
        }
    }
    let cut: String = slug.trim_matches('-').chars().take(MAX_SLUG_CHARS).collect();
    let slug = cut.trim_matches('-');
    if slug.len() < 2 {
        return Err(AccountError::SlugEmpty);
    }
    if RESERVED_SLUGS.contains(&slug) {
        return Err(AccountError::SlugReserved(slug.to_owned()));
    }
    slug.parse().map_err(|_| AccountError::SlugEmpty)
}

/// Trims a name shown to people and checks it.
///
/// # Errors
/// It is empty, too long, or holds control characters.
pub fn display_name(name: &str) -> Result<String, AccountError> {
    let name = name.trim();
    let fits = (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    fits.then(|| name.to_owned()).ok_or(AccountError::Name)
}

/// The form of an address by which a user is found: trimmed and in lower case. Mail systems that tell the case of a
/// mailbox apart are extinct, people who type it differently are not.
///
/// # Errors
/// It is no address.
pub fn normalized_email(text: &str) -> Result<String, AccountError> {
    let email = text.trim().to_lowercase();
    let (mailbox, domain) = email.rsplit_once('@').ok_or(AccountError::Email)?;
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[],;:\\\"".contains(c);
    let mailbox_ok = (1..=64).contains(&mailbox.len()) && mailbox.chars().all(|c| plain(c) && c != '@');
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let domain_ok = domain.split('.').count() >= 2 && domain.split('.').all(label_ok);
    let ok = mailbox_ok && domain_ok && email.len() <= MAX_EMAIL_CHARS;
    if ok { Ok(email) } else { Err(AccountError::Email) }
}

/// Checks a new password of a person: length, that enough is left of it when common words, rows of keys, digits in
/// order, repeats and the person's own names are taken out, and that it would not be among the first 10^8 guesses.
/// The guesses are counted offline by zxcvbn, which knows some 30,000 passwords, names and words.
///
/// # Errors
/// Says which rule it breaks.
pub fn check_password(password: &str, of: Person<'_>) -> Result<(), AccountError> {
    let length = password.chars().count();
    if length < MIN_PASSWORD_CHARS {
        return Err(AccountError::PasswordShort);
    }
    if length > MAX_PASSWORD_CHARS {
        return Err(AccountError::PasswordLong);
    }
    let own = format!("{} {} {}", of.email, of.name, of.tenant_name).to_lowercase();
    let own_words: Vec<&str> =
        own.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() >= 4).collect();
    let mut rest = password.to_lowercase();
    for word in COMMON_WORDS.iter().chain(&own_words) {
        rest = rest.replace(word, "");
    }
    if unguessable_chars(&rest) < MIN_UNGUESSABLE_CHARS {
        return Err(AccountError::PasswordCommon);
    }
    let mut known = own_words;
    known.extend([of.email, of.name, of.tenant_name]);
    if zxcvbn(password, &known).score() < Score::Three { Err(AccountError::PasswordCommon) } else { Ok(()) }
}

/// Counts the characters that do not follow from the one before: a repeat or the next in order adds nothing.
fn unguessable_chars(text: &str) -> usize {
    let mut before = None;
    text.chars()
        .filter(|c| {
            let code = u32::from(*c);
            let follows = before.is_some_and(|b: u32| code.abs_diff(b) <= 1);
            before = Some(code);
            !follows
        })
        .count()
}

/// The Latin spelling of letters common in company names of Europe.
fn plain_letters(c: char) -> Option<&'static str> {
    Some(match c {
        'ä' | 'æ' => "ae",
        'ö' | 'ø' | 'œ' => "oe",
        'ü' => "ue",
        'ß' => "ss",
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ą' => "a",
        'ç' | 'ć' | 'č' => "c",
        'è' | 'é' | 'ê' | 'ë' | 'ę' | 'ě' => "e",
        'ì' | 'í' | 'î' | 'ï' => "i",
        'ł' => "l",
        'ñ' | 'ń' => "n",
        'ò' | 'ó' | 'ô' | 'õ' => "o",
        'ř' => "r",
        'ś' | 'š' => "s",
        'ù' | 'ú' | 'û' | 'ů' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        '&' => "-and-",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tenant_name_becomes_a_readable_slug() {
        for (name, slug) in [
            ("Acme Corp", "acme-corp"),
            ("  Acme, Corp.!  ", "acme-corp"),
            ("Müller & Söhne GmbH", "mueller-and-soehne-gmbh"),
            ("O'Brien Logistics", "obrien-logistics"),
            ("Café 24/7", "cafe-24-7"),
        ] {
            let made = tenant_slug(name).map(|slug| slug.as_str().replace("--", "-"));
            assert_eq!(made.as_deref(), Ok(slug), "{name}");
        }
        for name in ["", "!", "a", "株式会社"] {
            assert_eq!(tenant_slug(name), Err(AccountError::SlugEmpty), "{name}");
        }
        assert_eq!(tenant_slug("Admin!"), Err(AccountError::SlugReserved("admin".into())));
    }

    #[test]
    fn an_address_is_found_however_it_is_typed() {
        assert_eq!(normalized_email(" Owner@Example.COM "), Ok("owner@example.com".into()));
        assert_eq!(normalized_email("a.b+c@mail.example.co.uk"), Ok("a.b+c@mail.example.co.uk".into()));
        for text in [
            "",
            "owner",
            "@example.com",
            "owner@",
            "owner@localhost",
            "a b@example.com",
            "a@b@example.com",
            "a@-x.com",
            "a@x..com",
            "a\n@example.com",
            "<a@example.com>",
        ] {
            assert_eq!(normalized_email(text), Err(AccountError::Email), "{text:?}");
        }
    }

    #[test]
    fn passwords_that_everybody_tries_are_refused() {
        let jane = Person { email: "jane.miller@acme.example", name: "Jane Rosamund Miller", tenant_name: "Acme Corp" };
        let check = |password: &str| check_password(password, jane);
        for password in [
            "password1234",
            "PasswordPassword",
            "123456789012",
            "qwertyuiop12",
            "aaaaaaaaaaaaaaaa",
            "jane.miller2026",
            "Welcome2026!",
            "abcdefghijklmnop",
            "admin-admin-admin",
            "Rosamund-Rosamund-1",
            "Liverpool1892",
        ] {
            assert_eq!(check(password), Err(AccountError::PasswordCommon), "{password}");
        }
        for password in
            ["correct horse battery staple", "tG7#kl92-vQx", "demo-tenant-is-fine-here", "日本語のとても長い合言葉です"]
        {
            assert_eq!(check(password), Ok(()), "{password}");
        }
        assert_eq!(check("tG7#kl92-vQ"), Err(AccountError::PasswordShort));
        assert_eq!(check(&"tG7#".repeat(65)), Err(AccountError::PasswordLong));
    }

    #[test]
    fn a_name_of_spaces_or_control_characters_is_refused() {
        assert_eq!(display_name("  Gate 3 "), Ok("Gate 3".into()));
        for name in ["", "   ", "a\u{7}b", &"x".repeat(101)] {
            assert_eq!(display_name(name), Err(AccountError::Name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_slug_or_an_error_and_never_a_bad_slug(name in ".{0,200}") {
            if let Ok(slug) = tenant_slug(&name) {
                let text = slug.as_str();
                prop_assert!(text.len() <= MAX_SLUG_CHARS && !text.starts_with('-') && !text.ends_with('-'));
            }
        }
    }
}
