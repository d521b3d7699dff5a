//! The values there are.

macro_rules! keys {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $setting:literal;)*) => {
        /// The values there are; each has one owner, who knows its type.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Key { $($(#[$doc])* $variant,)* }

        impl Key {
            /// Every key.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name of its tree in sled and of its entry in the second copy.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether it is a setting, kept twice and durable on every put; the others are cursors.
            #[must_use]
            pub fn is_setting(self) -> bool {
                match self { $(Self::$variant => $setting,)* }
            }
        }
    };
}

keys! {
    /// How far the outbox is acknowledged and kept; of the outbox.
    OutboxCursors = "outbox_cursors", false;
    /// The last desired document taken from the cloud.
    Desired = "desired", true;
    /// The last report made about a desired document.
    Reported = "reported", true;
    /// The latest answers to commands, a bounded ring.
    CommandAnswers = "command_answers", true;
    /// The footage that is kept whatever retention says; of `retention`.
    FootageLocks = "footage_locks", true;
    /// What is known about the device's certificate; the private key is a file.
    Certificate = "certificate", true;
    /// How many times the state was opened; of this module.
    Starts = "starts", true;
}
