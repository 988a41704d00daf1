//! Methods: what the two sides ask and answer (§4.2.4). A method's payload is the number of its
//! class, its own number and its fields; each class has a file that lists its methods as the
//! specification (and RabbitMQ's extensions of it) number them.

#![deny(clippy::indexing_slicing)]

/// Declares the methods of one class: for each its number, its name and its fields in order; bit
/// fields are one `flags` octet with named bits.
macro_rules! methods {
    ($class:literal $class_name:literal $(
        $(#[$doc:meta])*
        $id:literal $method:literal $name:ident $(<$life:lifetime>)? {
            $($field:ident: $type:ty),* $(,)?
        } $(flags { $($bit:ident = $number:literal),* $(,)? })?
    )*) => {
        /// The number of the class.
        pub const CLASS: u16 = $class;

        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $name $(<$life>)? {
                $(pub $field: $type,)*
            }

            impl $(<$life>)? $name $(<$life>)? {
                /// The number of the method.
                pub const ID: u16 = $id;
                $($(pub const $bit: u8 = 1 << $number;)*)?
            }

            impl<'a> $crate::wire::method::Method<'a> for methods!(@type $name $($life)?) {
                const CLASS: u16 = $class;
                const METHOD: u16 = $id;

                #[inline]
                fn read_fields(
                    _reader: &mut stdx::reader::Reader<'a>,
                ) -> Result<Self, $crate::wire::field::Malformed> {
                    Ok($name { $($field: $crate::wire::field::Field::read(_reader)?,)* })
                }

                #[inline]
                fn write_fields(&self, _out: &mut Vec<u8>) {
                    $($crate::wire::field::Field::write(&self.$field, _out);)*
                }
            }

            #[cfg(test)]
            impl $(<$life>)? $crate::wire::method::tests::Sample for $name $(<$life>)? {
                fn sample(
                    _random: &mut $crate::wire::method::tests::Random,
                    _out: &mut Vec<u8>,
                ) {
                    $(<$type as $crate::wire::method::tests::Sample>::sample(_random, _out);)*
                }
            }
        )*

        /// The methods of the class.
        pub(super) const METHODS: &[$crate::wire::method::Entry] = &[$(
            $crate::wire::method::Entry {
                class: $class,
                method: $id,
                name: concat!($class_name, ".", $method),
                rewrite: |fields| $crate::wire::method::rewrite::<$name>(fields),
                #[cfg(test)]
                sample: |random, out| {
                    <$name as $crate::wire::method::tests::Sample>::sample(random, out);
                },
            },
        )*];
    };
    (@type $name:ident) => { $name };
    (@type $name:ident $life:lifetime) => { $name<'a> };
}

pub mod access;
pub mod basic;
pub mod channel;
pub mod confirm;
pub mod connection;
pub mod exchange;
pub mod queue;
pub mod tx;

use stdx::reader::Reader;

use super::field::Malformed;
use super::frame;

/// One method.
pub trait Method<'a>: Sized {
    /// The number of its class.
    const CLASS: u16;
    /// Its number within the class.
    const METHOD: u16;

    /// Takes its fields off the front.
    fn read_fields(reader: &mut Reader<'a>) -> Result<Self, Malformed>;

    /// Appends its fields.
    fn write_fields(&self, out: &mut Vec<u8>);
}

/// Which method a payload holds, and the bytes of its fields. `None`: too short to say.
#[inline]
pub fn split(payload: &[u8]) -> Option<((u16, u16), &[u8])> {
    let mut reader = Reader::new(payload);
    let class = reader.u16().ok()?;
    let method = reader.u16().ok()?;
    Some(((class, method), reader.rest()))
}

/// Reads the fields of a method; nothing may follow them.
#[inline]
pub fn read<'a, M: Method<'a>>(fields: &'a [u8]) -> Result<M, Malformed> {
    let mut reader = Reader::new(fields);
    let method = M::read_fields(&mut reader)?;
    if reader.is_empty() { Ok(method) } else { Err(Malformed::Trailing) }
}

/// Appends a frame with a method.
pub fn write<'a, M: Method<'a>>(out: &mut Vec<u8>, channel: u16, method: &M) {
    let begun = frame::begin(out, frame::METHOD, channel);
    out.extend_from_slice(&M::CLASS.to_be_bytes());
    out.extend_from_slice(&M::METHOD.to_be_bytes());
    method.write_fields(out);
    frame::end(out, &begun);
}

/// A method that exists, for whoever walks over all of them.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The number of its class.
    pub class: u16,
    /// Its number within the class.
    pub method: u16,
    /// Its name, as in `queue.declare`.
    pub name: &'static str,
    /// Reads its fields and writes them again.
    pub rewrite: fn(&[u8]) -> Result<Vec<u8>, Malformed>,
    #[cfg(test)]
    sample: fn(&mut tests::Random, &mut Vec<u8>),
}

/// All methods.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    let classes = [
        connection::METHODS,
        channel::METHODS,
        access::METHODS,
        exchange::METHODS,
        queue::METHODS,
        basic::METHODS,
        confirm::METHODS,
        tx::METHODS,
    ];
    classes.into_iter().flatten()
}

fn rewrite<'a, M: Method<'a>>(fields: &'a [u8]) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    read::<M>(fields)?.write_fields(&mut out);
    Ok(out)
}

#[cfg(test)]
pub(crate) mod tests;
