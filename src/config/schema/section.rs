//! The macro that declares the keys of a section: one declaration a key.
//!
//! From the declaration come the field of the typed struct and its reader, and the table from which the
//! example file, the tables of docs/CONFIGURATION.md and the JSON Schema are made.

// The names that a use of the macro needs in scope.
pub(crate) use super::super::section_reader::SectionReader;
pub(crate) use super::key::{Key, REREAD, RESIZE, Section};
pub(crate) use super::value_types::ValueType;

/// Declares a section: its struct, its `SECTION` with all keys, and `read`, which builds the struct from
/// a `SectionReader`. A field is
///
/// ```text
/// /// Documentation of the key, in whole sentences.
/// name: Type = ValueType(BOUNDS), "default as it is written";
/// name: Type = ValueType(BOUNDS), "default in words" => expression;
/// ```
///
/// with `, REREAD` or `, RESIZE` at its end if the value can change without a restart. The expression may
/// use the fields above it and the arguments of `read`, which are declared after the path of the section;
/// the first one is the reader. Fields that are not keys are set in a block `and { … }`.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        #[derive($($derive:ident),+)]
        $visibility:vis struct $name:ident in $path:literal
            ($reader:ident $(, $argument:ident: $argument_type:ty)*)
        {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $value_type:ident $(($($bound:expr),+))?,
                    $default:literal $(=> $derived:expr)? $(, $change:expr)?;
            )+
        }
        $(and { $($(#[doc = $part_doc:literal])+ $part:ident: $part_type:ty = $part_value:expr;)+ })?
    ) => {
        $(#[doc = $about])+
        #[derive($($derive),+)]
        $visibility struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
            $($($(#[doc = $part_doc])+ pub $part: $part_type,)+)?
        }

        impl $name {
            pub(crate) const SECTION: Section = Section {
                path: $path,
                about: concat!($($about),+),
                keys: &[$(Key {
                    name: stringify!($field),
                    value_type: ValueType::$value_type $(($($bound),+))?,
                    default: $default,
                    is_derived: section!(@is_derived $($derived)?),
                    about: concat!($($doc),+),
                    change: section!(@optional $($change)?),
                }),+],
            };

            pub(crate) fn read($reader: &mut SectionReader<'_> $(, $argument: $argument_type)*) -> Self {
                $(let derived = section!(@optional $($derived)?);
                let $field: $type = $reader.read(&Self::SECTION, stringify!($field), derived);)+
                Self { $($field,)+ $($($part: $part_value,)+)? }
            }
        }
    };
    (@is_derived) => { false };
    (@is_derived $derived:expr) => { true };
    (@optional) => { None };
    (@optional $value:expr) => { Some($value) };
}
pub(crate) use section;
