//! Enumerations as the wire names their values.

/// An enumeration with one name for each value, and one for what this client is too old to know.
macro_rules! named {
    (
        $(#[$attribute:meta])*
        pub enum $type:ident {
            $( $(#[$doc:meta])* $variant:ident = $name:literal, )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[non_exhaustive]
        pub enum $type {
            $( $(#[$doc])* #[serde(rename = $name)] $variant, )+
            /// One that this client is too old to know.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl $type {
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $( $type::$variant => $name, )+
                    $type::Unknown => "unknown",
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(super) use named;
