//! Rules of tenant slugs, e-mail addresses and passwords.
