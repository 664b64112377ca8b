//! How objects of the state and their codes are declared.

/// Declares a state object: a struct, and its encoding as `{0: 1, 1: first field, 2: second field, ...}`.
macro_rules! object {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $t:ty = $key:literal,)* }) => {
        object! { $(#[$meta])* $name { $($(#[$doc])* $field: $t = $key,)* } and perhaps {} }
    };
    // The last field stands in its object or is left out.
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $t:ty = $key:literal,)* }
     and perhaps { $($(#[$last_doc:meta])* $last:ident: $last_t:ty = $last_key:literal,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$doc])* pub $field: $t,)* $($(#[$last_doc])* pub $last: Option<$last_t>,)? }

        impl $name { /// Its fields, for who shows what is stored.
            pub const FIELDS: &'static [FieldName] = &[
                $(($key, stringify!($field), stringify!($t)),)* $(($last_key, stringify!($last), stringify!($last_t)),)?
            ];
        }
        impl Canonical for $name {
            fn write(&self, w: &mut Writer) {
                let pairs = [$($key),*].len() + 1;
                $(let pairs = pairs + usize::from(self.$last.is_some());)?
                w.object(pairs, VERSION);
                $(w.uint($key); Field::put(&self.$field, w);)*
                $(if let Some(last) = &self.$last { w.uint($last_key); Field::put(last, w); })?
            }
            fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
                let pairs = [$($key),*].len() as u64 + 1;
                object!(@open r, pairs $(, $last)?);
                Ok(Self {
                    $($field: { r.key($key)?; Field::take(r)? },)*
                    $($last: if $last { r.key($last_key)?; Some(Field::take(r)?) } else { None },)?
                })
            }
        }
    };
    (@open $r:ident, $pairs:ident) => { $r.object($pairs, VERSION)?; };
    (@open $r:ident, $pairs:ident, $last:ident) => { let $last = $r.object_with_optional($pairs, VERSION)?; };
}

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant = $code,)* }

        impl $name {
            /// All of them, by ascending code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The one with this number.
            #[must_use]
            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// Lower-case word for people and APIs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl Field for $name {
            fn put(&self, w: &mut Writer) { w.uint(u64::from(*self as u8)); }
            fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
                Self::from_code(r.int()?).ok_or(FormatError::Unexpected)
            }
        }

        impl Canonical for $name {
            fn write(&self, w: &mut Writer) { Field::put(self, w); }
            fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> { Field::take(r) }
        }
    };
}
