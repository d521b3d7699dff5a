//! Which layout a library has.

use std::fmt;

/// A layout of the metadata. The numbers are those of the DeepStream version that brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Abi {
    /// DeepStream 7.1 (JetPack 6.2).
    V71,
    /// DeepStream 9.0 and 9.1 (JetPack 7.2).
    V90,
}

impl fmt::Display for Abi {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Abi::V71 => "DeepStream 7.1",
            Abi::V90 => "DeepStream 9.0 or 9.1",
        })
    }
}

/// Evaluates the expression with `$sys` standing for the generated module of the layout at hand.
macro_rules! with_layout {
    ($abi:expr, $sys:ident => $body:expr) => {
        match $abi {
            $crate::Abi::V71 => {
                use ::aivms_deepstream_sys::abi71 as $sys;
                $body
            }
            $crate::Abi::V90 => {
                use ::aivms_deepstream_sys::abi90 as $sys;
                $body
            }
        }
    };
}
pub(crate) use with_layout;
